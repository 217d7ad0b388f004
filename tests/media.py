"""Reads the videos that tests get back, as a player would."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt

from tritalk.face_geometry import Image


@dataclass(frozen=True)
class Film:
    """A decoded video with sound; times in seconds of the file's own timeline."""

    frames: list[Image]
    """Each uint8 `[H, W, 3]` BGR."""
    frame_times: list[float]
    video_end_s: float
    samples: npt.NDArray[np.float32]
    """The sound from time 0 to its end."""
    sample_rate_hz: int
    audio_end_s: float
    keyframes: list[int]


def watch(data: bytes, *, edit_list: bool = True) -> Film:
    """Decode a whole file.

    Args:
        data: The file.
        edit_list: Whether the player knows edit lists.
    """
    options = {} if edit_list else {"ignore_editlist": "1"}
    frames, times, sound, keyframes = [], [], [], []
    ends: dict[str, float] = {}
    with av.open(io.BytesIO(data), options=options) as container:
        rate = container.streams.audio[0].rate
        for packet in container.demux():
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                ends[packet.stream.type] = max(end, ends.get(packet.stream.type, 0.0))
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    if frame.key_frame:
                        keyframes.append(len(frames))
                    frames.append(frame.to_ndarray(format="bgr24"))
                    times.append(frame.time)
                else:
                    sound.append((frame.time, frame.to_ndarray()[0]))
    samples = np.zeros(round(ends["audio"] * rate), np.float32)
    for time, piece in sound:
        begin = round(time * rate)
        piece = piece[max(0, -begin) :][: max(0, len(samples) - max(0, begin))]
        samples[max(0, begin) : max(0, begin) + len(piece)] = piece
    return Film(frames, times, ends["video"], samples, rate, ends["audio"], keyframes)


def boxes(data: bytes) -> list[str]:
    """The names of a file's boxes at its top level.

    Raises:
        ValueError: The boxes do not fill the data.
    """
    names, offset = [], 0
    while offset < len(data):
        size, name = struct.unpack_from(">I4s", data, offset)
        names.append(name.decode("ascii"))
        offset += size
    if offset != len(data):
        raise ValueError(f"the last box ends at {offset} of {len(data)} bytes")
    return names
