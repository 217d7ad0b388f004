"""How much of an answer was heard when it was cut off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WITHIN_WORD = re.compile(r"(?:(?![\u2e80-\u9fff\uf900-\ufaff])[\w'’-]){2}")
"""Two characters of one word, but of scripts that are written without spaces."""

_OPENING = " \"'“‘([«„¿¡「『（《"
"""What belongs to the word after it."""


@dataclass(frozen=True)
class Spoken:
    """A clause in an answer's media."""

    text: str
    start_s: float
    end_s: float


def heard_text(clauses: Sequence[Spoken], position_s: float) -> str:
    """The words that were heard up to a position of the media.

    Of the clause that was being spoken it is as many whole words as its share of the time covers,
    measured in characters: long words take longer.

    Args:
        clauses: In their order.
        position_s: Seconds of the media that have been played.
    """
    heard = [_part(clause, position_s) for clause in clauses if clause.start_s < position_s]
    return " ".join(text for text in heard if text)


def _part(clause: Spoken, position_s: float) -> str:
    if position_s >= clause.end_s:
        return clause.text
    share = (position_s - clause.start_s) / (clause.end_s - clause.start_s)
    chars = int(share * len(clause.text))
    # A word that is not over has not been heard; where words are not set apart, characters count.
    while _within_word(clause.text, chars):
        chars -= 1
    return clause.text[:chars].rstrip(_OPENING)


def _within_word(text: str, at: int) -> bool:
    return _WITHIN_WORD.fullmatch(text[max(0, at - 1) : at + 1]) is not None
