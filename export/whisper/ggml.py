"""Reads Whisper checkpoints in whisper.cpp's ggml format.

Layout (little-endian): u32 magic; 11 x i32 sizes; the mel filters as i32 rows, i32 columns, f32
values; i32 number of tokens, each u32 length and bytes; then tensors until the end: i32 rank, i32
length of the name, i32 type (0 float32, 1 float16), the sizes of the axes from the last to the
first, name, values. Names are those of OpenAI's state dict. Source: whisper.cpp,
`models/convert-pt-to-ggml.py`.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from export.whisper.checkpoint import Array, Checkpoint, CheckpointError, Dimensions

_MAGIC = 0x67676D6C
_DTYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 1: np.dtype("<f2")}


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = memoryview(path.read_bytes())
        self._offset = 0

    @property
    def finished(self) -> bool:
        return self._offset == len(self._data)

    def bytes(self, count: int) -> memoryview:
        data = self._data[self._offset : self._offset + count]
        if count < 0 or len(data) != count:
            raise CheckpointError(f"{self.path} is cut short at byte {len(self._data)}")
        self._offset += count
        return data

    def integers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self.bytes(4 * count))

    def integer(self) -> int:
        return self.integers(1)[0]


def read(path: Path) -> tuple[Checkpoint, list[bytes]]:
    """Read a checkpoint and its vocabulary.

    Args:
        path: A file such as `ggml-tiny.bin`, float16 or float32.

    Returns:
        The checkpoint, and the bytes of each text token in the order of their ids.

    Raises:
        CheckpointError: The file is not such a checkpoint, is cut short or is quantised.
    """
    reader = _Reader(path)
    if reader.integer() != _MAGIC:
        raise CheckpointError(f"{path} is not a ggml file: it does not begin with {_MAGIC:#x}")
    (
        vocabulary,
        audio_context,
        state,
        heads,
        audio_layers,
        text_context,
        _text_state,
        _text_heads,
        text_layers,
        mels,
        _type,
    ) = reader.integers(11)
    rows, columns = reader.integers(2)
    reader.bytes(4 * rows * columns)
    tokens = [bytes(reader.bytes(reader.integer())) for _ in range(reader.integer())]
    tensors: dict[str, Array] = {}
    while not reader.finished:
        rank, name_length, kind = reader.integers(3)
        shape = reader.integers(rank)[::-1]
        name = bytes(reader.bytes(name_length)).decode()
        if kind not in _DTYPES:
            raise CheckpointError(
                f"{path}: {name} has the ggml type {kind}; take a file with float16 weights"
            )
        dtype = _DTYPES[kind]
        values = np.frombuffer(reader.bytes(dtype.itemsize * int(np.prod(shape))), dtype)
        # The biases of the convolutions are stored as columns.
        tensors[name] = values if name.endswith(".bias") else values.reshape(shape)
    dimensions = Dimensions(
        mels=mels,
        audio_context=audio_context,
        state=state,
        heads=heads,
        audio_layers=audio_layers,
        text_layers=text_layers,
        text_context=text_context,
        vocabulary=vocabulary,
    )
    return Checkpoint(dimensions, tensors), tokens
