"""A stream of numbers of which the older part is forgotten."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_SPARE = 4096


class Tape:
    """Float32 numbers, counted from the beginning of the stream; a part of them is kept.

    Attributes:
        begin: The first that is kept.
        end: The one behind the last that has come.
    """

    def __init__(self) -> None:
        self.begin = 0
        self.end = 0
        self._kept = np.zeros(_SPARE, dtype=np.float32)

    def append(self, numbers: npt.NDArray[np.float32]) -> None:
        """Go on with the next numbers."""
        length = self.end - self.begin
        if length + len(numbers) > len(self._kept):
            room = np.zeros(2 * (length + len(numbers)), dtype=np.float32)
            room[:length] = self._kept[:length]
            self._kept = room
        self._kept[length : length + len(numbers)] = numbers
        self.end += len(numbers)

    def part(self, begin: int, end: int) -> npt.NDArray[np.float32]:
        """A copy of what is kept between two places."""
        first, last = max(begin, self.begin), min(end, self.end)
        return self._kept[first - self.begin : max(last - self.begin, 0)].copy()

    def forget(self, before: int) -> None:
        """Let go of what lies before a place."""
        before = min(max(before, self.begin), self.end)
        # Moved when half of the room is free, so that each number is moved few times.
        if 2 * (before - self.begin) < self.end - self.begin and before - self.begin < _SPARE:
            return
        kept = self._kept[before - self.begin : self.end - self.begin]
        self._kept = np.concatenate([kept, np.zeros(_SPARE, dtype=np.float32)])
        self.begin = before
