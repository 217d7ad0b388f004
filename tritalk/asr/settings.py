"""Settings of the `asr` model: `parameters` of its config.pbtxt."""

from __future__ import annotations

from pydantic import Field

from tritalk.settings import Settings
from tritalk_client import wire


class AsrSettings(Settings):
    """How speech is recognised; every field has a default."""

    threads: int = Field(default=1, ge=1, le=64)
    """Threads of the encoder and the decoder."""

    default_language: str = "en"
    """Language of sequences that do not name one."""

    vad_threshold: float = Field(default=0.5, gt=0, lt=1)
    """Least probability of a window that counts as speech."""

    speech_margin_s: float = Field(default=0.3, ge=0, le=2)
    """Audio kept before the first and behind the last speech."""

    max_audio_s: float = Field(default=wire.MAX_AUDIO_S, gt=0, le=600)
    """Longest audio of one sequence."""

    sequence_idle_s: float = Field(default=60, gt=0)
    """A sequence that gets nothing for so long is forgotten; Triton's own limit is
    `max_sequence_idle_microseconds`."""
