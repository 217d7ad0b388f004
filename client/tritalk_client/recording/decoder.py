"""Frames and speech of a turn's fragments, as they come."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.video.frame import VideoFrame

from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.recording.voices import Samples

_HEADER_BOXES = (b"ftyp", b"moov")
_RAW_TIMES = {"ignore_editlist": "1"}


@dataclass(frozen=True)
class Picture:
    """A frame, and when it is shown, in seconds of its turn."""

    at_s: float
    frame: VideoFrame


@dataclass(frozen=True)
class Sound:
    """A piece of speech, and when it is heard, in seconds of its turn."""

    at_s: float
    samples: Samples
    rate_hz: int


class TurnDecoder:
    """Decodes the fragments of one turn one by one.

    A fragment alone is no file, and its frames need those before. So each is read with the header
    of the first, and the decoders are kept from fragment to fragment.

    Args:
        first: Fragment 0, which has the header.

    Raises:
        TritalkError: INTERNAL when it has none.
    """

    def __init__(self, first: bytes) -> None:
        self._header = _header(first)
        with _open(first) as container:
            if not (container.streams.video and container.streams.audio):
                raise _unreadable("it has no picture, or no sound")
            video, audio = container.streams.video[0], container.streams.audio[0]
            self._video = av.CodecContext.create("h264", "r")
            self._video.extradata = video.codec_context.extradata
            self._audio = av.CodecContext.create("aac", "r")
            self._audio.extradata = audio.codec_context.extradata
            # The encoder's priming comes before time 0. Only the first fragment's edit list tells
            # how much it is; read again, it would drop a packet of every fragment.
            times = [packet.pts for packet in container.demux(audio) if packet.pts is not None]
            self._priming = -min([0, *times])

    def decode(self, fragment: bytes) -> Iterator[Picture | Sound]:
        """What is in the next fragment.

        Raises:
            TritalkError: INTERNAL when it cannot be decoded.
        """
        data = fragment if fragment.startswith(self._header) else self._header + fragment
        with _open(data, _RAW_TIMES) as container:
            for packet in container.demux():
                if not packet.size:
                    continue
                coder = self._video if packet.stream.type == "video" else self._audio
                try:
                    frames = coder.decode(packet)
                except av.FFmpegError as error:
                    raise _unreadable(error) from error
                for frame in frames:
                    yield self._piece(frame)

    def _piece(self, frame: VideoFrame | AudioFrame) -> Picture | Sound:
        assert frame.pts is not None
        assert frame.time_base is not None
        if isinstance(frame, VideoFrame):
            return Picture(float(frame.pts * frame.time_base), frame)
        samples = np.ascontiguousarray(frame.to_ndarray().mean(axis=0), dtype=np.float32)
        at_s = float((frame.pts - self._priming) * frame.time_base)
        return Sound(at_s, samples, frame.sample_rate)


def _open(data: bytes, options: dict[str, str] | None = None) -> InputContainer:
    try:
        return av.open(io.BytesIO(data), "r", options=options or {})
    except av.FFmpegError as error:
        raise _unreadable(error) from error


def _unreadable(why: object) -> TritalkError:
    return TritalkError(ErrorCode.INTERNAL, f"the server sent a video that cannot be read: {why}")


def _header(fragment: bytes) -> bytes:
    header, offset = b"", 0
    while offset + 8 <= len(fragment):
        size, name = struct.unpack_from(">I4s", fragment, offset)
        if name not in _HEADER_BOXES or size < 8:
            break
        header += fragment[offset : offset + size]
        offset += size
    if not header:
        raise TritalkError(
            ErrorCode.INTERNAL, "the first fragment of a turn does not begin with a header"
        )
    return header
