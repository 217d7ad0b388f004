from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.animation import MakeService, pcm, refusal, send, services, start, wait_for_no_threads
from tritalk.animate.service import Request
from tritalk_client import wire
from tritalk_client.errors import ErrorCode


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    with services(tmp_path) as make:
        yield make


def test_an_unknown_avatar_is_named(make_service: MakeService) -> None:
    service = make_service()
    options = wire.encode(wire.AnimateOptions(avatar_id="feedfeedfeedfeed"))

    error = send(service, start(options=options)).wait().error

    assert error is not None
    assert error.code is ErrorCode.UNKNOWN_AVATAR
    assert "feedfeedfeedfeed" in error.message


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"pcm": b""}, ErrorCode.BAD_AUDIO, "AUDIO"),
        ({"pcm": b"abc"}, ErrorCode.BAD_AUDIO, "even number"),
        ({"sample_rate_hz": None}, ErrorCode.BAD_AUDIO, "SAMPLE_RATE"),
        ({"sample_rate_hz": 11_025}, ErrorCode.BAD_AUDIO, "16000, 22050, 24000"),
        ({"sample_rate_hz": -1}, ErrorCode.BAD_AUDIO, "-1"),
        ({"pcm": bytes(2 * 24_000 * 3)}, ErrorCode.TOO_LARGE, "2 s"),
        ({"options": None}, ErrorCode.BAD_REQUEST, "avatar_id"),
        ({"options": b"{}"}, ErrorCode.BAD_REQUEST, "avatar_id"),
        ({"options": b'{"avatar_id":"../../etc"}'}, ErrorCode.BAD_REQUEST, "avatar_id"),
        ({"options": b'{"avatar_id":"a","speed":2}'}, ErrorCode.BAD_REQUEST, "speed"),
    ],
)
def test_a_start_that_cannot_work_is_refused_with_the_reason(
    make_service: MakeService, fields: dict[str, object], code: ErrorCode, words: str
) -> None:
    service = make_service(max_piece_s=2)

    error = refusal(service, start(**fields))

    assert error.code is code
    assert words in error.message
    assert send(service, start(end=True)).wait().frames == 10


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"pcm": b"abc"}, ErrorCode.BAD_AUDIO),
        ({"pcm": bytes(4), "sample_rate_hz": 16_000}, ErrorCode.BAD_AUDIO),
        ({"pcm": bytes(2 * 24_000 * 3)}, ErrorCode.TOO_LARGE),
    ],
)
def test_a_bad_piece_is_refused_and_the_turn_goes_on(
    make_service: MakeService, fields: dict[str, object], code: ErrorCode
) -> None:
    service = make_service(max_piece_s=2)
    replies = [send(service, start(frames=10))]

    assert refusal(service, Request(1, **fields)).code is code

    replies.append(send(service, Request(1, pcm=pcm(5), end=True)))
    assert [reply.wait().frames for reply in replies] == [10, 5]


def test_a_bad_last_piece_ends_the_turn(make_service: MakeService) -> None:
    service = make_service()
    reply = send(service, start())

    refusal(service, Request(1, pcm=b"abc", end=True))

    reply.wait()
    wait_for_no_threads()
