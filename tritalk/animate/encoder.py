"""Frames and speech in, fragments of one MP4 out: H.264 and AAC.

Sync. An AAC decoder begins with 1024 samples of priming that are not the audio's. The header's edit
list skips them, so audio and video are exact in players that read it; in those that do not, the
audio is late by the priming alone. Voices below `_LEAST_AAC_RATE_HZ` are encoded at twice their
rate, so that this is at most 43 ms, which nobody notices where the lips come first. Dropping the
priming packet instead would need no edit list, but an AAC frame without its predecessor decodes
folded over itself: a voice that begins at once had 4 dB of signal to noise in its first 43 ms then,
instead of 15.

Any cut. Audio runs ahead of the video into its encoder, which holds back up to three AAC frames, so
that each fragment brings the audio of its own frames: up to the nearest AAC frame (21 ms at 24 kHz)
while more audio is known, exactly at the end.
"""

from __future__ import annotations

import struct
from collections import deque
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from tritalk.audio import Samples

FRAMES_PER_SECOND = 25
SAMPLE_RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Rates of speech that can be encoded; all give a whole number of samples per frame."""

KEYFRAME_INTERVAL_FRAMES = 100
"""A fragment that begins at least so long after the last key frame begins with one."""

_LEAST_AAC_RATE_HZ = 24_000
_AAC_FRAME = 1024
_AAC_BIT_RATE = 64_000
# At this rate closer to the voice than the default (21 against 16 dB) at a third of its cost.
_AAC = {"aac_coder": "fast"}
# What the encoder holds back: a frame of look-ahead, one of overlap, and one not yet filled.
_AAC_HELD_SAMPLES = 3 * _AAC_FRAME
_EARLY_FRAMES = 5
_VIDEO_TICKS = 512
_VIDEO_TIME_BASE = Fraction(1, FRAMES_PER_SECOND * _VIDEO_TICKS)
_BT709 = 1
_LIMITED_RANGE = 1
_X264 = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    # Constant: rate control would spend what the mouth leaves unused on redrawing the background,
    # which costs twice the bits and makes it pulse.
    "qp": "20",
    # Key frames are placed by hand, at the beginning of fragments.
    "g": "100000",
    "forced-idr": "1",
}
_HEADER_FLAGS = "delay_moov+default_base_moof+frag_custom+skip_trailer"
_FRAGMENT_FLAGS = f"{_HEADER_FLAGS}+frag_discont"


class MediaEncoder:
    """Encodes one continuous video with speech, fragment by fragment; not safe for threads.

    Args:
        width: Width of the frames in pixels, even.
        height: Height of the frames in pixels, even.
        sample_rate_hz: Rate of the speech, one of `SAMPLE_RATES_HZ`.
    """

    def __init__(self, width: int, height: int, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._upsampling = 2 if sample_rate_hz < _LEAST_AAC_RATE_HZ else 1
        self._aac_rate = sample_rate_hz * self._upsampling
        # Holds the encoders alone; what it would write is not used.
        self._container = av.open(_Sink(), "w", format="mp4", options={"movflags": "empty_moov"})
        self._video = _add_video(self._container, width, height)
        self._audio = self._container.add_stream(
            "aac", rate=self._aac_rate, options=dict(_AAC), layout="mono"
        )
        self._audio.codec_context.bit_rate = _AAC_BIT_RATE
        self._container.start_encoding()

        self._waiting_audio: deque[Samples] = deque()
        self._fed_samples = 0
        self._audio_packets: deque[Packet[AudioStream]] = deque()
        self._video_packets: list[Packet[VideoStream]] = []
        self._frames = 0
        self._cut_frames = 0
        self._last_keyframe = -KEYFRAME_INTERVAL_FRAMES
        self._fragments = 0
        self._header = self._make_header()

    @property
    def pending_frames(self) -> int:
        """Frames that are encoded and not yet in a fragment."""
        return self._frames - self._cut_frames

    def add_audio(self, samples: Samples) -> None:
        """Append speech; it may run ahead of the frames by any length."""
        if len(samples):
            self._waiting_audio.append(samples)
            # What the next fragment needs is encoded now, while its mouths are being drawn.
            self._feed(self._aac_time(self._frames + _EARLY_FRAMES) + _AAC_HELD_SAMPLES)

    def add_frame(self, i420: npt.NDArray[np.uint8]) -> None:
        """Append one frame.

        Args:
            i420: uint8 `[height * 3 // 2, width]`, planes Y, U, V; BT.709, limited range.
        """
        frame = VideoFrame.from_ndarray(i420, format="yuv420p")
        frame.pts = self._frames * _VIDEO_TICKS
        frame.time_base = _VIDEO_TIME_BASE
        begins_fragment = not self.pending_frames
        if begins_fragment and self._frames - self._last_keyframe >= KEYFRAME_INTERVAL_FRAMES:
            frame.pict_type = PictureType.I
            self._last_keyframe = self._frames
        for packet in self._video.encode(frame):
            packet.duration = _VIDEO_TICKS
            self._video_packets.append(packet)
        self._frames += 1

    def cut(self) -> bytes:
        """The next fragment: the frames since the last cut, with their audio."""
        end = self._aac_time(self._frames)
        self._feed(end + _AAC_HELD_SAMPLES)
        chosen = []
        # An AAC frame cannot be cut: it goes where its middle is.
        while self._audio_packets and _start(self._audio_packets[0]) + _AAC_FRAME // 2 < end:
            chosen.append(self._audio_packets.popleft())
        return self._fragment(chosen)

    def finish(self) -> bytes:
        """The last fragment, with the rest of the audio up to the end of the last frame.

        Returns:
            The fragment, empty when there is nothing left to say.
        """
        end = self._aac_time(self._frames)
        self._feed(end)
        self._audio_packets.extend(self._audio.encode(None))
        chosen = [packet for packet in self._audio_packets if _start(packet) < end]
        self._audio_packets.clear()
        if chosen:
            chosen[-1].duration = end - _start(chosen[-1])
        return self._fragment(chosen) if chosen or self._video_packets else b""

    def abandon(self) -> None:
        """Forget the frames since the last cut; only `finish` may follow."""
        self._video_packets.clear()
        self._frames = self._cut_frames

    def close(self) -> None:
        """Free the encoders."""
        self._container.close()

    def _aac_time(self, frames: int) -> int:
        return frames * self._aac_rate // FRAMES_PER_SECOND

    def _feed(self, until: int) -> None:
        """Encode audio up to a time (in AAC samples), as far as there is any."""
        while self._waiting_audio and self._fed_samples * self._upsampling < until:
            samples = self._waiting_audio.popleft()
            missing = -(-until // self._upsampling) - self._fed_samples
            if len(samples) > missing:
                self._waiting_audio.appendleft(samples[missing:])
                samples = samples[:missing]
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = self._rate
            frame.pts = self._fed_samples
            frame.time_base = Fraction(1, self._rate)
            self._fed_samples += len(samples)
            self._audio_packets.extend(self._audio.encode(frame))

    def _fragment(self, audio: list[Packet[AudioStream]]) -> bytes:
        for packet in audio:
            # The priming lies at negative times; in the file all times are after it.
            packet.pts = packet.dts = _start(packet) + _AAC_FRAME
        data = self._mux([*self._video_packets, *audio])
        if not self._fragments:
            data = self._header + data
        self._video_packets.clear()
        self._cut_frames = self._frames
        self._fragments += 1
        return data

    def _make_header(self) -> bytes:
        """Ftyp and moov, with an edit list that skips the priming.

        libavformat writes an edit list for packets that it has seen alone: two empty ones tell it
        where both streams begin.
        """
        sink = _Sink()
        with av.open(sink, "w", format="mp4", options=_options(_HEADER_FLAGS, 1)) as muxer:
            streams = self._streams(muxer)
            for stream, start in zip(streams, (0, -_AAC_FRAME), strict=True):
                packet: Packet[Stream] = Packet(1)
                packet.stream = stream
                packet.time_base = stream.time_base or Fraction(1)
                packet.pts = packet.dts = start
                packet.is_keyframe = True
                muxer.mux_one(packet)
        data = sink.data()
        return data[: _moof(data)]

    def _mux(self, packets: list[Packet[VideoStream] | Packet[AudioStream]]) -> bytes:
        """One moof with its mdat.

        libavformat cannot be told through PyAV to end a fragment now, and holds a packet back when
        it ends them itself; a muxer for each fragment (0.3 ms) cuts where we want.
        """
        sink = _Sink()
        options = _options(_FRAGMENT_FLAGS, self._fragments + 1)
        with av.open(sink, "w", format="mp4", options=options) as muxer:
            video, audio = self._streams(muxer)
            for packet in packets:
                packet.stream = audio if packet.stream_index else video
                muxer.mux_one(packet)
        data = sink.data()
        return data[_moof(data) :]

    def _streams(self, muxer: av.container.OutputContainer) -> tuple[VideoStream, AudioStream]:
        return (
            muxer.add_stream_from_template(self._video),
            muxer.add_stream_from_template(self._audio),
        )


class _Sink:
    """A file for PyAV that can only be written to."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def data(self) -> bytes:
        return b"".join(self._parts)


def _add_video(container: av.container.OutputContainer, width: int, height: int) -> VideoStream:
    stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=dict(_X264))
    codec = stream.codec_context
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base = _VIDEO_TIME_BASE
    # Turns share the machine among them; a second thread for one would only wait for the first.
    codec.thread_count = 1
    codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
    codec.color_range = _LIMITED_RANGE
    return stream


def _options(flags: str, index: int) -> dict[str, str]:
    return {
        "movflags": flags,
        "fragment_index": str(index),
        "use_editlist": "1",
        "avoid_negative_ts": "disabled",
    }


def _start(packet: Packet[AudioStream]) -> int:
    if packet.pts is None:
        raise ValueError("the AAC encoder made a packet without a time")
    return packet.pts


def _moof(data: bytes) -> int:
    """Where the first moof box begins."""
    offset = 0
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"moof":
            return offset
        offset += size
    raise ValueError("libavformat wrote no fragment")
