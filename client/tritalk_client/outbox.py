"""Requests that wait for their moment, so that speech can go out at the speed of speech."""

from __future__ import annotations

import heapq
import itertools
from typing import NamedTuple

from tritalk_client.protocol import InferRequest


class Outgoing(NamedTuple):
    """A request and when it may leave, in seconds of a monotonic clock."""

    due_s: float
    request: InferRequest


class Schedule:
    """Hands requests out in the order of their moments; equal moments keep their order.

    Has no clock and no lock of its own.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, InferRequest]] = []
        self._numbers = itertools.count()

    def add(self, outgoing: Outgoing) -> None:
        """Keep a request until it is due."""
        heapq.heappush(self._heap, (outgoing.due_s, next(self._numbers), outgoing.request))

    def take(self, now_s: float) -> InferRequest | None:
        """The next request that is due, None when there is none."""
        if not self._heap or self._heap[0][0] > now_s:
            return None
        return heapq.heappop(self._heap)[2]

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until the next request is due, None when there is none."""
        return max(0.0, self._heap[0][0] - now_s) if self._heap else None
