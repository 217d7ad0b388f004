from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


@pytest.mark.parametrize(
    "request_",
    [
        wire.Configure(avatar_id="ada", sampling=wire.Sampling(max_new_tokens=5)),
        wire.Audio(end_of_speech=True),
        wire.Ask("Why?"),
        wire.Say("Because."),
        wire.Interrupt(),
        wire.Close(),
    ],
)
def test_requests_survive_the_wire(request_: wire.Request) -> None:
    assert wire.decode_request(wire.encode(request_)) == request_


def test_events_survive_the_wire() -> None:
    event = wire.Media("t1", 3, 0.6, 0.2, 5, True, wire.StageTimes(first_frame=420.0), "Hello.")

    assert wire.decode_event(wire.encode(event)) == event


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b'{"type":"ask","text":"hi","mood":"glad"}', "unknown field `mood`"),
        (b'{"type":"ask"}', "missing required field `text`"),
        (b'{"type":"ask","text":""}', "length >= 1"),
        (b'{"type":"ask","text":7}', r"`\$.text`"),
        (b'{"type":"dance"}', "dance"),
        (b'{"type":"configure","avatar_id":"../../etc"}', r"`\$.avatar_id`"),
        (b'{"type":"configure","sampling":{"temperature":1e999}}', "out of range|temperature"),
        (b'{"type":"configure","sampling":{"max_new_tokens":-1}}', ">= 0"),
        (b"not json", "malformed"),
        (b"\xff\xfe", "malformed|utf-8|UTF-8|invalid"),
        (b"", "truncated"),
    ],
)
def test_a_wrong_request_is_refused_and_the_field_is_named(message: bytes, complaint: str) -> None:
    with pytest.raises(TritalkError, match=complaint) as caught:
        wire.decode_request(message)
    assert caught.value.code is ErrorCode.BAD_REQUEST


@given(st.binary(max_size=300))
def test_bytes_are_a_request_or_a_typed_error(data: bytes) -> None:
    refused_with = ErrorCode.BAD_REQUEST
    try:
        wire.decode_request(data)
    except TritalkError as error:
        refused_with = error.code

    assert refused_with is ErrorCode.BAD_REQUEST


@given(st.sampled_from(ErrorCode), st.text(max_size=100), st.sampled_from(["", "asr", "llm"]))
def test_errors_survive_the_wire(code: ErrorCode, message: str, stage: str) -> None:
    error = TritalkError.from_wire(TritalkError(code, message, stage=stage).to_wire())

    assert (error.code, error.message, error.stage) == (code, message, stage)


def test_words_of_triton_before_the_error_are_dropped() -> None:
    sent = TritalkError(ErrorCode.NO_FACE, "no face", stage="avatar")

    error = TritalkError.from_wire(f"[request id: 7] {sent.to_wire()}")

    assert (error.code, error.message) == (ErrorCode.NO_FACE, "no face")


def test_an_error_of_tritons_own_keeps_its_words() -> None:
    error = TritalkError.from_wire("Exceeds maximum queue size", default=ErrorCode.BUSY)

    assert (error.code, error.message, error.retryable) == (
        ErrorCode.BUSY,
        "Exceeds maximum queue size",
        True,
    )
