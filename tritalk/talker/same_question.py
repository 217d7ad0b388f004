"""When two questions are the same but for how they are written."""

from __future__ import annotations

import re
import unicodedata

_MARKS = ".,;:!?"
_QUOTES = "'\"`“”„‟«»‹›"
# What NFKC leaves apart, or takes apart.
_SAME = str.maketrans({**dict.fromkeys("‐‑‒–—―−", "-"), **dict.fromkeys("‘’‚‛´", "'")})

# Scripts that are written without spaces: Han, kana and what belongs to them; not Hangul.
_CJK = (
    r"[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u3040-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_CJK_MARKS = re.compile(r"[\u3001\u3002\u3008-\u3011\u3014-\u301f\u30fb]")
# Marks and spaces beside those scripts, but for the ones of numbers: 5! and .5 are not 5. A run is
# looked at from its start alone, so that a long one takes no time.
_WRITING_IN_CJK = re.compile(
    rf"(?<={_CJK})[{_MARKS}\s]+(?!\d)|(?<![\d{_MARKS}])[{_MARKS}]+(?={_CJK})"
    rf"|(?<={_CJK})\s+|(?<!\s)\s+(?={_CJK})"
)


def normalised(question: str) -> str:
    """The form that a question shares with those that differ in writing alone.

    Case, forms of the same character (Unicode NFKC), spaces, quotes around words and the marks that
    end clauses do not count. All else does, and so do marks within a word or a number: `C++`, `C#`,
    `.NET`, `3.5` and `x²` stay what they are. In doubt two questions differ: the cost is an answer
    that is thought of again, while taking one for another would give a wrong answer.

    Args:
        question: What was asked.

    Returns:
        The normalised question; empty only when the question is.
    """
    text = "".join(_plain(character) for character in question)
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = _WRITING_IN_CJK.sub("", _CJK_MARKS.sub(" ", text)).split()
    while words and not words[-1].strip(_MARKS + _QUOTES):
        # A mark by itself, as French puts it; elsewhere it may be what the question is about.
        words.pop()
    return " ".join(_word(word) for word in words) or " ".join(text.split())


def _plain(character: str) -> str:
    """A character, with what NFKC would lose: that it is raised, or a fraction of its own."""
    if unicodedata.category(character) == "Cf":
        return ""
    decomposition = unicodedata.decomposition(character)
    if decomposition.startswith("<super>"):
        return f"^{character}"
    if decomposition.startswith("<fraction>"):
        return f" {character}"
    return character.translate(_SAME)


def _word(word: str) -> str:
    """A word without the quotes around it and the marks after it."""
    bare = word.lstrip(_QUOTES + "¿¡")
    while bare and _ends_with_writing(bare):
        bare = bare[:-1]
    return bare or word


def _ends_with_writing(word: str) -> bool:
    after_digit = len(word) > 1 and word[-2].isdigit()
    if word[-1] in _QUOTES or word[-1] == "!":
        # 5! is a factorial, and 5' and 5" are lengths.
        return not after_digit
    return word[-1] in _MARKS
