from __future__ import annotations

import json
from typing import Any

import pytest

from tritalk.llm import prompt
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import ChatMessage, Sampling


def chat(*messages: tuple[str, str]) -> bytes:
    return json.dumps([{"role": role, "content": content} for role, content in messages]).encode()


def test_a_chat_is_read_as_it_is() -> None:
    data = chat(("system", "Be brief."), ("user", "Hi!"), ("assistant", "Yes?"), ("user", "Why?"))

    assert prompt.read_messages(data)[-1] == ChatMessage("user", "Why?")


@pytest.mark.parametrize(
    "data",
    [
        chat(),
        chat(("user", "Hi!"), ("assistant", "Yes?")),
        chat(("user", "   ")),
        chat(("system", "Be brief.")),
        chat(("tool", "4")),
        b"[{}]",
        b"{",
        b"\xff",
        b'[{"role": "user", "content": "a", "name": "b"}]',
        chat(("user", "x" * 8001)),
    ],
)
def test_what_is_no_question_is_refused(data: bytes) -> None:
    with pytest.raises(TritalkError) as refusal:
        prompt.read_messages(data)

    assert refusal.value.code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize(
    "data",
    [
        chat(("system", "Be brief.")),
        chat(("user", "Hi!"), ("assistant", "Yes?")),
        chat(("user", "")),
    ],
)
def test_what_is_only_read_may_be_unfinished(data: bytes) -> None:
    assert prompt.read_messages(data, finished=False)


@pytest.mark.parametrize("data", [chat(), chat(("tool", "4")), b"[{}]", b"{"])
def test_what_is_no_chat_is_not_read_either(data: bytes) -> None:
    with pytest.raises(TritalkError) as refusal:
        prompt.read_messages(data, finished=False)

    assert refusal.value.code is ErrorCode.BAD_REQUEST


def test_too_many_messages_are_too_large() -> None:
    with pytest.raises(TritalkError) as refusal:
        prompt.read_messages(chat(*[("user", "again")] * (prompt.MAX_MESSAGES + 1)))

    assert refusal.value.code is ErrorCode.TOO_LARGE


def test_without_sampling_the_defaults_hold() -> None:
    assert prompt.read_sampling(None) == prompt.read_sampling(b"{}") == Sampling()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", -1),
        ("max_new_tokens", 2049),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("top_p", 0),
        ("repeat_penalty", 0.1),
        ("stop", [""]),
        ("stop", ["x" * 65]),
        ("stop", ["x"] * 17),
        ("top_k", 3),
    ],
)
def test_sampling_out_of_bounds_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(TritalkError, match=field) as refusal:
        prompt.read_sampling(json.dumps({field: value}).encode())

    assert refusal.value.code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_what_is_not_a_number_is_refused(number: str) -> None:
    with pytest.raises(TritalkError) as refusal:
        prompt.read_sampling(f'{{"temperature": {number}}}'.encode())

    assert refusal.value.code is ErrorCode.BAD_REQUEST
