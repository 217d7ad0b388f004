"""How often the text of an answer is sent: a response costs more than the token that it holds."""

from __future__ import annotations

# Whoever speaks the answer waits for the end of a clause, and for the character after it.
_MARKS = ".!?…,;:—\n。！？；，、："


class Deltas:
    """Joins the pieces of one answer's text; not safe for threads.

    The pieces of the first clause leave at once, and so does every clause mark and what comes after
    it; the rest leaves together, once in an interval.

    Args:
        interval_s: Least seconds between two responses that hold no mark; 0 joins nothing.
        first_chars: Characters of which every piece leaves at once: a first clause, which somebody
            waits for.
    """

    def __init__(self, interval_s: float, *, first_chars: int = 60) -> None:
        self._interval_s = interval_s
        self._urgent_chars = first_chars
        self._held = ""
        self._sent_at = 0.0
        self._after_mark = False

    def add(self, text: str, now: float) -> str:
        """Take a piece of text; returns what is to be sent now, nothing when it is held."""
        urgent = self._urgent_chars > 0
        self._urgent_chars -= len(text)
        self._held += text
        marked = any(mark in text for mark in _MARKS)
        due = now - self._sent_at >= self._interval_s
        if not (urgent or due or marked or self._after_mark):
            return ""
        self._sent_at = now
        self._after_mark = marked
        return self.rest()

    def rest(self) -> str:
        """What is still held; it is forgotten."""
        held, self._held = self._held, ""
        return held
