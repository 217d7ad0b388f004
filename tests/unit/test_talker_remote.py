from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

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


@pytest.mark.parametrize(
    ("stage", "call"),
    [
        ("avatar", lambda stages: stages.avatar("ada")),
        (
            "asr",
            lambda stages: stages.recognise(
                1, b"\0\0", wire.RecognitionOptions(), start=True, end=True
            ),
        ),
        ("tts", lambda stages: stages.synthesise("Hello.", "default", 1.0)),
        ("llm", lambda stages: list(stages.generate("1", [], wire.Sampling()))),
        ("animate", lambda stages: list(stages.animate(1, "ada", None, start=True, end=True))),
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
