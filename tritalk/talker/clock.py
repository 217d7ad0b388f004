"""When the stages of a turn gave their first result."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from tritalk_client.wire import StageTimes

Now = Callable[[], float]
"""A monotonic clock in seconds."""


class StageClock:
    """Stamps the stages of one turn, in milliseconds from the end of the question, from any thread.

    Args:
        began_s: The end of the question, on the clock `now`.
        now: The clock.
    """

    def __init__(self, began_s: float, now: Now) -> None:
        self._began_s = began_s
        self._now = now
        self.times = StageTimes()
        self._lock = threading.Lock()

    def mark(self, stage: str, at_ms: float | None = None) -> None:
        """Stamp a field of `StageTimes`; only the first stamp of a stage counts.

        Args:
            stage: The field.
            at_ms: When it happened; None is now.
        """
        with self._lock:
            if getattr(self.times, stage) is None:
                elapsed_ms = (self._now() - self._began_s) * 1000 if at_ms is None else at_ms
                elapsed_ms = round(elapsed_ms, 3)
                self.times = msgspec.structs.replace(self.times, **{stage: elapsed_ms})

    def shares(self) -> dict[str, float]:
        """Milliseconds that each stage adds until the first spoken frame.

        They follow the critical path (transcript, first clause, its audio, its first frame) and
        sum up to `total`, the latency of the turn; empty before the first spoken frame. A stage
        that took no part (no speech recognised, no language model asked) is left out; one that was
        ready before the transcript was certain adds nothing. What the transcript adds includes the
        silence in which a hands-free user's question ends.
        """
        times = self.times
        if times.first_frame is None:
            return {}
        shares = {"total": times.first_frame}
        previous = 0.0
        path = {
            "asr": times.transcript,
            "llm": times.first_clause if times.first_token is not None else None,
            "tts": times.first_audio,
            "animate": times.first_frame,
        }
        for stage, at_ms in path.items():
            if at_ms is not None:
                shares[stage] = max(0.0, at_ms - previous)
                previous = max(previous, at_ms)
        return shares
