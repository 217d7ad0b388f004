"""What every speech synthesis engine does, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tritalk.audio import Samples
from tritalk.tts.settings import TtsSettings

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


def load(settings: TtsSettings, folder: Path) -> Mapping[str, Voice]:
    """Load the voices of the engine that the settings name.

    Args:
        settings: The model's settings.
        folder: The version folder in the model repository, which holds the weights.

    Returns:
        The voices by their names, the default first.

    Raises:
        EngineError: The weights are missing or broken, or the default voice is not among them.
    """
    # An engine's library is imported only where that engine is used.
    from tritalk.tts import hibari

    engines: dict[str, Callable[[Path, int], Mapping[str, Voice]]] = {"hibari": hibari.load}
    voices = engines[settings.engine](folder, settings.threads)
    first = settings.voice or next(iter(voices))
    if first not in voices:
        raise EngineError(f"voice is {first}, but the voices in {folder} are: {', '.join(voices)}")
    return {first: voices[first], **voices}
