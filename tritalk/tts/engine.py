"""What every speech synthesis engine does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tritalk.audio import Samples

SILENCE = "sil"
"""Symbol of the time in which nothing is pronounced: pads and punctuation."""


class EngineError(RuntimeError):
    """An engine cannot be loaded; the message names the file or setting and what to change."""


@dataclass(frozen=True)
class Phrase:
    """A piece of text that is pronounced in one go."""

    phonemes: str
    """In the engine's own alphabet, punctuation included."""


@dataclass(frozen=True)
class Phone:
    """One phoneme of a spoken phrase, or a silence."""

    symbol: str
    duration_s: float


@dataclass(frozen=True)
class Spoken:
    """A spoken phrase."""

    samples: Samples
    phones: Sequence[Phone]
    """Their durations add up to that of the samples; none where the engine does not know."""


class Voice(Protocol):
    """One voice of an engine."""

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate of what it says."""
        ...

    def phrases(self, text: str) -> list[Phrase]:
        """How the voice pronounces a text: nothing for what it cannot pronounce.

        Args:
            text: Plain words, numbers and punctuation; see `tritalk.tts.speakable`.
        """
        ...

    def speak(self, phrase: Phrase, speed: float, seed: int) -> Spoken:
        """Speak one phrase.

        Args:
            phrase: From `phrases` of the same voice.
            speed: 1 is the voice's own pace, 2 twice as fast.
            seed: The same seed gives the same samples.
        """
        ...
