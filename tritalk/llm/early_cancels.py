"""Cancellations that overtook their request."""

from __future__ import annotations


class EarlyCancels:
    """Remembers for a moment the cancelled ids that are not known yet.

    A request and its cancellation may be sent by different threads and overtake each other.

    Args:
        keep_s: Seconds that an id is remembered.
        limit: Most ids that are remembered; the oldest is forgotten first.
    """

    def __init__(self, *, keep_s: float = 2.0, limit: int = 1024) -> None:
        self._keep_s = keep_s
        self._limit = limit
        self._cancelled_at: dict[str, float] = {}

    def add(self, request_id: str, now: float) -> None:
        """Remember an id."""
        self._cancelled_at.pop(request_id, None)
        self._cancelled_at[request_id] = now
        while len(self._cancelled_at) > self._limit:
            del self._cancelled_at[next(iter(self._cancelled_at))]

    def take(self, request_id: str, now: float) -> bool:
        """Whether this id was cancelled a moment ago; it is forgotten now."""
        cancelled_at = self._cancelled_at.pop(request_id, None)
        return cancelled_at is not None and now - cancelled_at <= self._keep_s
