"""Settings of the speech synthesis."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tritalk.settings import Settings


class TtsSettings(Settings):
    """Parameters of `model_repository/tts/config.pbtxt`."""

    engine: Literal["hibari"] = "hibari"
    voice: str = ""
    """The voice of a request that names none, or `default`; empty is the engine's first."""
    threads: int = Field(default=1, ge=1)

    lead_silence_ms: float = Field(default=20.0, ge=0, le=1000)
    """Silence before the first sound."""
    clause_pause_ms: float = Field(default=100.0, ge=0, le=2000)
    """Silence after a clause that the sentence goes on from."""
    sentence_pause_ms: float = Field(default=250.0, ge=0, le=2000)
    """Silence after a sentence."""
    level_dbfs: float = Field(default=-20.0, ge=-40, le=-10)
    """Loudness of the speech: root mean square of its sounding part against full scale."""

    max_chars: int = Field(default=8000, ge=1)
    """Longest text of one request."""
    max_phonemes: int = Field(default=12_000, ge=100)
    """Longest speech of one request: 14 phonemes are about a second."""
    long_chars: int = Field(default=600, ge=1)
    """A longer text is spoken beside the others, which would wait for seconds behind it."""
    max_long: int = Field(default=8, ge=1)
    """Long texts that may be spoken or wait; one more is refused as busy."""
    cache_mib: int = Field(default=64, ge=0)
    """Memory for speech that was spoken before, in MiB: 23 minutes of it."""
