"""What keeps the server from starting or running."""

from __future__ import annotations


class ServerError(RuntimeError):
    """The server cannot start, or has died; the message is one line that says what to do."""
