"""The speech of one turn: whole video frames of it, and the mel windows that drive them."""

from __future__ import annotations

import math

import numpy as np
import soxr

from tritalk import mel
from tritalk.animate.encoder import FRAMES_PER_SECOND
from tritalk.audio import Samples

# A mel column's place among the frames repeats every 5 frames (16 columns): audio that is cut there
# gives the same windows as the whole.
_GRID_FRAMES = 5
# The window of a frame begins one frame early, its first column looks back 25 ms, and the
# resampler's and the pre-emphasis' edges are shorter than the rest.
_LOOK_BACK_FRAMES = 3
_LOOK_AHEAD_FRAMES = math.ceil(mel.LOOK_AHEAD_MS * FRAMES_PER_SECOND / 1000) + 1
_SPOKEN_RMS = 10 ** (-46 / 20)


class Speech:
    """Collects the pieces of a turn's speech; not safe for threads.

    Args:
        sample_rate_hz: Rate of the voice; a whole number of samples per frame.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self.samples_per_frame = sample_rate_hz // FRAMES_PER_SECOND
        self._samples = np.zeros(0, np.float32)
        self._begin_frame = 0

    @property
    def frames(self) -> int:
        """Whole frames that the speech covers so far."""
        return self._begin_frame + len(self._samples) // self.samples_per_frame

    def append(self, samples: Samples) -> None:
        """Add the next piece, of any length."""
        self._samples = np.concatenate([self._samples, samples])

    def pad(self) -> Samples:
        """End the speech: complete its last frame with silence, which is returned."""
        silence = np.zeros(-len(self._samples) % self.samples_per_frame, np.float32)
        self.append(silence)
        return silence

    def windows(self, frames: range, following: Samples) -> Samples:
        """The mel windows that drive these frames; what lies before them may be forgotten.

        Args:
            frames: Consecutive frames of the speech, none before those of the last call.
            following: What is said after the speech so far, as far as it is known; silence follows.

        Returns:
            float32 `[frames, 1, 80, 16]`.
        """
        begin = max(0, frames.start - _LOOK_BACK_FRAMES) // _GRID_FRAMES * _GRID_FRAMES
        self._forget(begin)
        heard = self._between(begin, frames.stop + _LOOK_AHEAD_FRAMES, following)
        resampled = soxr.resample(heard, self._rate, mel.SAMPLE_RATE_HZ)
        spectrogram = mel.mel_spectrogram(resampled)
        local = range(frames.start - begin, frames.stop - begin)
        return mel.windows(spectrogram, local, FRAMES_PER_SECOND)

    def is_spoken(self, frames: range) -> bool:
        """Whether anything louder than a breath is heard in one of these frames."""
        heard = self._between(frames.start, frames.stop, np.zeros(0, np.float32))
        each = heard.reshape(-1, self.samples_per_frame)
        return bool(np.any(np.sqrt(np.mean(each**2, axis=1)) > _SPOKEN_RMS))

    def _forget(self, frame: int) -> None:
        if frame > self._begin_frame:
            self._samples = self._samples[self._offset(frame) :]
            self._begin_frame = frame

    def _between(self, begin: int, end: int, following: Samples) -> Samples:
        known = self._samples[self._offset(begin) : self._offset(end)]
        heard = np.zeros((end - begin) * self.samples_per_frame, np.float32)
        heard[: len(known)] = known
        following = following[: len(heard) - len(known)]
        heard[len(known) : len(known) + len(following)] = following
        return heard

    def _offset(self, frame: int) -> int:
        return (frame - self._begin_frame) * self.samples_per_frame
