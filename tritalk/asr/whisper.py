"""Whisper in ONNX Runtime: clips in, texts out, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from tritalk.asr import model_config
from tritalk.asr.decoder import Decoder
from tritalk.asr.encoder import Encoder
from tritalk.asr.greedy import most_tokens
from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.audio import Samples
from tritalk.model_files import ModelError

WINDOW_S = 30.0
"""Longest clip that the model looks at in one piece, in seconds."""


@dataclass(frozen=True)
class Clip:
    """A piece of speech to be recognised.

    Attributes:
        samples: At 16 kHz, not empty, at most `WINDOW_S` long.
        language: Code of the language that is spoken, one of `Whisper.languages`.
    """

    samples: Samples
    language: str


class Whisper:
    """A converted Whisper model.

    Args:
        folder: Holds encoder.onnx, decoder.onnx, tokenizer.json and whisper.json.
        threads: Of the encoder and of the decoder.

    Raises:
        ModelError: A file is missing or broken.
    """

    def __init__(self, folder: Path, *, threads: int) -> None:
        self._model = model_config.read(folder / "whisper.json")
        self._encoder = Encoder(folder / "encoder.onnx", self._model, threads=threads)
        self._decoder = Decoder(folder / "decoder.onnx", self._model, threads=threads)
        self._tokenizer = _tokenizer(folder / "tokenizer.json")

    @property
    def name(self) -> str:
        """The checkpoint, such as `whisper-base`."""
        return self._model.name

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that the model knows."""
        return frozenset(self._model.languages)

    def transcribe(self, clips: Sequence[Clip]) -> list[str]:
        """Recognise clips together; each gets the text that it gets alone.

        Args:
            clips: At least one, of any lengths and languages.

        Returns:
            The text of each clip as the model spells it, without spaces around it.
        """
        # The reference implementation's limit: the other half of the context is for a prompt.
        limit = self._model.text_context // 2
        found = self._decoder(
            self._encoder([clip.samples for clip in clips]),
            languages=[clip.language for clip in clips],
            limits=[most_tokens(len(clip.samples) / SAMPLE_RATE_HZ, limit=limit) for clip in clips],
        )
        return [self._tokenizer.decode(tokens).strip() for tokens in found]


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError.of(path, error) from error
