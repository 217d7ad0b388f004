from __future__ import annotations

from collections.abc import Sequence

import pytest

from tritalk.llm import requests
from tritalk.llm.engine import Emit, Stopped
from tritalk.llm.job import Kind
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import ChatMessage, Sampling, Usage

QUESTION = [ChatMessage("user", "Who are you?")]
UNFINISHED = [ChatMessage("system", "Be brief."), ChatMessage("assistant", "Yes?")]


class Recorder:
    """An engine that says what it was asked."""

    label = "recorder"

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[ChatMessage]]] = []

    def generate(
        self, messages: Sequence[ChatMessage], sampling: Sampling, emit: Emit, stopped: Stopped
    ) -> Usage:
        self.asked.append((f"generate {sampling.max_new_tokens}", list(messages)))
        emit("Me.")
        return Usage(4, 1, "stop")

    def read(self, messages: Sequence[ChatMessage], stopped: Stopped) -> Usage:
        self.asked.append(("read", list(messages)))
        return Usage(3, 0, "length")

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        self.asked.append(("count", list(messages)))
        return 7

    def kv_tokens(self) -> int:
        return 0

    def close(self) -> None:
        return None


def work(
    engine: Recorder, messages: list[ChatMessage], sampling: bytes | None, *, count: bool = False
) -> tuple[Kind, Usage, list[str]]:
    kind, do = requests.read(engine, wire.encode(messages), sampling, count=count)
    texts: list[str] = []
    return kind, do(texts.append, lambda: False), texts


def test_a_chat_is_answered() -> None:
    engine = Recorder()

    assert work(engine, QUESTION, b'{"max_new_tokens": 5}') == (
        Kind.ANSWER,
        Usage(4, 1, "stop"),
        ["Me."],
    )
    assert engine.asked == [("generate 5", QUESTION)]


def test_without_new_tokens_a_chat_is_only_read() -> None:
    engine = Recorder()

    done = work(engine, UNFINISHED, b'{"max_new_tokens": 0}')

    assert done == (Kind.READ, Usage(3, 0, "length"), [])
    assert engine.asked == [("read", UNFINISHED)]


@pytest.mark.parametrize("sampling", [None, b'{"max_new_tokens": 0}'])
def test_a_chat_that_is_counted_is_not_read(sampling: bytes | None) -> None:
    engine = Recorder()

    done = work(engine, UNFINISHED, sampling, count=True)

    assert done == (Kind.COUNT, Usage(7, 0, "length"), [])
    assert engine.asked == [("count", UNFINISHED)]


def test_what_is_to_be_answered_must_be_a_question() -> None:
    with pytest.raises(TritalkError) as refusal:
        work(Recorder(), UNFINISHED, None)

    assert refusal.value.code is ErrorCode.BAD_REQUEST
