"""One piece of work for the engine and the ending of its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import Literal, Protocol

from tritalk import metrics
from tritalk.llm.deltas import Deltas
from tritalk.llm.engine import Emit, Stopped
from tritalk_client.errors import TritalkError
from tritalk_client.wire import Usage

Work = Callable[[Emit, Stopped], Usage]
"""Does what was asked for, such as `Engine.generate`."""

# An answer that has said so much has a first clause, or will have one soon.
_UNDER_WAY_CHARS = 40


class Kind(Enum):
    """What the engine is asked to do."""

    ANSWER = auto()
    READ = auto()
    """Read the beginning of a chat ahead of an answer; gives way to all answers that begin."""
    COUNT = auto()
    """Count tokens, which takes a moment."""


class Sink(Protocol):
    """Where one answer goes. Its methods are never called at the same time."""

    def delta(self, text: str) -> None:
        """Send the next piece of text."""

    def finish(self, usage: Usage) -> None:
        """Send the last response."""

    def fail(self, error: TritalkError) -> None:
        """Send an error as the last response."""

    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""
        ...


class Job:
    """One piece of work; whoever ends it first gives the answer.

    Args:
        request_id: By which it can be cancelled.
        kind: What is to be done.
        sink: Gets the answer.
        deltas: Joins the pieces of its text.
        first_token: Records the seconds to the first token.
        clock: Seconds.
    """

    def __init__(
        self,
        request_id: str,
        kind: Kind,
        sink: Sink,
        deltas: Deltas,
        first_token: metrics.Instrument,
        clock: Callable[[], float],
    ) -> None:
        self.request_id = request_id
        self.kind = kind
        self.sink = sink
        self.began = clock()
        self._deltas = deltas
        self._first_token = first_token
        self._clock = clock
        self._lock = threading.Lock()
        self._said_chars = 0
        self._answered = False
        self._stop_reason: Literal["cancelled", "timeout"] | None = None

    @property
    def begins(self) -> bool:
        """Whether this is an answer that somebody waits to hear the beginning of."""
        return (
            self.kind is Kind.ANSWER
            and self._said_chars < _UNDER_WAY_CHARS
            and not self._answered
            and not self.stopped()
        )

    def run(self, work: Work) -> Usage:
        """Do the work; called in a thread of the pool."""
        if self.stopped():
            return Usage(prompt_tokens=0, completion_tokens=0, finish_reason="cancelled")
        return work(self.delta, self.stopped)

    def stop(self, reason: Literal["cancelled", "timeout"]) -> None:
        """Ask the engine to stop."""
        if self._stop_reason is None:
            self._stop_reason = reason

    def stopped(self) -> bool:
        """Whether the engine should stop."""
        return self._stop_reason is not None

    def delta(self, text: str) -> None:
        """Take a piece of text and send what is due, unless the answer has ended."""
        with self._lock:
            if self._answered or self.stopped():
                return
            now = self._clock()
            if not self._said_chars:
                self._first_token.observe(now - self.began)
            self._said_chars += len(text)
            if due := self._deltas.add(text, now):
                self.sink.delta(due)

    def abandoned(self) -> bool:
        """Whether an answer is under way that nobody waits for."""
        # An ended answer's sink is not to be asked: Triton has freed what it would look at.
        with self._lock:
            return not self._answered and not self.stopped() and self.sink.abandoned()

    def finish(self, usage: Usage) -> bool:
        """End the answer; false when it has ended before."""
        with self._lock:
            if self._answered:
                return False
            self._answered = True
            if (rest := self._deltas.rest()) and usage.finish_reason != "cancelled":
                self.sink.delta(rest)
            self.sink.finish(usage)
            return True

    def fail(self, error: TritalkError) -> bool:
        """End the answer with an error; false when it has ended before."""
        with self._lock:
            if self._answered:
                return False
            self._answered = True
            self.sink.fail(error)
            return True
