from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.animation import (
    AVATAR_ID,
    CollectingReply,
    Family,
    LoudnessGenerator,
    MakeService,
    pcm,
    refusal,
    send,
    services,
    start,
    wait_for_no_threads,
)
from tests.media import watch
from tritalk.animate.service import Request
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    with services(tmp_path) as make:
        yield make


def test_start_and_end_in_one_request_is_a_whole_film(make_service: MakeService) -> None:
    reply = send(make_service(), start(frames=12.5, end=True)).wait()

    assert reply.error is None
    assert len(watch(reply.data).frames) == 13
    wait_for_no_threads()


def test_each_request_gets_the_media_of_its_own_piece(make_service: MakeService) -> None:
    service = make_service()

    replies = [
        send(service, start(frames=10)),
        send(service, Request(1, pcm=pcm(7))),
        send(service, Request(1, pcm=pcm(3.5), sample_rate_hz=24_000)),
        send(service, Request(1, end=True)),
    ]

    assert [reply.wait().frames for reply in replies] == [10, 7, 3, 1]
    film = watch(b"".join(reply.data for reply in replies))
    assert len(film.frames) == 21
    assert film.audio_end_s == pytest.approx(film.video_end_s)


def test_taking_a_request_does_not_wait_for_the_work(make_service: MakeService) -> None:
    gate = threading.Semaphore(0)
    service = make_service(LoudnessGenerator(gate=gate))

    replies = [send(service, start()), send(service, Request(1, pcm=pcm(5), end=True))]

    assert not any(reply.ended for reply in replies)
    for _ in range(9):
        gate.release()
    assert all(reply.wait().error is None for reply in replies)


def test_turns_side_by_side_each_get_their_own_film(make_service: MakeService) -> None:
    service = make_service()

    replies = {i: send(service, start(i, frames=10 + i)) for i in range(1, 7)}
    ends = {i: send(service, Request(i, end=True)) for i in replies}

    for i, reply in replies.items():
        ends[i].wait()
        assert len(watch(reply.wait().data + ends[i].data).frames) == 10 + i
    wait_for_no_threads()


def test_a_cancel_ends_the_turn_at_a_fragment_and_the_rest_is_told(
    make_service: MakeService,
) -> None:
    gate = threading.Semaphore(2)
    service = make_service(LoudnessGenerator(gate=gate))
    spoken = send(service, start(frames=500))
    waiting = send(service, Request(1, pcm=pcm(10)))
    spoken.wait_for_media()

    cancelled = send(service, Request(1, cancel=True, end=True))
    for _ in range(4):
        gate.release()

    assert spoken.wait().error is None
    assert cancelled.wait().error is None
    error = waiting.wait().error
    assert error is not None
    assert error.code is ErrorCode.CANCELLED
    film = watch(spoken.data + cancelled.data)
    assert len(film.frames) == spoken.frames <= 15
    wait_for_no_threads()


def test_a_turn_that_is_over_takes_no_more_pieces(make_service: MakeService) -> None:
    service = make_service()
    send(service, start(end=True)).wait()
    wait_for_no_threads()

    error = refusal(service, Request(1, pcm=pcm(5)))

    assert error.code is ErrorCode.BAD_REQUEST
    assert "START" in error.message


def test_cancelling_what_is_over_or_never_began_is_no_error(make_service: MakeService) -> None:
    service = make_service()
    send(service, start(end=True)).wait()

    assert send(service, Request(1, cancel=True, end=True)).wait().error is None
    assert send(service, Request(99, cancel=True, end=True)).wait().error is None


def test_a_start_under_the_same_id_replaces_the_turn(make_service: MakeService) -> None:
    gate = threading.Semaphore(1)
    service = make_service(LoudnessGenerator(gate=gate))
    old = send(service, start(frames=500))
    old.wait_for_media()

    new = send(service, start(frames=10, end=True))
    for _ in range(9):
        gate.release()

    assert len(watch(new.wait().data).frames) == 10
    assert old.wait().frames < 500


def test_a_listener_who_has_gone_ends_the_turn(make_service: MakeService) -> None:
    service = make_service()
    reply = CollectingReply()
    reply.gone = True

    service.handle(start(frames=500), reply)

    assert reply.wait().frames < 500
    wait_for_no_threads()


def test_an_idle_turn_ends_by_itself(make_service: MakeService) -> None:
    service = make_service(idle_timeout_s=0.05)
    send(service, start()).wait()

    wait_for_no_threads()

    assert refusal(service, Request(1, pcm=pcm(5))).code is ErrorCode.BAD_REQUEST


def test_closing_ends_every_turn_and_answers_every_request(make_service: MakeService) -> None:
    gate = threading.Semaphore(4)
    service = make_service(LoudnessGenerator(gate=gate))
    replies = [send(service, start(i, frames=500)) for i in (1, 2)]
    replies.append(send(service, Request(1, pcm=pcm(10))))
    for _ in range(8):
        gate.release()

    service.close()

    assert all(reply.ended for reply in replies)
    wait_for_no_threads()


def test_more_pieces_than_may_wait_are_refused_as_busy(make_service: MakeService) -> None:
    gate = threading.Semaphore(0)
    service = make_service(LoudnessGenerator(gate=gate), queued_pieces=2)
    first = send(service, start(frames=5))
    while not service._generate.calls:
        threading.Event().wait(0.005)
    waiting = [send(service, Request(1, pcm=pcm(5))) for _ in range(2)]

    error = refusal(service, Request(1, pcm=pcm(5)))

    assert error.code is ErrorCode.BUSY
    assert error.retryable
    for _ in range(9):
        gate.release()
    assert [reply.wait().frames for reply in (first, *waiting)] == [5, 5, 5]


def test_more_speech_than_may_wait_is_refused_as_busy(make_service: MakeService) -> None:
    # given a turn in work, behind which a piece waits that is longer than all that may wait
    gate = threading.Semaphore(0)
    service = make_service(LoudnessGenerator(gate=gate), queued_s=0.4)
    first = send(service, start(frames=5))
    while not service._generate.calls:
        threading.Event().wait(0.005)
    waiting = send(service, Request(1, pcm=pcm(11)))

    # when more speech comes
    error = refusal(service, Request(1, pcm=pcm(1)))

    # then it is refused, and the turn can still be ended
    assert error.code is ErrorCode.BUSY
    assert "queued_s" in error.message
    last = send(service, Request(1, end=True))
    for _ in range(9):
        gate.release()
    assert [reply.wait().frames for reply in (first, waiting, last)] == [5, 11, 0]


def test_as_much_speech_as_may_wait_is_taken(make_service: MakeService) -> None:
    gate = threading.Semaphore(0)
    service = make_service(LoudnessGenerator(gate=gate), queued_s=0.4)
    replies = [send(service, start(frames=5))]
    while not service._generate.calls:
        threading.Event().wait(0.005)

    replies += [send(service, Request(1, pcm=pcm(5))) for _ in range(2)]

    for _ in range(9):
        gate.release()
    assert [reply.wait().frames for reply in replies] == [5, 5, 5]


def test_more_turns_than_may_be_open_are_refused_as_busy(make_service: MakeService) -> None:
    gate = threading.Semaphore(0)
    service = make_service(LoudnessGenerator(gate=gate), turns=2)
    open_turns = [send(service, start(i, frames=5, end=True)) for i in (1, 2)]

    error = refusal(service, start(3))

    assert error.code is ErrorCode.BUSY
    for _ in range(9):
        gate.release()
    assert [reply.wait().frames for reply in open_turns] == [5, 5]
    wait_for_no_threads()
    assert send(service, start(3, frames=5, end=True)).wait().frames == 5


def test_a_generator_that_fails_is_told_to_all_who_wait_and_the_next_turn_works(
    make_service: MakeService,
) -> None:
    generate = LoudnessGenerator(
        error=TritalkError(ErrorCode.UNAVAILABLE, "it died", stage="wav2lip")
    )
    service = make_service(generate)
    reply = send(service, start())

    error = reply.wait().error
    assert error is not None
    assert (error.code, error.stage) == (ErrorCode.UNAVAILABLE, "wav2lip")
    wait_for_no_threads()
    assert refusal(service, Request(1, end=True)).code is ErrorCode.BAD_REQUEST

    generate.error = None
    assert send(service, start(end=True)).wait().frames == 10


def test_a_fault_in_our_own_work_still_answers_the_request(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    def broken(mel: np.ndarray, face: np.ndarray) -> np.ndarray:
        return face[..., :2]

    service = make_service(broken)

    error = send(service, start()).wait().error

    assert error is not None
    assert error.code is ErrorCode.INTERNAL
    wait_for_no_threads()


def test_the_work_is_measured(make_service: MakeService) -> None:
    send(make_service(), start(end=True)).wait()

    series = Family.series
    assert series["video_resolution_height"].values == [96]
    assert min(series["face_animation_fps_actual"].values) > 0
    assert len(series["mel_spectrogram_extraction_time_ms"].values) == 2


def test_turns_keep_their_own_leads_and_nobody_waits_for_another(
    make_service: MakeService,
) -> None:
    service = make_service()
    paced = wire.encode(wire.AnimateOptions(avatar_id=AVATAR_ID, lead_s=0.4))

    # given a turn that waits for its viewer
    slow = send(service, start(1, frames=75, end=True, options=paced))
    slow.wait_for_media()
    quick = send(service, start(2, frames=75, end=True)).wait()

    # then the other has ended before it, and a cancel ends it at a fragment
    assert quick.frames == 75
    assert not slow.ended
    cancelled = send(service, Request(1, cancel=True, start=True, end=True)).wait()
    assert slow.wait().frames < 75
    assert len(watch(slow.data + cancelled.data).frames) == slow.frames
    wait_for_no_threads()


@pytest.mark.parametrize("lead_s", [0.0, -1.0, 0.19])
def test_a_lead_that_nothing_fits_into_is_refused(make_service: MakeService, lead_s: float) -> None:
    options = wire.encode(wire.AnimateOptions(avatar_id=AVATAR_ID, lead_s=lead_s))

    error = refusal(make_service(), start(options=options))

    assert error.code is ErrorCode.BAD_REQUEST
    assert "lead_s" in error.message
