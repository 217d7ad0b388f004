"""One generation and the ending of its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, Protocol

from tritalk import metrics
from tritalk.llm.engine import Emit, Stopped
from tritalk_client.errors import TritalkError
from tritalk_client.wire import Usage

Work = Callable[[Emit, Stopped], Usage]
"""Generates one answer; see `Engine.generate`."""


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
    """One generation; whoever ends it first gives the answer.

    Args:
        request_id: By which it can be cancelled.
        sink: Gets the answer.
        began: When the request arrived, by the clock.
        first_token: Records the seconds to the first token.
        clock: Seconds.
    """

    def __init__(
        self,
        request_id: str,
        sink: Sink,
        began: float,
        first_token: metrics.Instrument,
        clock: Callable[[], float],
    ) -> None:
        self.request_id = request_id
        self.sink = sink
        self.began = began
        self._first_token = first_token
        self._clock = clock
        self._lock = threading.Lock()
        self._spoke = False
        self._answered = False
        self._stop_reason: Literal["cancelled", "timeout"] | None = None

    def run(self, work: Work) -> Usage:
        """Generate the answer; called in a thread of the pool."""
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
        """Send text, unless the answer has ended."""
        with self._lock:
            if self._answered or self.stopped():
                return
            if not self._spoke:
                self._spoke = True
                self._first_token.observe(self._clock() - self.began)
            self.sink.delta(text)

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
