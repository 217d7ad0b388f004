"""Model files that are missing or broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tritalk.asr import model_config
from tritalk.model_files import ModelError


@pytest.mark.parametrize("text", [None, "", "{", '{"name": "whisper-base"}'])
def test_a_description_that_is_missing_or_broken_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "whisper.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ModelError, match=r"whisper\.json cannot be used"):
        model_config.read(path)
