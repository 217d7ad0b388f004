"""Where utterances begin, pause and end, by the probabilities of speech alone; there is no clock.

Everything is counted in windows of the detector, `vad.WINDOW` samples each, from the first of the
sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

PAUSE_MS = 120.0
"""Silence after which what has been said may be all that was to be said."""


class Change(Enum):
    """What a window changes."""

    NOTHING = "nothing"
    BEGUN = "begun"
    """An utterance has begun."""
    RESUMED = "resumed"
    """After some silence the utterance goes on."""


@dataclass(frozen=True)
class Hysteresis:
    """When speech begins and when it ends.

    Attributes:
        begins: Least probability of speech that begins.
        windows: So many windows in a row must have it.
        goes_on: Least probability of speech that goes on.
    """

    begins: float
    windows: int
    goes_on: float


class Endpointer:
    """Follows one sequence from window to window.

    Args:
        hysteresis: When speech begins and ends.

    Attributes:
        heard: Windows so far.
        last: The window behind the last speech; 0 before any.
        spoken: Windows with speech in the utterance.
        resumed: The window in which speech last began.
        paused: The window behind the speech before that.
    """

    def __init__(self, hysteresis: Hysteresis) -> None:
        self.heard = 0
        self._open = False
        self.last = 0
        self.spoken = 0
        self.resumed = 0
        self.paused = 0
        self._hysteresis = hysteresis
        self._speaking = False
        self._row = 0
        """Windows in a row that may be a beginning."""

    @property
    def speaking(self) -> bool:
        """Whether somebody speaks."""
        return self._speaking

    @property
    def silent(self) -> int:
        """Windows of silence behind the last speech, without those that may be a beginning."""
        return 0 if self._speaking else self.heard - self._row - self.last

    def hear(self, probability: float) -> Change:
        """Go on with one window.

        Args:
            probability: Of speech in it.
        """
        self.heard += 1
        if self._speaking:
            if probability >= self._hysteresis.goes_on:
                self._spoke(1)
            else:
                self._speaking = False
            return Change.NOTHING
        if probability < self._hysteresis.begins:
            self._row = 0
            return Change.NOTHING
        self._row += 1
        if self._row < self._hysteresis.windows:
            return Change.NOTHING
        row, self._row, self._speaking = self._row, 0, True
        self.resumed, self.paused = self.heard - row, self.last
        change = Change.RESUMED
        if not self._open:
            self._open, self.spoken, change = True, 0, Change.BEGUN
        self._spoke(row)
        return change

    def end(self) -> None:
        """The utterance is over; what is spoken from here on is another."""
        self._open = self._speaking = False

    def _spoke(self, windows: int) -> None:
        self.last = self.heard
        self.spoken += windows
