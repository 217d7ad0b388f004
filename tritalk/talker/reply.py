"""Where the conversation's events go."""

from __future__ import annotations

import threading
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


class SharedReply:
    """A reply that is closed when the last of those who use it has closed it.

    The request that brought the latest audio carries what is heard, and the answer that begins
    meanwhile goes on when the next audio has come.

    Args:
        reply: The reply; whoever makes this is its first user.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._users = 1
        self._lock = threading.Lock()

    def share(self) -> SharedReply:
        """One more user, who must close it, too."""
        with self._lock:
            self._users += 1
        return self

    def send(self, event: wire.Event, media: bytes = b"") -> None:
        """See `Reply.send`."""
        self._reply.send(event, media)

    def refuse(self, error: TritalkError) -> None:
        """See `Reply.refuse`; ends it for all users."""
        self._reply.refuse(error)

    def close(self) -> None:
        """Use it no more; once for each user."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        self._reply.close()

    def cancelled(self) -> bool:
        """See `Reply.cancelled`."""
        return self._reply.cancelled()
