"""The portrait's own words in the user's microphone."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_ALIKE = 0.75
"""Ratio of equal characters from which two words are taken for the same: an echo is misheard."""


def without(heard: str, spoken: str) -> str:
    """What was heard, from the first word on that is not an echo.

    Words echo in their order; a few of them may be lost or misheard on the way.

    Args:
        heard: What was recognised.
        spoken: What the portrait was saying at that time.

    Returns:
        The rest of `heard`, empty when all of it is an echo.
    """
    own = [word.group().casefold() for word in _WORD.finditer(spoken)]
    at = 0
    for word in _WORD.finditer(heard):
        found = _find(word.group().casefold(), own, at)
        if found is None:
            return heard[word.start() :]
        at = found + 1
    return ""


def _find(word: str, own: list[str], at: int) -> int | None:
    """Where a word is said from a position on, or else anywhere: an echo may begin in the middle.

    The nearest place behind the position counts, so that a word that is said often does not jump
    ahead of the rest.
    """
    places: list[int] = [*range(at, len(own)), *range(at)]
    for place in places:
        if own[place] == word:
            return place
    for place in places:
        likeness: float = SequenceMatcher(None, own[place], word, autojunk=False).ratio()
        if likeness >= _ALIKE:
            return place
    return None
