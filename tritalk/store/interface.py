"""What a store is: bytes under a key, for a while."""

from __future__ import annotations

from typing import Protocol

from tritalk_client.errors import ErrorCode, TritalkError


class StoreUnavailableError(TritalkError):
    """A store did not answer in time, or refused to work; the message says which and why."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.UNAVAILABLE, message)


class Store(Protocol):
    """Keeps values under keys; may be used from any thread.

    A key begins with the kind of its value and a colon (`session:…`). A store is not a database: a
    value may be gone before its time, when room is short.

    Every method but `close` raises `StoreUnavailableError` when the store is elsewhere and cannot
    be used.
    """

    def get(self, key: str) -> bytes | None:
        """The value of a key, None where there is none."""

    def put(self, key: str, value: bytes, *, ttl_s: float) -> bool:
        """Keep a value in place of the one that is there.

        Args:
            key: Its key.
            value: Its bytes.
            ttl_s: Seconds after which it is gone; above 0.

        Returns:
            Whether it is kept; one that is too large for the store is not, and neither is the one
            that was there.
        """

    def delete(self, key: str) -> bool:
        """Remove a value; whether there was one."""

    def delete_prefix(self, prefix: str) -> int:
        """Remove all values whose key begins with this text; how many there were."""

    def close(self) -> None:
        """End what the store has started; it is not used any more."""
