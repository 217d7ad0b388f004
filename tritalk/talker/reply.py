"""Where the conversation's events go."""

from __future__ import annotations

from typing import Protocol

from tritalk_client import wire
from tritalk_client.errors import TritalkError


class Reply(Protocol):
    """The response stream of one request; may be used from any thread."""

    def send(self, event: wire.Event, media: bytes = b"") -> None:
        """Send an event; dropped when the client has gone or the stream is closed."""
        ...

    def refuse(self, error: TritalkError) -> None:
        """Answer the request with an error and close."""
        ...

    def close(self) -> None:
        """Say that nothing more follows; closing again does nothing."""
        ...

    def cancelled(self) -> bool:
        """Whether the client has gone."""
        ...
