"""Deadlines of the stages of a turn."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from tritalk.talker.clock import Now
from tritalk_client.errors import ErrorCode, TritalkError


class StageWatch:
    """Knows which stages are at work and since when they have given no sign of life.

    Args:
        limits_s: Longest silence of each stage while it works, in seconds.
        now: A monotonic clock in seconds.
    """

    def __init__(self, limits_s: Mapping[str, float], now: Now) -> None:
        self._limits_s = limits_s
        self._now = now
        self._lock = threading.Lock()
        self._alive_s: dict[str, float] = {}

    def beat(self, stage: str) -> None:
        """The stage has begun, or has given a result and goes on."""
        with self._lock:
            self._alive_s[stage] = self._now()

    def rest(self, stage: str) -> None:
        """The stage has nothing to do."""
        with self._lock:
            self._alive_s.pop(stage, None)

    def patience_s(self) -> float:
        """Seconds until the first working stage is overdue; the largest limit if none works."""
        with self._lock:
            return min(
                (
                    self._limits_s[stage] - (self._now() - since)
                    for stage, since in self._alive_s.items()
                ),
                default=max(self._limits_s.values()),
            )

    def overdue(self) -> TritalkError | None:
        """The error of the stage that has been silent for longest beyond its limit."""
        with self._lock:
            late = {
                stage: self._now() - since - self._limits_s[stage]
                for stage, since in self._alive_s.items()
            }
        stage = max(late, key=late.__getitem__, default=None)
        if stage is None or late[stage] < 0:
            return None
        return TritalkError(
            ErrorCode.TIMEOUT, f"no answer within {self._limits_s[stage]:g} s", stage=stage
        )
