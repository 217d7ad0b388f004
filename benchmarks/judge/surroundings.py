"""Whether anything but the face moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.judge.recording import Image
from benchmarks.judge.scores import psnr_db

# The drawn jaw and its soft edge reach this far beyond the face's box, in its widths and heights.
_FACE_GROWTH = 0.25
_BLOCK = 16


@dataclass(frozen=True)
class Change:
    """Difference of all frames from the first, outside the face, in 8-bit levels."""

    psnr_db: float
    mean: float
    worst_block: float
    """Mean difference of the block of 16×16 pixels that changed most in any frame."""
    most: float
    """Largest difference of any pixel in any frame."""
    area: float
    """Part of the picture that was compared, 0…1."""


class Surroundings:
    """Compares every frame of a video with its first, outside the face.

    Args:
        first: The first frame.
        face: Points of the face in it, float64 `[n, 2]`, in pixels.
    """

    def __init__(self, first: Image, face: npt.NDArray[np.float64]) -> None:
        self._first = first.astype(np.int16)
        low, high = face.min(0), face.max(0)
        grown = _FACE_GROWTH * (high - low)
        left, top = np.maximum(np.floor(low - grown), 0).astype(int)
        right, bottom = np.ceil(high + grown).astype(int) + 1
        outside = np.ones(first.shape[:2], bool)
        outside[top:bottom, left:right] = False
        self._outside = outside
        self._squared, self._absolute, self._values = 0.0, 0.0, 0
        self._worst_block, self._most = 0.0, 0.0
        self._whole_blocks = _blocks(outside.astype(np.float64)) == 1

    def add(self, frame: Image) -> None:
        """Compare the next frame."""
        difference = np.abs(frame.astype(np.int16) - self._first)
        outside = difference[self._outside].astype(np.float64)
        if not outside.size:
            return
        self._squared += float((outside**2).sum())
        self._absolute += float(outside.sum())
        self._values += outside.size
        self._most = max(self._most, float(outside.max()))
        blocks = _blocks(difference.mean(2))[self._whole_blocks]
        self._worst_block = max(self._worst_block, float(blocks.max(initial=0.0)))

    def change(self) -> Change:
        """What changed over the frames so far."""
        values = max(1, self._values)
        return Change(
            psnr_db=psnr_db(self._squared / values),
            mean=self._absolute / values,
            worst_block=self._worst_block,
            most=self._most,
            area=float(self._outside.mean()),
        )


def _blocks(picture: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rows, columns = (length // _BLOCK for length in picture.shape)
    whole = picture[: rows * _BLOCK, : columns * _BLOCK]
    means: npt.NDArray[np.float64] = whole.reshape(rows, _BLOCK, columns, _BLOCK).mean((1, 3))
    return means
