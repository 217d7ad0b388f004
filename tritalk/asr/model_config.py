"""`whisper.json`: what a converted Whisper model says of itself."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tritalk.model_files import ModelError


class WhisperModel(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Sizes and tokens of a Whisper model, as `export.whisper` writes them."""

    name: str
    """The checkpoint it was made from, such as `whisper-base`."""
    mels: int
    audio_context: int
    """Positions of the encoder, two mel frames each."""
    text_context: int
    """Most tokens of the decoder, the prompt included."""
    state: int
    heads: int
    audio_layers: int
    text_layers: int
    vocabulary: int
    silence_levels: tuple[float, ...]
    """Log-mel values of the silence whose encoding the encoder holds."""
    start: int
    """Token that begins a transcript."""
    end: int
    """Token that ends it; all tokens below are text."""
    transcribe: int
    no_timestamps: int
    first_timestamp: int
    blank: int
    """The token of a single space."""
    barred: tuple[int, ...]
    """Tokens that are never put out: annotations of non-speech, and special tokens."""
    languages: dict[str, int]
    """Tokens of the languages, by their codes."""


def read(path: Path) -> WhisperModel:
    """Read a `whisper.json`.

    Raises:
        ModelError: The file is missing or is not one.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=WhisperModel)
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError.of(path, error) from error
