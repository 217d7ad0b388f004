"""A finished video, as its viewers get it: decoded frames and decoded sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import InvalidDataError

from tritalk.audio import Samples
from tritalk.mel import SAMPLE_RATE_HZ

Image = npt.NDArray[np.uint8]


class UnusableVideoError(ValueError):
    """The video cannot be judged; the message says why."""


def frame_rate(path: Path) -> float:
    """Frames per second of the video.

    Raises:
        UnusableVideoError: It is no video, or has no video stream.
        FileNotFoundError: It is not there.
    """
    with _opened(path) as container:
        if not container.streams.video:
            raise UnusableVideoError(f"{path}: no video stream")
        rate = container.streams.video[0].average_rate
        if not rate:
            raise UnusableVideoError(f"{path}: the frame rate is not known")
        return float(rate)


def frames(path: Path) -> Iterator[Image]:
    """The frames in the order they are shown, uint8 `[height, width, 3]`, BGR."""
    with _opened(path) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)


def sound(path: Path) -> Samples:
    """The sound, mono at 16 kHz, from the moment of the first video frame on.

    Raises:
        UnusableVideoError: It has no audio stream.
    """
    with _opened(path) as container:
        if not container.streams.audio:
            raise UnusableVideoError(f"{path}: no audio stream")
        video, audio = container.streams.video[0], container.streams.audio[0]
        start_s = float((video.start_time or 0) * (video.time_base or 0))
        resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        parts: list[Samples] = []
        first_s: float | None = None
        for frame in container.decode(audio):
            if first_s is None:
                first_s = frame.time if frame.time is not None else start_s
            parts += [_flat(piece) for piece in resampler.resample(frame)]
        parts += [_flat(piece) for piece in resampler.resample(None)]
    samples: Samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    shift = round(((first_s or 0.0) - start_s) * SAMPLE_RATE_HZ)
    if shift >= 0:
        return np.concatenate([np.zeros(shift, np.float32), samples])
    return samples[-shift:]


def _opened(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except InvalidDataError as error:
        raise UnusableVideoError(f"{path}: not a video that FFmpeg can read") from error


def _flat(piece: av.AudioFrame) -> Samples:
    return piece.to_ndarray().reshape(-1).astype(np.float32, copy=False)
