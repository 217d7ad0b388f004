from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.animation import AVATAR_ID, CollectingReply, LoudnessGenerator, Readings, grey_avatar
from tests.media import watch
from tritalk import slo
from tritalk.animate.portrait import Portraits
from tritalk.animate.service import AnimateService, Request
from tritalk.animate.settings import AnimateSettings
from tritalk.audio import to_pcm
from tritalk.image_store import ImageStore
from tritalk.metrics import Registry
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

OPTIONS = wire.encode(wire.AnimateOptions(avatar_id=AVATAR_ID))
MakeService = Callable[..., AnimateService]


class FamilyOfReadings:
    COUNTER, GAUGE, HISTOGRAM = range(3)
    series: dict[str, Readings] = {}  # noqa: RUF012

    def __init__(self, name: str, description: str, kind: int) -> None:
        self._name = name

    def Metric(self, labels: dict[str, str], buckets: object = None) -> Readings:  # noqa: N802
        return self.series.setdefault(self._name, Readings())


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    store = ImageStore(str(tmp_path))
    store.save(b"original", grey_avatar())
    services = []

    def make(generate: LoudnessGenerator | None = None, **options: float) -> AnimateService:
        settings = AnimateSettings(**options)
        portraits = Portraits(store, capacity=2, frames=settings.step_frames)
        FamilyOfReadings.series = {}
        metrics = Registry(FamilyOfReadings, slo.default())
        service = AnimateService(settings, portraits, generate or LoudnessGenerator(), metrics)
        services.append(service)
        return service

    yield make
    for service in services:
        service.close()


def pcm(frames: float) -> bytes:
    count = round(frames * 960)
    return to_pcm((0.3 * np.sin(np.arange(count) * 0.06)).astype(np.float32))


def start(sequence_id: int = 1, frames: float = 10, **fields: object) -> Request:
    values = {"pcm": pcm(frames), "sample_rate_hz": 24_000, "options": OPTIONS, **fields}
    return Request(sequence_id, start=True, **values)


def send(service: AnimateService, request: Request) -> CollectingReply:
    reply = CollectingReply()
    service.handle(request, reply)
    return reply


def refusal(service: AnimateService, request: Request) -> TritalkError:
    reply = CollectingReply()
    with pytest.raises(TritalkError) as caught:
        service.handle(request, reply)
    assert not reply.ended
    return caught.value


def animate_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("animate-")]


def wait_for_no_threads() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("animate-"):
            thread.join(10)
    assert animate_threads() == []


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


def test_the_work_is_measured(make_service: MakeService) -> None:
    send(make_service(), start(end=True)).wait()

    series = FamilyOfReadings.series
    assert series["video_resolution_height"].values == [96]
    assert min(series["face_animation_fps_actual"].values) > 0
    assert len(series["mel_spectrogram_extraction_time_ms"].values) == 2
