from __future__ import annotations

import queue
import socket
from collections.abc import Callable, Iterator

import pytest

from tritalk.talker import remote
from tritalk.talker.remote import RemoteStages
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

TIMEOUT_S = 0.3


@pytest.fixture
def stages() -> Iterator[RemoteStages]:
    """Stages at an address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        limits = {"avatar": TIMEOUT_S, "asr": TIMEOUT_S, "tts": TIMEOUT_S}
        stages = RemoteStages(
            f"127.0.0.1:{silent.getsockname()[1]}", limits, stream_timeout_s=TIMEOUT_S
        )
        yield stages
        stages.close()


def recognise(stages: RemoteStages) -> None:
    heard: queue.SimpleQueue[wire.Hearing | TritalkError | None] = queue.SimpleQueue()
    stages.listen(1, wire.RecognitionOptions(), heard.put).send(b"\0\0", end=True)
    last = heard.get(timeout=20)
    assert isinstance(last, TritalkError)
    raise last


@pytest.mark.parametrize(
    ("stage", "call"),
    [
        ("avatar", lambda stages: stages.avatar("ada")),
        ("asr", recognise),
        ("tts", lambda stages: stages.synthesise("Hello.", "default", 1.0)),
        ("llm", lambda stages: list(stages.generate("1", [], wire.Sampling()))),
        ("llm", lambda stages: stages.read_ahead("1", [])),
        (
            "animate",
            lambda stages: list(
                stages.animate(1, wire.AnimateOptions("ada"), None, start=True, end=True)
            ),
        ),
    ],
)
def test_a_stage_that_never_answers_is_given_up_and_named(
    stages: RemoteStages, stage: str, call: Callable[[RemoteStages], object]
) -> None:
    with pytest.raises(TritalkError) as caught:
        call(stages)

    assert caught.value.stage == stage
    assert caught.value.code in (ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE)
    assert caught.value.retryable


@pytest.mark.parametrize(
    "call",
    [
        lambda stages: stages.count_tokens([]),
        lambda stages: stages.cancel_generation("1"),
        lambda stages: stages.cancel_animation(1),
    ],
    ids=["count_tokens", "cancel_generation", "cancel_animation"],
)
def test_calls_beside_an_answer_have_deadlines_of_their_own(
    stages: RemoteStages,
    call: Callable[[RemoteStages], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote, "_CANCEL_S", TIMEOUT_S)
    monkeypatch.setattr(remote, "_COUNT_S", TIMEOUT_S)

    with pytest.raises(TritalkError) as caught:
        call(stages)

    assert caught.value.code in (ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE)
