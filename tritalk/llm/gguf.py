"""What tritalk needs to know of a GGUF file: its name, its context, its control tokens.

The format is described in ggml's `docs/gguf.md`. Only the metadata at the head is read.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritalk.llm.engine import EngineError

_MAGIC = b"GGUF"
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"} | {
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING = 8
_ARRAY = 9
_CONTROL_TOKEN = 3


@dataclass(frozen=True)
class GgufInfo:
    """Metadata of a language model in a GGUF file."""

    name: str
    context_tokens: int
    """Tokens that the model was trained to see at once; 0 when the file does not say."""
    control_tokens: frozenset[str]
    """Texts that the tokenizer turns into tokens with a meaning to the chat format."""


def read(path: Path) -> GgufInfo:
    """Read the metadata of a GGUF file.

    Raises:
        EngineError: There is no such file, or it is not GGUF.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            fields = _Reader(data).fields()
    except OSError as error:
        raise EngineError(
            f"{path}: {error.strerror}; fetch the weights with: python -m export get default"
        ) from error
    except (ValueError, struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise EngineError(
            f"{path} is not a complete GGUF file ({error}); delete it and fetch it again"
        ) from error
    tokens = fields.get("tokenizer.ggml.tokens", [])
    kinds = fields.get("tokenizer.ggml.token_type", [])
    architecture = fields.get("general.architecture", "")
    return GgufInfo(
        name=str(fields.get("general.name", path.stem)),
        context_tokens=int(fields.get(f"{architecture}.context_length", 0)),
        control_tokens=frozenset(
            token
            for token, kind in zip(tokens, kinds, strict=False)
            if kind == _CONTROL_TOKEN and token
        ),
    )


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def fields(self) -> dict[str, Any]:
        if self._data[:4] != _MAGIC:
            raise ValueError("it does not begin with GGUF")
        self._at = 4
        self._scalar("<I")
        self._scalar("<Q")
        count = self._scalar("<Q")
        fields: dict[str, Any] = {}
        for _ in range(count):
            key = self._string()
            fields[key] = self._value(self._scalar("<I"))
        return fields

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            element, count = self._scalar("<I"), self._scalar("<Q")
            return [self._value(element) for _ in range(count)]
        return self._scalar(_SCALARS[kind])

    def _scalar(self, layout: str) -> Any:
        (value,) = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return value

    def _string(self) -> str:
        length = self._scalar("<Q")
        text = self._data[self._at : self._at + length]
        if len(text) != length:
            raise ValueError("it ends in the middle of its metadata")
        self._at += length
        # Some vocabularies hold tokens that are not UTF-8 by themselves.
        return text.decode("utf-8", errors="replace")
