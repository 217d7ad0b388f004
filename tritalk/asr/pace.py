"""Whether audio comes at the speed of speech."""

from __future__ import annotations

_AHEAD_S = 1.0
_BEHIND_S = 3.0
_FORGIVEN = 1.1
"""So many seconds of a lead are forgotten in one second: some clients begin with a full buffer."""


class Pace:
    """Tells a microphone, whose audio comes as it is spoken, from a recording sent at once.

    Args:
        now_s: When the sequence begins.
    """

    def __init__(self, now_s: float) -> None:
        self._ahead_s = 0.0
        self._now_s = now_s
        self.is_live = True
        """Whether what has come last is about as old as its arrival."""

    def took(self, duration_s: float, now_s: float) -> None:
        """Note a chunk.

        Args:
            duration_s: Its length.
            now_s: When it came.
        """
        # A stall makes room for the audio that was held up meanwhile.
        waited_s = _FORGIVEN * (now_s - self._now_s)
        self._ahead_s = max(self._ahead_s - waited_s, -_BEHIND_S) + duration_s
        self._now_s = now_s
        self.is_live = self._ahead_s <= _AHEAD_S
