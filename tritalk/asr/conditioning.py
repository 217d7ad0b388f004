"""What is done to a microphone's signal before anybody listens: rumble, level, noise, clipping.

Everything works on a grid of frames that begins with the sequence, so that the result does not
depend on the sizes of the chunks that the audio comes in.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.audio import Samples

FRAME = 160
"""Samples that are treated together; 10 ms."""

_BLOCK = 80
"""Samples that are filtered at once: numpy's BLAS starts threads for larger products, which then
wait for more work in a busy loop."""

_FRAMES_PER_SECOND = SAMPLE_RATE_HZ / FRAME
_CORNER_HZ = 60.0
_SILENCE_DB = -120.0

# A level is that of the loud parts of speech, in decibels of full scale. From here up it is left
# alone, below it is raised.
_QUIET_DB = -28.0
_CEILING_DB = 32.0

# What is this far above the background is a signal. The background is the quietest frame of some
# seconds, since even fast speech has gaps; it is taken to be quiet until it has been heard. Below
# the quietest there is the noise of converters, and digital silence.
_ABOVE_BACKGROUND_DB = 9.0
_BACKGROUND_DB = -66.0
_QUIETEST_DB = -74.0
_BACKGROUND_FRAMES = int(1.5 * _FRAMES_PER_SECOND)

# The level follows a louder frame within tenths of a second, a quieter one within many seconds; so
# does the gain, the other way round.
_ATTACK = 1 - math.exp(-1 / (0.05 * _FRAMES_PER_SECOND))
_RELEASE = 1 - math.exp(-1 / (8.0 * _FRAMES_PER_SECOND))
_GAIN_STEP_DB = 60.0 / _FRAMES_PER_SECOND


class NoiseFilter(Protocol):
    """Takes noise out of a signal, frame by frame."""

    def clean(self, frame: Samples) -> Samples:
        """The frame of `FRAME` samples without the noise."""


class Conditioner:
    """Treats one sequence's audio: no rumble, a level that can be understood, nothing over 1.

    Args:
        noise_filter: Takes the noise out after the rumble; None leaves it.
    """

    def __init__(self, noise_filter: NoiseFilter | None = None) -> None:
        self._high_pass = _HighPass()
        self._noise_filter = noise_filter
        self._gain = _Gain()
        self._pending: Samples = np.zeros(0, dtype=np.float32)

    def take(self, samples: Samples, *, end: bool = False) -> Samples:
        """Treat the next samples.

        Args:
            samples: Any number, at 16 kHz.
            end: Whether they are the last.

        Returns:
            All whole frames that have come, treated; at the end all that has.
        """
        pending = np.concatenate([self._pending, samples])
        length = len(pending) if end else len(pending) // FRAME * FRAME
        self._pending = pending[length:]
        frames = np.pad(pending[:length], (0, -length % FRAME))
        treated = np.empty_like(frames)
        for begin in range(0, length, FRAME):
            treated[begin : begin + FRAME] = self._treat(frames[begin : begin + FRAME])
        return treated[:length]

    def _treat(self, frame: Samples) -> Samples:
        frame = self._high_pass(frame)
        if self._noise_filter is not None:
            frame = self._noise_filter.clean(frame)
        return np.clip(self._gain(frame), -1.0, 1.0)


class _HighPass:
    """A Butterworth high-pass of second order, `_BLOCK` samples at a time.

    Coefficients: R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
    """

    def __init__(self) -> None:
        angle = 2 * math.pi * _CORNER_HZ / SAMPLE_RATE_HZ
        alpha = math.sin(angle) / math.sqrt(2)
        a0, a1, a2 = 1 + alpha, -2 * math.cos(angle), 1 - alpha
        b0 = (1 + math.cos(angle)) / 2
        numerator = np.array([b0, -2 * b0, b0]) / a0
        transition = np.array([[-a1 / a0, 1.0], [-a2 / a0, 0.0]])
        entry = numerator[1:] - np.array([a1, a2]) / a0 * numerator[0]
        # Each sample's state in terms of the state before the frame, and of the frame's samples.
        powers = [np.eye(2)]
        for _ in range(_BLOCK):
            powers.append(transition @ powers[-1])
        response = np.array([numerator[0], *(power[0] @ entry for power in powers[: _BLOCK - 1])])
        lags = np.subtract.outer(np.arange(_BLOCK), np.arange(_BLOCK))
        self._response = np.where(lags >= 0, response[lags], 0.0)
        self._echo = np.array([power[0] for power in powers[:_BLOCK]])
        self._next = powers[_BLOCK]
        self._taken = np.array([power @ entry for power in powers[_BLOCK - 1 :: -1]]).T
        self._settled = np.linalg.solve(np.eye(2) - transition, entry)
        """The state after a long time of ones."""
        self._state: npt.NDArray[np.float64] | None = None

    def __call__(self, frame: Samples) -> Samples:
        if self._state is None:
            # As if an offset had always been there: no step at the beginning.
            self._state = self._settled * float(frame[0])
        passed = np.empty(FRAME, dtype=np.float32)
        for begin in range(0, FRAME, _BLOCK):
            signal = frame[begin : begin + _BLOCK].astype(np.float64)
            passed[begin : begin + _BLOCK] = self._response @ signal + self._echo @ self._state
            self._state = self._next @ self._state + self._taken @ signal
        return passed


class _Gain:
    """Raises what is quiet to a level that can be understood; never lowers anything."""

    def __init__(self) -> None:
        self._background = _Background()
        self._level_db: float | None = None
        self._gain_db = 0.0

    def __call__(self, frame: Samples) -> Samples:
        before_db = self._gain_db
        self._follow(_power_db(frame))
        wanted_db = 0.0 if self._level_db is None else _QUIET_DB - self._level_db
        wanted_db = min(max(wanted_db, 0.0), _CEILING_DB, _headroom_db(frame))
        self._gain_db = min(wanted_db, before_db + _GAIN_STEP_DB)
        if before_db == self._gain_db == 0:
            return frame
        gain = np.linspace(_factor(before_db), _factor(self._gain_db), FRAME, dtype=np.float32)
        return np.asarray(frame * gain)

    def _follow(self, power_db: float) -> None:
        signal_db = self._background.follow(power_db) + _ABOVE_BACKGROUND_DB
        if self._level_db is not None and self._level_db < signal_db:
            # What had been taken for a signal has turned out to be the background.
            self._level_db = None
        if power_db < signal_db:
            return
        if self._level_db is None:
            self._level_db = power_db
        speed = _ATTACK if power_db > self._level_db else _RELEASE
        self._level_db += speed * (power_db - self._level_db)


class _Background:
    """The power of the quietest frame of the last seconds."""

    def __init__(self) -> None:
        self._before_db = self._quietest_db = _BACKGROUND_DB
        self._frames = 0

    def follow(self, power_db: float) -> float:
        """The background, in decibels, after a frame of this power."""
        if self._frames == _BACKGROUND_FRAMES:
            self._before_db, self._quietest_db, self._frames = self._quietest_db, power_db, 0
        self._quietest_db = min(self._quietest_db, power_db)
        self._frames += 1
        return max(_QUIETEST_DB, min(self._before_db, self._quietest_db))


def _power_db(frame: Samples) -> float:
    power = float(np.dot(frame, frame)) / len(frame)
    return 10 * math.log10(power) if power > 0 else _SILENCE_DB


def _headroom_db(frame: Samples) -> float:
    """How far a frame can be raised until it clips; nothing for one that clips already."""
    peak = float(np.abs(frame).max())
    return max(0.0, -20 * math.log10(peak)) if peak > 0 else _CEILING_DB


def _factor(decibels: float) -> float:
    return float(10 ** (decibels / 20))
