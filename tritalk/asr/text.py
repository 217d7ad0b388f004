"""What becomes of the model's spelling."""

from __future__ import annotations

from collections.abc import Sequence

_BROKEN = "\N{REPLACEMENT CHARACTER}"

_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my"})
"""Languages that are written without spaces."""


def tidy(text: str) -> str:
    """Text with single spaces and without halves of characters.

    A transcript that was ended by its limit may end in the middle of a character.
    """
    return " ".join(text.replace(_BROKEN, "").split())


def join(pieces: Sequence[str], language: str) -> str:
    """The text of a recording that was recognised in pieces, in their order."""
    space = "" if language in _UNSPACED else " "
    return space.join(piece for piece in map(tidy, pieces) if piece)


def says_something(text: str) -> bool:
    """Whether there is a word in it, and not punctuation alone."""
    return any(character.isalnum() for character in text)
