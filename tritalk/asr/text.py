"""What becomes of the model's spelling."""

from __future__ import annotations

from collections.abc import Sequence

BROKEN = "\N{REPLACEMENT CHARACTER}"
"""Stands for a part of a character."""

_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my"})
"""Languages that are written without spaces."""

_ENDS = ".!?。！？"
_TRAILING_OFF = ("...", "…", "——", "--")
_CLOSING = "\"'”’»)）」』"

_AFTER_WHICH_MORE_COMES = """
    a about actually after an and are as at because before but by can could do does for from had
    has have how i if in into is it's just like maybe my of on or our please so some than that the
    their then these this those to uh um until very was well were what when where which while who
    why will with without would yeah your
"""
_HANGING = frozenset(_AFTER_WHICH_MORE_COMES.split())
"""English words that no sentence ends with, whatever mark the model puts behind them."""

_HANGING_UNSPACED = (
    *("和", "跟", "与", "或", "或者", "还有", "但", "但是", "可是", "不过", "因为", "所以", "如果"),
    *("然后", "就是", "那个", "这个", "的", "嗯", "呃", "在", "把", "对"),
)


def tidy(text: str) -> str:
    """Text with single spaces and without halves of characters.

    A transcript that was ended by its limit may end in the middle of a character.
    """
    return " ".join(text.replace(BROKEN, "").split())


def join(pieces: Sequence[str], language: str) -> str:
    """The text of a recording that was recognised in pieces, in their order."""
    space = "" if is_unspaced(language) else " "
    return space.join(piece for piece in map(tidy, pieces) if piece)


def says_something(text: str) -> bool:
    """Whether there is a word in it, and not punctuation alone."""
    return any(character.isalnum() for character in text)


def is_unspaced(language: str) -> bool:
    """Whether a language is written without spaces between words."""
    return language in _UNSPACED


def is_complete(text: str) -> bool:
    """Whether a text is likely to be all that was to be said.

    It ends with the mark of a sentence's end, and not with a word after which more is to come:
    Whisper puts a full stop wherever somebody pauses.
    """
    text = text.rstrip().rstrip(_CLOSING)
    if not text or text[-1] not in _ENDS or text.endswith(_TRAILING_OFF):
        return False
    words = text.rstrip(_ENDS + _CLOSING).lower().split()
    if not words:
        return False
    last = words[-1].lstrip(_CLOSING + "“‘«(（「『")
    return last not in _HANGING and not last.endswith(_HANGING_UNSPACED)
