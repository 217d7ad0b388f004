"""The text of one utterance while it grows, in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tritalk.asr import text
from tritalk.asr.agreement import agreed
from tritalk.asr.whisper import Tokens


class Spelling(Protocol):
    """What a model's tokens mean; see `Whisper`."""

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""

    def is_boundary(self, tokens: Sequence[int], index: int, language: str) -> bool:
        """Whether the text may be cut before a token."""


class Utterance:
    """What one utterance is found to say.

    The audio of the piece that is being spoken is recognised again and again, always from the
    piece's begin. Earlier pieces are settled: their text stays. All places are samples of the
    sequence, all windows those of the detector.

    Args:
        number: Of the utterance in its sequence.
        begin: Its first sample.
        language: Code of its language.
        spelling: What tokens mean.

    Attributes:
        first: Its first sample.
        begin: The first sample of the piece.
        covered: The sample up to which the last transcript reaches.
        certain: The sample before which the words lie that do not change any more.
        last: The window behind the last speech, once the utterance is over.
        end: The sample behind its audio, likewise.
        paused_at: The window behind the last speech, when a pause after it has been recognised: the
            text is that of all that has been said up to there.
        split: Where the next piece begins, while the one before is not settled yet.
        split_at: The window behind the last speech before that, where there is a pause.
        spoken: Windows with speech.
        arrived_s: When the last speech came.
        ended_s: When the end was certain.
    """

    def __init__(self, number: int, begin: int, language: str, spelling: Spelling) -> None:
        self.number = number
        self.language = language
        self.first = begin
        self.begin = begin
        self.covered = begin
        self.certain = begin
        self.last = 0
        self.end = 0
        self.paused_at = 0
        self.split: int | None = None
        self.split_at = 0
        self.spoken = 0
        self.arrived_s = 0.0
        self.ended_s = 0.0
        self._spelling = spelling
        self._said: list[str] = []
        self._stable: Tokens = ()
        self._tokens: Tokens = ()

    @property
    def text(self) -> str:
        """All of it, as it is understood at this time."""
        return self._joined(self._tokens)

    @property
    def stable(self) -> str:
        """The beginning of the text that will not change any more."""
        return self._joined(self._stable)

    @property
    def settled(self) -> Tokens:
        """The tokens that every later transcript of the piece begins with."""
        return self._stable

    @property
    def draft(self) -> Tokens:
        """The tokens that were found behind them last."""
        return self._tokens[len(self._stable) :]

    def hear(self, tokens: Tokens, covered: int, *, frozen: bool = False) -> None:
        """Take the next transcript of the piece.

        Args:
            tokens: It begins with the settled ones.
            covered: The sample up to which it reaches.
            frozen: Whether no more words are to become certain, since a cut is wanted behind those
                that are.
        """
        if not frozen:
            count = agreed(self._tokens, tokens, self._is_boundary)
            if count > len(self._stable):
                self._stable = tokens[:count]
                self.certain = self.covered
        self._tokens = tokens
        self.covered = covered

    def settle(self, pieces: Sequence[Tokens], begin: int) -> None:
        """The piece is over; the next one begins.

        Args:
            pieces: The tokens of the piece, or of the parts that it was recognised in.
            begin: The first sample of the next piece.
        """
        self._said += [self._spelling.text(tokens) for tokens in pieces]
        self._stable = self._tokens = ()
        self.begin = self.certain = begin
        self.covered = max(self.covered, begin)
        self.split = None

    def pause_was(self, last: int, begin: int) -> None:
        """Speech goes on after a pause, in which the piece may end.

        Args:
            last: The window behind the speech before the pause.
            begin: Where the next piece begins.
        """
        self.split, self.split_at = begin, last
        self.settle_recognised_pause()

    def settle_recognised_pause(self) -> None:
        """End the piece at the pause where it is to be split, if that has been recognised."""
        if self.split is not None and self.paused_at == self.split_at > 0:
            self.settle([self._tokens], self.split)

    def _is_boundary(self, tokens: Sequence[int], index: int) -> bool:
        return self._spelling.is_boundary(tokens, index, self.language)

    def _joined(self, tokens: Tokens) -> str:
        return text.join([*self._said, self._spelling.text(tokens)], self.language)
