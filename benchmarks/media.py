"""What is in a finished video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from benchmarks.judge import recording
from tritalk.audio import Samples


@dataclass(frozen=True)
class Video:
    """A decoded video.

    Attributes:
        frames: BGR, uint8 `[frames, height, width, 3]`.
        fps: Frames per second.
        samples: The first sound track, mono, −1…1, with what its codec adds to fill a block.
        sample_rate_hz: Its sample rate.
        audio_s: Length of the sound as players show it, in seconds.
    """

    frames: npt.NDArray[np.uint8]
    fps: float
    samples: Samples
    sample_rate_hz: int
    audio_s: float

    @property
    def video_s(self) -> float:
        """Length of the picture in seconds."""
        return len(self.frames) / self.fps


def read(path: Path) -> Video:
    """Decode a whole video.

    Raises:
        UnusableVideoError: It has no picture.
        av.FFmpegError: The file cannot be decoded.
        IndexError: It has no sound.
    """
    frames = np.stack(list(recording.frames(path)))
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        rate = sound.rate
        pieces, end = [], 0
        for packet in container.demux(sound):
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0))
            pieces += [frame.to_ndarray().mean(axis=0) for frame in packet.decode()]
        audio_s = float(end * (sound.time_base or 0))
    samples = np.concatenate(pieces).astype(np.float32)
    return Video(frames, recording.frame_rate(path), samples, rate, audio_s)
