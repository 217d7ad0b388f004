"""Model files that are missing or broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tritalk.asr import model_config
from tritalk.asr.model_config import ModelError
from tritalk.asr.runtime import open_session


def test_a_missing_graph_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"encoder\.onnx cannot be used .*export get default"):
        open_session(tmp_path / "encoder.onnx", threads=1)


@pytest.mark.parametrize("data", [b"", b"no graph", bytes(1000)])
def test_a_broken_graph_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"encoder\.onnx cannot be used"):
        open_session(path, threads=1)


@pytest.mark.parametrize("text", [None, "", "{", '{"name": "whisper-base"}'])
def test_a_description_that_is_missing_or_broken_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "whisper.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ModelError, match=r"whisper\.json cannot be used"):
        model_config.read(path)
