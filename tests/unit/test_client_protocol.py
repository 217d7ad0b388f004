from __future__ import annotations

import stat
from pathlib import Path

import grpc
import pytest

from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Fragment, Media, ReplyText, StageTimes, TurnStarted
from tritalk_client.protocol import (
    call_error,
    check_server,
    checked_text,
    infer_request,
    model_error,
    new_sequence_id,
)
from tritalk_client.video import AnswerBuilder, Arrivals, Video, narrated


class FailedCall(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


def media(turn_id: str, index: int, *, spoken: bool = True) -> Media:
    return Media(
        turn_id=turn_id,
        index=index,
        start_s=index * 0.2,
        duration_s=0.2,
        frames=5,
        spoken=spoken,
        stages_ms=StageTimes(),
        data=f"{turn_id}{index}.".encode(),
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Exceeds maximum queue size", ErrorCode.BUSY),
        ("Request timeout expired", ErrorCode.TIMEOUT),
        ("Stub process 'talker_0' is not healthy.", ErrorCode.UNAVAILABLE),
        ("Request for unknown model: 'talker' is not found", ErrorCode.UNAVAILABLE),
        ("Server is stopping, scheduler for model has stopped", ErrorCode.UNAVAILABLE),
        ("inference request 7 must specify the START flag on the first", ErrorCode.UNAVAILABLE),
        ("something else", ErrorCode.INTERNAL),
    ],
)
def test_tritons_own_words_become_typed_errors(words: str, code: ErrorCode) -> None:
    error = model_error(words, "host:1")

    assert error.code is code
    assert words in error.message
    assert "host:1" in error.message


def test_our_error_survives_the_words_that_triton_puts_before_it() -> None:
    sent = TritalkError(ErrorCode.NO_FACE, "no face in it", stage="avatar")

    got = model_error(f"in ensemble 'narrate', {sent.to_wire()}", "host:1")

    assert (got.code, got.message, got.stage) == (sent.code, sent.message, sent.stage)


@pytest.mark.parametrize(
    ("status", "details", "code"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Connection refused", ErrorCode.UNAVAILABLE),
        (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", ErrorCode.BUSY),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", ErrorCode.TIMEOUT),
        (grpc.StatusCode.UNAUTHENTICATED, "Jwt is missing", ErrorCode.BAD_REQUEST),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "message larger than max", ErrorCode.TOO_LARGE),
        (grpc.StatusCode.INTERNAL, "boom", ErrorCode.INTERNAL),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            TritalkError(ErrorCode.NO_FACE, "no face").to_wire(),
            ErrorCode.NO_FACE,
        ),
    ],
)
def test_a_failed_call_becomes_a_typed_error(
    status: grpc.StatusCode, details: str, code: ErrorCode
) -> None:
    assert call_error(FailedCall(status, details), "host:1").code is code


@pytest.mark.parametrize("server", ["", "localhost", "http://localhost:8001", ":8001", "host:grpc"])
def test_an_address_that_is_no_host_and_port_is_refused(server: str) -> None:
    with pytest.raises(TritalkError, match="host:port"):
        check_server(server)


def test_an_address_of_ipv6_is_an_address() -> None:
    assert check_server("[::1]:8001") == "[::1]:8001"


@pytest.mark.parametrize(
    ("text", "code"), [(" \n", ErrorCode.BAD_REQUEST), ("a" * 8001, ErrorCode.TOO_LARGE)]
)
def test_a_text_that_the_server_would_refuse_is_refused_here(text: str, code: ErrorCode) -> None:
    with pytest.raises(TritalkError) as caught:
        checked_text(text)

    assert caught.value.code is code


def test_sequence_ids_are_what_triton_takes_and_differ() -> None:
    numbers = {new_sequence_id() for _ in range(1000)}

    assert len(numbers) == 1000
    assert all(0 < number < 2**63 for number in numbers)


def test_a_request_carries_each_tensor_as_one_element() -> None:
    request = infer_request(
        "narrate", {"TEXT": b"Hi", "SPEED": 1.5}, sequence_id=7, start=True, end=True
    )

    assert [(tensor.name, tensor.datatype) for tensor in request.inputs] == [
        ("TEXT", "BYTES"),
        ("SPEED", "FP32"),
    ]
    assert all(list(tensor.shape) == [1, 1] for tensor in request.inputs)
    assert list(request.raw_input_contents) == [b"\x02\0\0\0Hi", b"\0\0\xc0?"]
    assert request.parameters["sequence_id"].int64_param == 7


def test_an_answer_is_timed_from_the_end_of_its_question() -> None:
    builder = AnswerBuilder()
    builder.begin(TurnStarted(turn_id="b", question="Two?"), None, asked_s=10.0)
    builder.add(ReplyText(turn_id="b", text="Two.", stages_ms=StageTimes()), 10.35)
    builder.add(media("b", 0, spoken=False), 10.4)
    builder.add(media("b", 1), 10.5)

    answer = builder.answer()

    assert (answer.question, answer.reply, answer.media) == ("Two?", "Two.", b"b0.b1.")
    assert answer.media_s == pytest.approx(0.4)
    assert answer.arrivals == Arrivals(
        first_fragment=400.0, first_spoken=500.0, last_fragment=500.0, completed=None
    )


def test_what_is_printed_tells_of_the_bytes_without_showing_them() -> None:
    builder = AnswerBuilder()
    builder.add(media("a", 0), 1.0)

    assert "data=<3 bytes>" in repr(media("a", 0))
    assert "b'a0.'" not in repr(media("a", 0)) + repr(builder.answer())


def test_a_narration_is_its_fragments_in_order() -> None:
    def fragment(index: int) -> Fragment:
        return Fragment(
            index=index,
            start_s=index * 1.0,
            duration_s=1.0,
            frames=25,
            samples=24_000,
            spoken=True,
            data=bytes([index]),
        )

    video = narrated([(1.0, fragment(0)), (2.0, fragment(1))], began_s=0.5)

    assert (video.media, video.media_s) == (b"\0\1", 2.0)
    assert (video.arrivals.first_fragment, video.arrivals.completed) == (500.0, 1500.0)


def test_saving_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "answer.mp4"
    path.write_bytes(b"old")

    Video(media=b"new", media_s=1.0, arrivals=Arrivals()).save(path)

    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["answer.mp4"]
    assert path.stat().st_mode & stat.S_IRUSR


def test_a_save_that_fails_leaves_the_old_and_no_part_of_the_new(tmp_path: Path) -> None:
    target = tmp_path / "folder.mp4"
    target.mkdir()

    with pytest.raises(OSError, match=r"folder\.mp4"):
        Video(media=b"new", media_s=1.0, arrivals=Arrivals()).save(target)

    assert [each.name for each in tmp_path.iterdir()] == ["folder.mp4"]
