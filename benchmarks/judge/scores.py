"""How well two courses over time go together: correlation, lag, a control that must fail."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Course = npt.NDArray[np.float64]
"""One value per video frame, float64 `[frames]`."""

_LAG_STEP_S = 0.005


@dataclass(frozen=True)
class Sync:
    """How a movement follows what it should follow."""

    correlation: float
    """Pearson's r with no shift."""
    best_correlation: float
    best_lag_ms: float
    """Shift at which r is highest; positive when the movement comes late."""
    control: float
    """r with the reference's speech played backwards: what chance alone gives."""
    chance: float
    """Standard error of r between these two courses if they had nothing to do with each other."""


def sync(
    movement: Course,
    reference: Course,
    *,
    speaking: npt.NDArray[np.bool_],
    fps: float,
    most_lag_s: float = 0.3,
) -> Sync:
    """Compare a movement with what it should follow.

    Args:
        movement: Measured in the video.
        reference: What it should be, for the same frames.
        speaking: The frames in which somebody speaks. Only they count for the control: pauses lie
            alike forwards and backwards in short answers, which any mouth that rests in them meets.
        fps: Frames per second.
        most_lag_s: Shifts beyond this are not tried.

    Raises:
        ValueError: The courses differ in length, or are too short to shift that far.
    """
    if len(movement) != len(reference):
        raise ValueError(f"{len(movement)} frames of movement, {len(reference)} of reference")
    if len(movement) < 4 * most_lag_s * fps:
        raise ValueError(
            f"{len(movement)} frames; at least {4 * most_lag_s:.1f} s of speech are needed"
        )
    steps = round(most_lag_s / _LAG_STEP_S)
    lags = np.arange(-steps, steps + 1) * _LAG_STEP_S
    tried = [correlation_at(movement, reference, lag_s, fps=fps) for lag_s in lags]
    best = int(np.argmax(tried))
    return Sync(
        correlation=pearson(movement, reference),
        best_correlation=tried[best],
        best_lag_ms=float(lags[best] * 1000),
        control=pearson(movement[speaking], reference[speaking][::-1]),
        chance=chance(movement[speaking], reference[speaking]),
    )


def correlation_at(movement: Course, reference: Course, lag_s: float, *, fps: float) -> float:
    """R of the movement with the reference `lag_s` before it, over the frames that both have."""
    times = np.arange(len(movement)) / fps
    earlier = times - lag_s
    both = (earlier >= 0) & (earlier <= times[-1])
    return pearson(movement[both], np.interp(earlier[both], times, reference))


def pearson(a: Course, b: Course) -> float:
    """Pearson's r; 0 when one of the courses does not move at all."""
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else 0.0


def chance(a: Course, b: Course) -> float:
    """Standard error of r between unrelated courses that move as smoothly as these.

    Bartlett's formula: neighbouring frames are alike, so a few seconds hold few independent ones,
    and r strays the more from 0. The sum is cut at a quarter of the length, as is usual.
    """
    shifts = range(1, max(2, len(a) // 4))
    alike = sum(_autocorrelation(a, k) * _autocorrelation(b, k) for k in shifts)
    return math.sqrt(max(1.0, 1 + 2 * alike) / len(a))


def _autocorrelation(course: Course, shift: int) -> float:
    centred = course - course.mean()
    power = float(centred @ centred)
    return float(centred[shift:] @ centred[:-shift]) / power if power > 0 else 0.0


def psnr_db(squared_error: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error between 8-bit pictures, in decibels."""
    return math.inf if squared_error == 0 else 10 * math.log10(255**2 / squared_error)
