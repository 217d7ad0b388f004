"""Settings of the `asr` model: `parameters` of its config.pbtxt."""

from __future__ import annotations

from pydantic import Field

from tritalk.asr.noise import STRONGEST
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

    end_silence_ms: int = Field(default=400, ge=100, le=5_000)
    """Silence that ends an utterance; a sequence may ask for another."""

    sentence_end_silence_ms: int = Field(default=320, ge=100, le=5_000)
    """Silence that ends an utterance whose text is a complete sentence; of a sequence that asks for
    another `end_silence_ms`, as much more or less."""

    silence_timeout_s: float = Field(default=0.0, ge=0, le=3_600)
    """Silence after which a sequence is told so, 0 is never; a sequence may ask for another."""

    noise_suppression: int = Field(default=0, ge=0, le=STRONGEST)
    """How much noise is taken out, 0 is none; takes the library webrtc-noise-gain."""

    partial_interval_s: float = Field(default=0.4, ge=0.1, le=5)
    """Speech from one transcript to the next while somebody speaks."""

    batch_audio_s: float = Field(default=8.0, gt=0)
    """Audio that is recognised together, over all sequences; what is over waits for its turn."""

    max_audio_s: float = Field(default=wire.MAX_AUDIO_S, gt=0, le=600)
    """Longest audio of one sequence that does not find the ends of utterances itself."""

    sequence_idle_s: float = Field(default=300, gt=0)
    """A sequence that gets nothing for so long is forgotten; Triton's own limit is
    `max_sequence_idle_microseconds`."""
