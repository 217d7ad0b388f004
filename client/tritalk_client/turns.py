"""Which event belongs to which turn of a conversation, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass

from tritalk_client.events import Event, Reconnected, Transcript, TurnCompleted, TurnStarted
from tritalk_client.video import AnswerBuilder


@dataclass
class _Running:
    number: int
    started: TurnStarted
    transcript: Transcript | None
    asked_s: float


class TurnBook:
    """The turns of a conversation, in the order in which they begin.

    Whoever wants to watch a turn claims it, before or after it has begun; what has ended before
    anybody claimed it is forgotten, so that a long conversation does not pile up its videos.
    """

    def __init__(self) -> None:
        self._begun = 0
        self._claimed = 0
        self._running: dict[str, _Running] = {}
        self._builders: dict[int, AnswerBuilder] = {}
        self._transcript: Transcript | None = None

    def claim(self, builder: AnswerBuilder) -> int:
        """Take the first turn that has neither ended nor been claimed; its number, from 0.

        Args:
            builder: Collects what comes of the turn from now on.
        """
        free = [turn for turn in self._running.values() if turn.number >= self._claimed]
        number = free[0].number if free else max(self._begun, self._claimed)
        self._claimed = number + 1
        self._builders[number] = builder
        for turn in free[:1]:
            builder.begin(turn.started, turn.transcript, turn.asked_s)
        return number

    def add(self, event: Event, now_s: float, asked_s: float | None) -> None:
        """Take an event.

        Args:
            event: The event.
            now_s: When it came, in seconds of a monotonic clock.
            asked_s: For the beginning of a turn, when its question had ended.
        """
        match event:
            case Transcript(final=True, ignored=""):
                self._transcript = event
            case TurnStarted():
                self._begin(event, now_s if asked_s is None else asked_s)
            case Reconnected():
                for turn in self._running.values():
                    self._builders.pop(turn.number, None)
                self._running.clear()
                self._transcript = None
            case _:
                self._pass_on(event, now_s)

    def begun(self, number: int) -> bool:
        """Whether this turn has begun."""
        return number < self._begun

    def ended(self, number: int) -> bool:
        """Whether this turn has begun and ended."""
        return self.begun(number) and all(turn.number != number for turn in self._running.values())

    def _begin(self, started: TurnStarted, asked_s: float) -> None:
        transcript = None
        # Words that the portrait is given to speak have no question, and no transcript either.
        if started.question:
            transcript, self._transcript = self._transcript, None
        turn = _Running(self._begun, started, transcript, asked_s)
        self._begun += 1
        self._running[started.turn_id] = turn
        builder = self._builders.get(turn.number)
        if builder is not None:
            builder.begin(started, transcript, asked_s)

    def _pass_on(self, event: Event, now_s: float) -> None:
        turn = self._running.get(getattr(event, "turn_id", None) or "")
        if turn is None:
            return
        builder = self._builders.get(turn.number)
        if builder is not None:
            builder.add(event, now_s)
        if isinstance(event, TurnCompleted):
            del self._running[turn.started.turn_id]
            self._builders.pop(turn.number, None)
