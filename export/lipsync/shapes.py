"""Mouth parameters of Rhubarb's mouth shapes, and their course over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from export.lipsync.rhubarb import MouthShape

FloatArray = npt.NDArray[np.float32]

PARAMETERS = ("open", "wide", "round", "press", "teeth")
"""What a mouth does, each 0…1: jaw and lips part, corners draw apart, lips round and protrude, lips
press together, teeth are bared."""

SHAPES: dict[str, tuple[float, float, float, float, float]] = {
    "X": (0.0, 0.0, 0.0, 0.0, 0.0),
    "A": (0.0, 0.0, 0.0, 1.0, 0.0),
    "B": (0.2, 0.3, 0.0, 0.0, 1.0),
    "C": (0.5, 0.2, 0.0, 0.0, 0.6),
    "D": (1.0, 0.0, 0.0, 0.0, 0.4),
    "E": (0.55, 0.0, 0.4, 0.0, 0.2),
    "F": (0.22, 0.0, 1.0, 0.0, 0.0),
    "G": (0.1, 0.1, 0.0, 0.0, 1.0),
    "H": (0.5, 0.1, 0.0, 0.0, 0.6),
}
"""Parameters of each of Rhubarb's shapes: X rest, A closed on p b m, B clenched, C open, D wide
open, E slightly rounded, F puckered, G teeth on the lip, H tongue raised."""

TRACK_HZ = 200
"""Values a second of a track."""

_SMOOTHING_S = 0.035
"""σ of the Gaussian that turns steps into movement, about the time lips need between two sounds."""


def track(shapes: Sequence[MouthShape], duration_s: float) -> FloatArray:
    """The parameters' course over a recording.

    Args:
        shapes: Rhubarb's shapes, in order.
        duration_s: How much of it; the last shape holds to the end.

    Returns:
        float32 `[n, 5]`, row k at k / `TRACK_HZ` seconds.
    """
    count = int(duration_s * TRACK_HZ) + 1
    steps = np.zeros((count, len(PARAMETERS)), np.float32)
    for shape in shapes:
        steps[round(shape.start_s * TRACK_HZ) :] = SHAPES[shape.name]
    reach = round(4 * _SMOOTHING_S * TRACK_HZ)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (TRACK_HZ * _SMOOTHING_S)) ** 2)
    bell /= bell.sum()
    padded = np.pad(steps, ((reach, reach), (0, 0)), mode="edge")
    columns = [np.convolve(column, bell, "valid") for column in padded.T]
    return np.stack(columns, 1).astype(np.float32)


def at(values: FloatArray, times_s: npt.NDArray[np.float64]) -> FloatArray:
    """Values of a track at some times: float32 `[times, 5]`; the ends hold beyond the track."""
    positions = times_s * TRACK_HZ
    grid = np.arange(len(values))
    columns = [np.interp(positions, grid, column) for column in values.T]
    return np.stack(columns, 1).astype(np.float32)
