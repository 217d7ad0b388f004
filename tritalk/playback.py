"""Where a viewer is who plays media as soon as he has it: pure arithmetic on passed-in times."""

from __future__ import annotations


class Playback:
    """What was sent to a viewer who plays without a pause while he has something to play.

    He stalls when he has played all, and goes on with what comes next. Times are seconds of any one
    monotonic clock; not safe for threads.
    """

    def __init__(self) -> None:
        self._sent_s = 0.0
        self._ends_at: float | None = None

    @property
    def sent_s(self) -> float:
        """Seconds of media that have left for him."""
        return self._sent_s

    def sent(self, duration_s: float, now: float) -> None:
        """Media has left for him."""
        begins_at = now if self._ends_at is None else max(self._ends_at, now)
        self._ends_at = begins_at + duration_s
        self._sent_s += duration_s

    def lead_s(self, now: float) -> float:
        """Seconds of media that he holds and has not yet played."""
        return 0.0 if self._ends_at is None else max(0.0, self._ends_at - now)

    def position_s(self, now: float) -> float:
        """Seconds of media that he has played: what was sent, without what he still holds."""
        return max(0.0, self._sent_s - self.lead_s(now))
