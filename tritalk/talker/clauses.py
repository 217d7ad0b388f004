"""Cutting the words of a language model into clauses that can be spoken while more words come."""

from __future__ import annotations

import re

# A full stop after these does not end a sentence.
_ABBREVIATIONS = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "e.g", "i.e", "a.m", "p.m"}
    | {"u.s", "u.k", "fig", "approx", "dept", "inc", "ltd"}
)
_CLOSERS = re.escape("\"'”’)]»")
# The look-behind keeps a long run of marks from being tried again from each of its marks.
_SENTENCE_END = re.compile(rf"(?<![.!?…])[.!?…]+[{_CLOSERS}]*(?=\s)|[。！？；]+[”’）】」]*|\n+")
_LAST_MARK = re.compile(rf"[.!?…。！？][{_CLOSERS}）】」]*\s*$")
_PAUSE = re.compile(r"[,;:](?=\s)|\s[–—-](?=\s)|—|[，、：]")

# Words before which a speaker may pause where nothing is written, the best places first.
_JOINTS = tuple(
    re.compile(rf"\s(?=(?:{words})\s)", re.IGNORECASE)
    for words in (
        "and|but|because|which|who|while|when|where|so|if",
        "that|with|about|for|from|like|in|on|at|by|to|as|or|including",
    )
)


class ClauseSplitter:
    """Cuts a stream of text into clauses.

    The first clause may end at a comma so that the portrait speaks early; later ones are whole
    sentences, unless one grows too long. No character is lost: the clauses joined by spaces have
    the words of the text in their order.

    Args:
        first_clause_chars: Fewest characters of a first clause that ends at a comma.
        first_clause_longest_chars: Length from which a first clause without a comma is cut where a
            speaker might pause, such as before "and".
        clause_chars: Most characters of a clause where it can be cut at a comma or a space.
    """

    def __init__(
        self, *, first_clause_chars: int, first_clause_longest_chars: int, clause_chars: int
    ) -> None:
        self._first_clause_chars = first_clause_chars
        self._first_clause_longest_chars = first_clause_longest_chars
        self._clause_chars = clause_chars
        self._text = ""
        self._first = True

    def feed(self, text: str) -> list[str]:
        """Add text; returns the clauses that are complete now."""
        self._text += text
        clauses = []
        while (end := self._boundary()) is not None:
            clauses += self._take(end)
        return clauses

    def flush(self) -> list[str]:
        """End the text; returns what is left of it."""
        clauses = self.feed("\n")
        self._first = True
        return clauses

    def _take(self, end: int) -> list[str]:
        clause = " ".join(self._text[:end].split())
        self._text = self._text[end:].lstrip()
        # Marks without a letter or a digit cannot be spoken.
        if not any(character.isalnum() for character in clause):
            return []
        self._first = False
        return [clause]

    def _boundary(self) -> int | None:
        """Where the next clause ends, None while it is open."""
        sentence = self._sentence_end()
        if self._first:
            pause = self._pause_after(self._first_clause_chars)
            if pause is not None and (sentence is None or pause < sentence):
                return pause
            if sentence is None and len(self._text) > self._first_clause_longest_chars:
                return self._joint()
        if sentence is not None and sentence <= self._clause_chars:
            return sentence
        if len(self._text) > self._clause_chars:
            return self._long_cut()
        return sentence

    def _sentence_end(self) -> int | None:
        for match in _SENTENCE_END.finditer(self._text, 0, self._clause_chars + 1):
            if match.group().startswith(".") and self._is_abbreviation(match.start()):
                continue
            return match.end()
        return None

    def _is_abbreviation(self, stop: int) -> bool:
        words = self._text[:stop].split()
        if not words:
            return False
        word = words[-1].lstrip("(\"'“‘").lower()
        # "1." opens a list item, "J." is an initial.
        opens_item = word.isdigit() and len(words) == 1
        initial = len(word) == 1 and word.isalpha() and word != "i"
        return word in _ABBREVIATIONS or opens_item or initial

    def _pause_after(self, least: int) -> int | None:
        for match in _PAUSE.finditer(self._text, 0, self._clause_chars + 1):
            if match.start() >= least:
                return match.end()
        return None

    def _joint(self) -> int | None:
        """Where a speaker might pause in the text so far, in its second half."""
        least = max(self._first_clause_chars, self._first_clause_longest_chars // 2)
        head = self._text[: self._clause_chars]
        for joint in _JOINTS:
            places = [match.end() for match in joint.finditer(head, least)]
            if places:
                return places[-1]
        return self._long_cut() if len(self._text) > self._clause_chars else None

    def _long_cut(self) -> int:
        head = self._text[: self._clause_chars]
        pauses = [match.end() for match in _PAUSE.finditer(head)]
        if pauses and pauses[-1] > self._clause_chars // 3:
            return pauses[-1]
        space = head.rfind(" ")
        return space if space > 0 else self._clause_chars


def ends_sentence(clause: str) -> bool:
    """Whether a clause ends as a sentence does."""
    return _LAST_MARK.search(clause) is not None
