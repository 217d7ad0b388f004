from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from tritalk.llm import engines, gguf
from tritalk.llm.answer import Answer
from tritalk.llm.engine import EngineError
from tritalk.llm.settings import LlmSettings
from tritalk.settings import SettingsError, read_settings
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import Usage

STRING, UINT32, ARRAY, INT32 = 8, 4, 9, 5
NORMAL, CONTROL = 1, 3


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_file(path: Path, *, context: int = 512, cut: int | None = None) -> Path:
    fields = [
        text("general.architecture") + struct.pack("<I", STRING) + text("llama"),
        text("general.name") + struct.pack("<I", STRING) + text("Tiny"),
        text("llama.context_length") + struct.pack("<II", UINT32, context),
        text("tokenizer.ggml.tokens")
        + struct.pack("<IIQ", ARRAY, STRING, 3)
        + b"".join(map(text, ["<|end|>", "hello", "<|start|>"])),
        text("tokenizer.ggml.token_type")
        + struct.pack("<IIQ3i", ARRAY, INT32, 3, CONTROL, NORMAL, CONTROL),
    ]
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, len(fields)) + b"".join(fields)
    path.write_bytes(data[:cut])
    return path


def test_the_metadata_of_a_model_is_read(tmp_path: Path) -> None:
    info = gguf.read(gguf_file(tmp_path / "model.gguf"))

    assert info == gguf.GgufInfo("Tiny", 512, frozenset({"<|end|>", "<|start|>"}))


@pytest.mark.parametrize("cut", [0, 2, 10, 60, 150, 200])
def test_a_file_that_is_cut_off_says_so(tmp_path: Path, cut: int) -> None:
    path = gguf_file(tmp_path / "model.gguf", cut=cut)

    with pytest.raises(EngineError, match=r"model\.gguf is not a complete GGUF file"):
        gguf.read(path)


def test_what_is_not_a_model_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_text("version https://git-lfs.github.com/spec/v1\n" * 9)

    with pytest.raises(EngineError, match="does not begin with GGUF"):
        engines.load(LlmSettings(), tmp_path)


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="python -m export get default"):
        engines.load(LlmSettings(), tmp_path)


def test_more_context_than_the_model_has_seen_is_refused(tmp_path: Path) -> None:
    gguf_file(tmp_path / "model.gguf", context=512)

    with pytest.raises(EngineError, match="lower n_ctx"):
        engines.load(LlmSettings(n_ctx=1024), tmp_path)


def test_metadata_without_tensors_cannot_be_loaded(tmp_path: Path) -> None:
    gguf_file(tmp_path / "model.gguf")

    with pytest.raises(EngineError, match=r"llama\.cpp cannot load"):
        engines.load(LlmSettings(n_ctx=256), tmp_path)


def test_an_unknown_engine_is_a_settings_error() -> None:
    config = '{"name": "llm", "parameters": {"engine": {"string_value": "abacus"}}}'

    with pytest.raises(SettingsError, match=r"llm/config\.pbtxt: parameter engine.*llama_cpp"):
        read_settings(LlmSettings, config)


def chunk(content: str | None = None, *, reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"finish_reason": reason, "delta": {"content": content}}], **more}


def timings(cached: int, prompt: int, made: int) -> dict[str, int]:
    return {"cache_n": cached, "prompt_n": prompt, "predicted_n": made}


def take_all(
    chunks: list[dict[str, Any]], stop_after: int | None = None
) -> tuple[list[str], Usage]:
    texts: list[str] = []
    answer = Answer(texts.append, lambda: stop_after is not None and len(texts) >= stop_after, 512)
    for item in chunks:
        if answer.take(item):
            break
    return texts, answer.usage()


def test_the_chunks_of_an_answer_become_text_and_usage() -> None:
    texts, usage = take_all(
        [
            chunk(timings=timings(3, 0, 0)),
            chunk("Hel", timings=timings(3, 4, 1)),
            chunk("lo", timings=timings(3, 4, 2)),
            chunk(reason="stop"),
            {"choices": [], "timings": timings(3, 4, 2)},
        ]
    )

    assert texts == ["Hel", "lo"]
    assert usage == Usage(7, 2, "stop", cached_tokens=3)


def test_an_answer_cut_by_its_limit_says_length() -> None:
    assert take_all([chunk("One"), chunk(reason="length")])[1].finish_reason == "length"


def test_an_answer_that_is_not_wanted_ends_between_tokens() -> None:
    texts, usage = take_all([chunk("One", timings=timings(0, 4, 1)), chunk("two")], stop_after=1)

    assert texts == ["One"]
    assert usage == Usage(4, 1, "cancelled")


def test_an_answer_is_cancelled_in_the_middle_of_its_prompt() -> None:
    _, usage = take_all([chunk(timings=timings(0, 64, 0)), chunk("One")], stop_after=0)

    assert usage == Usage(64, 0, "cancelled")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("exceed_context_size_error", ErrorCode.TOO_LARGE),
        ("invalid_request_error", ErrorCode.BAD_REQUEST),
        ("server_error", ErrorCode.INTERNAL),
    ],
)
def test_errors_of_llama_cpp_become_typed(kind: str, code: ErrorCode) -> None:
    error = {"type": kind, "message": "no", "n_prompt_tokens": 600, "n_ctx": 512}

    with pytest.raises(TritalkError) as raised:
        take_all([{"error": error}])

    assert raised.value.code is code
    if code is ErrorCode.TOO_LARGE:
        assert "600 tokens" in raised.value.message
        assert "512" in raised.value.message


def test_an_error_of_the_receiver_is_not_swallowed() -> None:
    def refuse(_: str) -> None:
        raise ConnectionError("gone")

    answer = Answer(refuse, lambda: False, 512)

    assert answer.take(chunk("Hello"))
    with pytest.raises(ConnectionError, match="gone"):
        answer.usage()


def test_a_stream_that_just_ends_is_an_error() -> None:
    with pytest.raises(TritalkError, match="without a reason"):
        take_all([chunk("Hel")])
