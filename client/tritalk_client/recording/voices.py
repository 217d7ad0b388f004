"""Speech on the time line of a recording, at the recording's sample rate."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

SAMPLE_RATE_HZ = 48_000
"""Sample rate of recordings; every voice's rate divides it or is resampled well to it."""

Samples: TypeAlias = npt.NDArray[np.float32]
"""Mono, −1…1, `[samples]`."""


class Track:
    """Pieces of sound, each at its place; silence between them."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, Samples]] = deque()
        self._taken = 0

    def put(self, samples: Samples, at: int) -> None:
        """Add a piece that begins with sample number `at`; what was taken already is left out."""
        if len(samples):
            self._pieces.append((at, samples))

    def take(self, count: int) -> Samples:
        """The next `count` samples."""
        begin, end = self._taken, self._taken + count
        mixed = np.zeros(count, np.float32)
        for at, samples in self._pieces:
            first, last = max(at, begin), min(at + len(samples), end)
            if first < last:
                mixed[first - begin : last - begin] += samples[first - at : last - at]
        self._pieces = deque(each for each in self._pieces if each[0] + len(each[1]) > end)
        self._taken = end
        return mixed

    def cut_off(self, at: int) -> None:
        """Drop everything from sample number `at` on."""
        self._pieces = deque(
            (begin, samples[: at - begin]) for begin, samples in self._pieces if begin < at
        )


@dataclass
class _Stretch:
    """Speech without a gap."""

    begin: int
    rate_hz: int
    resampler: soxr.ResampleStream
    given: int = 0
    made: int = 0

    @property
    def end_s(self) -> float:
        return self.begin / SAMPLE_RATE_HZ + self.given / self.rate_hz


class Voice:
    """Puts the pieces of one voice on its track.

    Args:
        track: The track.
        tolerance_s: Pieces that are less than this apart belong together: they come from a clock
            that is not ours, or through a network.
    """

    def __init__(self, track: Track, *, tolerance_s: float) -> None:
        self._track = track
        self._tolerance_s = tolerance_s
        self._stretch: _Stretch | None = None

    def add(self, samples: Samples, rate_hz: int, at_s: float) -> None:
        """Add a piece that begins at `at_s`, or at the end of the piece before."""
        stretch = self._stretch
        if (
            stretch is None
            or stretch.rate_hz != rate_hz
            or at_s - stretch.end_s > self._tolerance_s
        ):
            self.finish()
            begin = round(at_s * SAMPLE_RATE_HZ)
            resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
            stretch = self._stretch = _Stretch(begin, rate_hz, resampler)
        stretch.given += len(samples)
        self._put(stretch, stretch.resampler.resample_chunk(samples))

    def finish(self) -> None:
        """What comes next stands at its own place, and what has come is complete."""
        if self._stretch is not None:
            stretch, self._stretch = self._stretch, None
            nothing = np.zeros(0, np.float32)
            self._put(stretch, stretch.resampler.resample_chunk(nothing, last=True))

    def settle(self, until_s: float) -> None:
        """Nothing more comes before `until_s`: what ended before is complete."""
        if self._stretch is not None and self._stretch.end_s < until_s:
            self.finish()

    def cut_off(self, at_s: float) -> None:
        """Fall silent at `at_s`."""
        self.finish()
        self._track.cut_off(round(at_s * SAMPLE_RATE_HZ))

    def _put(self, stretch: _Stretch, made: Samples) -> None:
        self._track.put(made, stretch.begin + stretch.made)
        stretch.made += len(made)
