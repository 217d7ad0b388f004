"""The record of one turn; the same for threads and for asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable

from tritalk_client.errors import TritalkError
from tritalk_client.events import Event, Failure
from tritalk_client.question import Question
from tritalk_client.upstream import Upstream
from tritalk_client.video import Answer, AnswerBuilder


class TurnRecord:
    """What a turn has brought so far.

    Args:
        load: Reads the question, for a turn that has a conversation of its own.
        raise_failures: Whether a failed stage raises its error.
    """

    def __init__(self, load: Callable[[], Question] | None, *, raise_failures: bool) -> None:
        self._load = load
        self._raise_failures = raise_failures
        self._builder = AnswerBuilder()
        self._number: int | None = None

    @property
    def answer(self) -> Answer:
        """What has come so far; complete after the last event."""
        return self._builder.answer()

    def _claim(self, conversation: Upstream) -> int:
        """The number of this turn among those of the conversation."""
        if self._number is None:
            self._number = conversation._claim_turn(self._builder)
        return self._number

    def _record(self, event: Event | None) -> Event | None:
        """The event, None when it is another turn's.

        Raises:
            TritalkError: The event is a failure, and failures raise.
        """
        turn_id = getattr(event, "turn_id", None)
        if event is None or (turn_id and turn_id != self._builder.turn_id):
            return None
        if not turn_id:
            # The conversation itself files what belongs to a turn.
            self._builder.add(event, time.monotonic())
        if isinstance(event, Failure) and self._raise_failures:
            raise TritalkError(event.code, event.message, stage=event.stage)
        return event

    def _take_load(self) -> Callable[[], Question] | None:
        """The reader of the question, the first time."""
        load, self._load = self._load, None
        return load
