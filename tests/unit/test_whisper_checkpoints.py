"""Reading checkpoints: small files in the carriers' formats, whole and broken."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from export.whisper import CheckpointError, convert, ctranslate2, ggml, vocabulary

WEIGHT = np.arange(6, dtype=np.float16).reshape(2, 3)


def ggml_file(path: Path, *, magic: int = 0x67676D6C, kind: int = 1) -> Path:
    """A file with two tokens, a matrix and a bias stored as a column."""
    data = struct.pack("<I11i", magic, 50, 1500, 128, 2, 1, 448, 128, 2, 1, 80, 1)
    data += struct.pack("<2i", 1, 2) + bytes(8)
    data += struct.pack("<i", 2) + struct.pack("<I", 1) + b"a" + struct.pack("<I", 2) + b"bc"
    data += struct.pack("<3i", 2, 6, kind) + struct.pack("<2i", 3, 2) + b"weight"
    data += WEIGHT.tobytes()
    data += struct.pack("<3i", 2, 10, 0) + struct.pack("<2i", 1, 2) + b"conv1.bias"
    data += np.array([1, 2], dtype="<f4").tobytes()
    path.write_bytes(data)
    return path


def test_a_ggml_file_gives_sizes_tensors_and_tokens(tmp_path: Path) -> None:
    checkpoint, tokens = ggml.read(ggml_file(tmp_path / "tiny.bin"))
    assert tokens == [b"a", b"bc"]
    assert checkpoint.dimensions.state == 128
    assert checkpoint.dimensions.vocabulary == 50
    np.testing.assert_array_equal(checkpoint["weight"], WEIGHT.astype(np.float32))
    np.testing.assert_array_equal(checkpoint["conv1.bias"], [1.0, 2.0])


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    checkpoint, _ = ggml.read(ggml_file(tmp_path / "tiny.bin"))
    with pytest.raises(CheckpointError, match="no weight encoder.conv1"):
        checkpoint["encoder.conv1.weight"]


def test_a_file_that_is_no_ggml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a ggml file"):
        ggml.read(ggml_file(tmp_path / "tiny.bin", magic=1))


def test_a_quantised_ggml_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="ggml type 8; take a file with float16"):
        ggml.read(ggml_file(tmp_path / "tiny.bin", kind=8))


@pytest.mark.parametrize("size", [2, 30, 70, 100])
def test_a_ggml_file_that_is_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    path = ggml_file(tmp_path / "tiny.bin")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="cut short"):
        ggml.read(path)


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def ctranslate2_file(path: Path, *, version: int = 6, name: str = "WhisperSpec") -> Path:
    variables = {"decoder/embeddings/weight": np.zeros((50, 128), dtype=np.float16)}
    data = struct.pack("<I", version) + text(name) + struct.pack("<II", 3, len(variables))
    for key, value in variables.items():
        data += text(key) + struct.pack("B", value.ndim) + struct.pack("<2I", *value.shape)
        data += struct.pack("<BI", 4, value.nbytes) + value.tobytes()
    path.write_bytes(data + struct.pack("<I", 0))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 5}, "binary version 5, 6 is expected"),
        ({"name": "TransformerSpec"}, "holds a TransformerSpec"),
        ({}, "no variable encoder/conv1/weight"),
    ],
)
def test_another_ctranslate2_model_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        ctranslate2.read(ctranslate2_file(tmp_path / "model.bin", **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 3, 20, 60, 1000])
def test_a_ctranslate2_file_that_is_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    path = ctranslate2_file(tmp_path / "model.bin")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="cut short"):
        ctranslate2.read(path)


def test_a_model_with_another_vocabulary_is_not_converted(tmp_path: Path) -> None:
    source = ggml_file(tmp_path / "whisper-tiny.bin")
    with pytest.raises(CheckpointError, match="50 tokens, 51865 are supported"):
        convert({"whisper-tiny.bin": source}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whisper-tiny.bin"]


def test_something_else_than_a_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {}}))
    with pytest.raises(CheckpointError, match="not a byte-level BPE tokenizer"):
        vocabulary.text_tokens(path)


def test_an_english_vocabulary_is_refused() -> None:
    with pytest.raises(CheckpointError, match="English-only"):
        vocabulary.build_tokenizer([b"a"] * 50256)


def test_merges_are_found_again_from_the_order_of_the_tokens() -> None:
    tokens = [b"a", b"b", b"c", b"ab", b"bc", b"abc", b"cab", b"abcab"]
    assert vocabulary.merges(tokens) == [
        (b"a", b"b"),
        (b"b", b"c"),
        (b"ab", b"c"),
        (b"c", b"ab"),
        (b"abc", b"ab"),
    ]
