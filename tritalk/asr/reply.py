"""Where what is heard goes: the responses to one request."""

from __future__ import annotations

from typing import Protocol

from tritalk_client.errors import TritalkError
from tritalk_client.wire import Hearing, Transcript


class Reply(Protocol):
    """The responses to one chunk. It is used by one thread at a time."""

    def send(self, hearing: Hearing, *, last: bool = False) -> None:
        """Send something heard; with `last` it is the end of the responses."""

    def fail(self, error: TritalkError) -> None:
        """End the responses with an error."""

    def close(self) -> None:
        """End the responses."""

    def cancelled(self) -> bool:
        """Whether nobody waits for them any more."""


class Kept:
    """A reply that keeps what it is sent."""

    def __init__(self) -> None:
        self.heard: list[Hearing] = []
        self.error: TritalkError | None = None
        self.closed = False

    def send(self, hearing: Hearing, *, last: bool = False) -> None:
        """See `Reply.send`."""
        self.heard.append(hearing)
        self.closed = last

    def fail(self, error: TritalkError) -> None:
        """See `Reply.fail`."""
        self.error, self.closed = error, True

    def close(self) -> None:
        """See `Reply.close`."""
        self.closed = True

    def cancelled(self) -> bool:
        """See `Reply.cancelled`."""
        return False

    def transcript(self) -> Transcript:
        """The last transcript.

        Raises:
            TritalkError: What was heard instead.
        """
        if self.error is not None:
            raise self.error
        return next(found for found in reversed(self.heard) if isinstance(found, Transcript))
