"""The record of one turn; the same for threads and for asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable

from tritalk_client.errors import TritalkError
from tritalk_client.events import Event, Failure
from tritalk_client.question import Question
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
        self._builder: AnswerBuilder | None = None

    @property
    def answer(self) -> Answer:
        """What has come so far; complete after the last event."""
        return (self._builder or AnswerBuilder(0.0)).answer()

    def _begin(self, asked_s: float) -> None:
        if self._builder is None:
            self._builder = AnswerBuilder(asked_s)

    def _record(self, event: Event) -> Event:
        if self._builder is not None:
            self._builder.add(event, time.monotonic())
        if isinstance(event, Failure) and self._raise_failures:
            raise TritalkError(event.code, event.message, stage=event.stage)
        return event

    def _take_load(self) -> Callable[[], Question] | None:
        """The reader of the question, the first time."""
        load, self._load = self._load, None
        return load
