"""Reads Whisper checkpoints in CTranslate2's format, binary version 6.

Layout (little-endian): u32 version, the name of the architecture, u32 revision, u32 number of
variables, each as name, u8 rank, u32 sizes, u8 type, u32 number of bytes, values; then aliases as
pairs of names. A name is u16 length with its terminating zero. Projections of attention are packed:
query, key and value of the self-attention in `linear_0`, key and value of the cross-attention in
`linear_1`. Source: CTranslate2, `src/models/model.cc` and `python/ctranslate2/specs/`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.whisper.checkpoint import Array, Checkpoint, CheckpointError, Dimensions

_VERSION = 6
_DTYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_ARCHITECTURE = "WhisperSpec"


def read(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: A file such as `model.bin`.

    Raises:
        CheckpointError: The file is not such a checkpoint, is cut short or is quantised.
    """
    name = str(path)
    try:
        variables = _variables(path.read_bytes(), name)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{name} is cut short or is not a CTranslate2 model: {error}"
        ) from error
    return _Translation(variables, name).checkpoint()


def _variables(data: bytes, name: str) -> dict[str, Array]:
    offset = 0

    def integer(kind: str) -> int:
        nonlocal offset
        value: int = struct.unpack_from(kind, data, offset)[0]
        offset += struct.calcsize(kind)
        return value

    def text() -> str:
        nonlocal offset
        length = integer("<H")
        value = data[offset : offset + length - 1].decode()
        offset += length
        return value

    version = integer("<I")
    if version != _VERSION:
        raise CheckpointError(f"{name} has binary version {version}, {_VERSION} is expected")
    architecture = text()
    if architecture != _ARCHITECTURE:
        raise CheckpointError(f"{name} holds a {architecture}, not a {_ARCHITECTURE}")
    integer("<I")
    variables: dict[str, Array] = {}
    for _ in range(integer("<I")):
        key = text()
        shape = [integer("<I") for _ in range(integer("B"))]
        dtype = np.dtype(_DTYPES[integer("B")])
        size = integer("<I")
        values = np.frombuffer(data, dtype, size // dtype.itemsize, offset)
        variables[key] = values.reshape(shape)
        offset += size
    for _ in range(integer("<I")):
        alias = text()
        variables[alias] = variables[text()]
    return variables


class _Translation:
    """Gives CTranslate2's variables the names of OpenAI's state dict, and unpacks them."""

    def __init__(self, variables: dict[str, Array], name: str) -> None:
        self._variables = variables
        self._name = name
        self._state = self._variable("decoder/embeddings/weight").shape[1]
        self._tensors: dict[str, Array] = {}

    def checkpoint(self) -> Checkpoint:
        for number in (1, 2):
            for part in ("weight", "bias"):
                self._take(f"encoder.conv{number}.{part}", f"encoder/conv{number}/{part}")
        self._norm("encoder.ln_post", "encoder/layer_norm")
        self._norm("decoder.ln", "decoder/layer_norm")
        self._take("decoder.token_embedding.weight", "decoder/embeddings/weight")
        layers = {side: self._side(side) for side in ("encoder", "decoder")}
        embedding = self._tensors["decoder.token_embedding.weight"]
        dimensions = Dimensions(
            mels=self._tensors["encoder.conv1.weight"].shape[1],
            audio_context=self._tensors["encoder.positional_embedding"].shape[0],
            state=self._state,
            heads=int(self._variable("encoder/num_heads")),
            audio_layers=layers["encoder"],
            text_layers=layers["decoder"],
            text_context=self._tensors["decoder.positional_embedding"].shape[0],
            vocabulary=embedding.shape[0],
        )
        return Checkpoint(dimensions, self._tensors)

    def _side(self, side: str) -> int:
        self._take(f"{side}.positional_embedding", f"{side}/position_encodings/encodings")
        layer = 0
        while f"{side}/layer_{layer}/self_attention/linear_0/weight" in self._variables:
            block, source = f"{side}.blocks.{layer}", f"{side}/layer_{layer}"
            self._norm(f"{block}.attn_ln", f"{source}/self_attention/layer_norm")
            self._packed(
                [f"{block}.attn.{part}" for part in ("query", "key", "value")],
                f"{source}/self_attention/linear_0",
            )
            self._packed([f"{block}.attn.out"], f"{source}/self_attention/linear_1")
            if side == "decoder":
                cross = f"{block}.cross_attn"
                self._norm(f"{block}.cross_attn_ln", f"{source}/attention/layer_norm")
                self._packed([f"{cross}.query"], f"{source}/attention/linear_0")
                self._packed([f"{cross}.key", f"{cross}.value"], f"{source}/attention/linear_1")
                self._packed([f"{cross}.out"], f"{source}/attention/linear_2")
            self._norm(f"{block}.mlp_ln", f"{source}/ffn/layer_norm")
            self._packed([f"{block}.mlp.0"], f"{source}/ffn/linear_0")
            self._packed([f"{block}.mlp.2"], f"{source}/ffn/linear_1")
            layer += 1
        return layer

    def _variable(self, key: str) -> Array:
        if key not in self._variables:
            raise CheckpointError(f"{self._name} has no variable {key}")
        return self._variables[key]

    def _take(self, name: str, key: str) -> None:
        values = self._variable(key)
        if values.dtype.kind != "f":
            raise CheckpointError(f"{self._name} is quantised; take a model with float16 weights")
        self._tensors[name] = values

    def _norm(self, name: str, key: str) -> None:
        self._take(f"{name}.weight", f"{key}/gamma")
        self._take(f"{name}.bias", f"{key}/beta")

    def _packed(self, names: Sequence[str], key: str) -> None:
        for part in ("weight", "bias"):
            self._take(key, f"{key}/{part}")
            values = np.split(self._tensors.pop(key), len(names))
            for name, value in zip(names, values, strict=True):
                # Whisper's keys have no bias; CTranslate2 fills the gap with zeros.
                if part == "weight" or not name.endswith(".key"):
                    self._tensors[f"{name}.{part}"] = value
