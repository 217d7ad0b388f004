"""Whisper in ONNX Runtime: clips in, tokens out, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from tritalk.asr import model_config, text
from tritalk.asr.decoder import Decoder, Task
from tritalk.asr.encoder import Encoder
from tritalk.asr.greedy import most_tokens
from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.audio import Samples
from tritalk.model_files import ModelError

WINDOW_S = 30.0
"""Longest clip that the model looks at in one piece, in seconds."""

Tokens = tuple[int, ...]

_SPACE = "Ġ"
"""How the vocabulary writes the space that a word begins with."""


@dataclass(frozen=True)
class Clip:
    """A piece of speech to be recognised.

    Attributes:
        samples: At 16 kHz, not empty, at most `WINDOW_S` long.
        language: Code of the language that is spoken, one of `Whisper.languages`.
        settled: Tokens that its transcript begins with, whatever is heard.
        draft: Tokens that are expected to follow; right ones save time, and wrong ones cost little.
    """

    samples: Samples
    language: str
    settled: Tokens = ()
    draft: Tokens = ()


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

    def recognise(self, clips: Sequence[Clip]) -> list[Tokens]:
        """Recognise clips together; each gets the text that it gets alone.

        Args:
            clips: At least one, of any lengths and languages.

        Returns:
            The tokens of each clip's transcript, the settled ones included.
        """
        # The reference implementation's limit: the other half of the context is for a prompt.
        limit = self._model.text_context // 2
        tasks = [
            Task(
                clip.language,
                most_tokens(len(clip.samples) / SAMPLE_RATE_HZ, limit=limit),
                clip.settled[:limit],
                clip.draft[: max(0, limit - len(clip.settled))],
            )
            for clip in clips
        ]
        found = self._decoder(self._encoder([clip.samples for clip in clips]), tasks)
        return [tuple(tokens) for tokens in found]

    def transcribe(self, clips: Sequence[Clip]) -> list[str]:
        """The text of each clip; see `recognise`."""
        return [self.text(tokens) for tokens in self.recognise(clips)]

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens as the model spells it, without spaces around it."""
        decoded: str = self._tokenizer.decode(list(tokens))
        return text.tidy(decoded)

    def tokens(self, text: str) -> Tokens:
        """The tokens that a text is spelled with."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def is_boundary(self, tokens: Sequence[int], index: int, language: str) -> bool:
        """Whether the text may be cut before a token: no word, or no character, is split.

        Args:
            tokens: Of a transcript.
            index: Of one of them.
            language: Code of its language.
        """
        if not text.is_unspaced(language):
            following = self._tokenizer.id_to_token(tokens[index])
            return following is not None and following.startswith(_SPACE)
        before: str = self._tokenizer.decode(list(tokens[:index]))
        return not before.endswith(text.BROKEN)


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError.of(path, error) from error
