"""How often, and how long, a lost conversation is taken up again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Reconnect:
    """Limits of taking up a conversation whose connection was lost.

    Attributes:
        tries: Most attempts in a row.
        first_wait_s: Seconds before the second attempt, doubled before each further one.
        longest_wait_s: Most seconds between two attempts.
        deadline_s: Seconds after which no further attempt begins.
    """

    tries: int = 10
    first_wait_s: float = 0.2
    longest_wait_s: float = 5.0
    deadline_s: float = 60.0


class Attempts:
    """The attempts after one loss; has no clock of its own.

    Args:
        limits: How many there may be.
        lost_s: When the connection was lost, in seconds of any monotonic clock.
    """

    def __init__(self, limits: Reconnect, lost_s: float) -> None:
        self._limits = limits
        self._lost_s = lost_s
        self._made = 0

    def wait_s(self, now_s: float) -> float | None:
        """Seconds to wait before the next attempt, None when there is none to be made."""
        limits, made = self._limits, self._made
        wait_s = 0.0
        if made:
            wait_s = min(limits.longest_wait_s, limits.first_wait_s * 2 ** (made - 1))
        if made >= limits.tries or now_s + wait_s - self._lost_s > limits.deadline_s:
            return None
        self._made += 1
        return wait_s
