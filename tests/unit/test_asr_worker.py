"""Batches over sequences, and what becomes of them when the recognition fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from tests.unit.test_asr_stream import QUIET, SPEECH, Meter, Talk
from tritalk.asr.job import Urgency, batch
from tritalk.asr.sequences import Sequences
from tritalk.asr.whisper import Clip, Tokens
from tritalk.asr.worker import Worker
from tritalk_client.errors import ErrorCode, TritalkError

DEADLINE_S = 10.0


class Recognition:
    """Finds one word in each clip, when it is let; fails when it is told to."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.error: Exception | None = None
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, clips: Sequence[Clip]) -> list[Tokens]:
        self.batches.append(len(clips))
        self.begun.set()
        assert self.go_on.wait(DEADLINE_S)
        if self.error is not None:
            raise self.error
        return [(1,) for _ in clips]


class Room:
    """Sequences under one worker."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.sequences = Sequences(idle_s=1e9)
        self.recognition = Recognition()
        self.buffered = Meter()
        self.now_s = 100.0
        self.worker = Worker(
            self.sequences,
            self.changed,
            self.recognition,
            most_audio_s=60.0,
            buffered=self.buffered,  # type: ignore[arg-type]
            clock=lambda: self.now_s,
        )

    def open(self, key: int, **options: Any) -> Talk:
        talk = Talk(**options)
        with self.changed:
            self.sequences.begin(key, talk.stream)
        return talk

    def during(self, act: Callable[[], None]) -> None:
        with self.changed:
            act()
            self.changed.notify()


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.recognition.go_on.set()
    room.worker.close()


def wait_for(until: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not until():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def question(talk: Talk) -> None:
    talk.chunk(np.full(30, SPEECH, dtype=np.float32), end=True)


def test_what_is_due_meanwhile_is_recognised_in_one_batch(room: Room) -> None:
    talks = [room.open(key) for key in range(5)]
    room.recognition.go_on.clear()
    room.during(lambda: question(talks[0]))
    assert room.recognition.begun.wait(DEADLINE_S)
    room.during(lambda: [question(talk) for talk in talks[1:]] and None)
    room.recognition.go_on.set()
    wait_for(lambda: all(talk.stream.gone for talk in talks))
    assert room.recognition.batches == [1, 4]
    assert (room.worker.batches, room.worker.jobs) == (2, 5)
    assert all(talk.heard()[-1].text == "one" for talk in talks)


def test_audio_is_taken_in_while_something_is_recognised(room: Room) -> None:
    talk = room.open(1, endpointing=True)
    room.recognition.go_on.clear()
    room.during(lambda: talk.say((SPEECH, 13)))
    assert room.recognition.begun.wait(DEADLINE_S)
    room.during(lambda: talk.say((SPEECH, 3)))
    assert talk.heard(object)  # type: ignore[arg-type]
    room.recognition.go_on.set()
    wait_for(lambda: bool(talk.heard()))


def test_a_failure_fails_its_jobs_and_the_next_ones_work(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = room.open(1), room.open(2)
    room.recognition.error = KeyError("no such tensor")
    room.during(lambda: question(first))
    wait_for(lambda: first.stream.gone)
    error = first.replies[0].error
    assert error is not None
    assert error.code is ErrorCode.INTERNAL
    assert "no such tensor" in error.message
    assert "the recognition failed" in caplog.text
    room.recognition.error = None
    room.during(lambda: question(second))
    wait_for(lambda: second.stream.gone)
    assert second.heard()[-1].text == "one"


def test_a_stall_ends_an_utterance_though_nothing_comes(room: Room) -> None:
    talk = room.open(1, endpointing=True)
    room.during(lambda: talk.say((SPEECH, 10)))
    room.now_s = talk.now_s + 1.6
    room.during(lambda: None)
    wait_for(lambda: bool(talk.heard()))
    assert talk.heard()[-1].final


def test_the_audio_that_is_held_is_shown(room: Room) -> None:
    talk = room.open(1)
    room.during(lambda: talk.say((SPEECH, 10)))
    wait_for(lambda: len(room.buffered.shown) > 1)
    assert room.buffered.shown[-1] == pytest.approx(10 * 0.032)
    room.during(talk.end)
    wait_for(lambda: room.buffered.shown[-1] == 0)


def test_closing_answers_all_that_wait(room: Room) -> None:
    talk = room.open(1, endpointing=True)
    room.during(lambda: talk.say((SPEECH, 5)))
    room.worker.close()
    error = talk.replies[-1].error
    assert error is not None
    assert error.code is ErrorCode.UNAVAILABLE
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("asr-")]


def test_the_most_urgent_goes_first_then_what_has_waited_longest() -> None:
    final, pause, early, late, pushed = (Talk(endpointing=True) for _ in range(5))
    final.say((SPEECH, 10), (QUIET, 12))
    pause.say((SPEECH, 10), (QUIET, 4))
    early.say((SPEECH, 13))
    late.say((SPEECH, 20))
    pushed.say((SPEECH, 300), (QUIET, 20), chunk=10, fast=True)
    jobs = {talk.due(): talk for talk in (pushed, early, pause, final, late)}
    chosen = batch(list(jobs), most_audio_s=60)
    assert [job.urgency for job in chosen][:2] == [Urgency.FINAL, Urgency.PAUSE]
    assert [jobs[job] for job in chosen][2:] == [late, early, pushed]


def test_a_batch_is_bounded_but_one_job_always_goes() -> None:
    talks = [Talk() for _ in range(4)]
    for talk in talks:
        talk.chunk(np.full(62, SPEECH, dtype=np.float32), end=True)
    jobs = [talk.due() for talk in talks]
    assert len(batch(jobs, most_audio_s=4.5)) == 2
    assert len(batch(jobs, most_audio_s=0.1)) == 1


def test_a_sequence_that_was_never_begun_is_refused() -> None:
    with pytest.raises(TritalkError, match="sequence 7 is not open") as refused:
        Sequences(idle_s=60).find(7)
    assert refused.value.code is ErrorCode.BAD_REQUEST


def test_an_idle_sequence_is_forgotten_and_a_busy_one_kept() -> None:
    many, idle, busy = Sequences(idle_s=10), Talk(), Talk()
    many.begin(1, idle.stream)
    many.begin(2, busy.stream)
    busy.say((QUIET, 300))
    many.sweep(now_s=busy.now_s + 5)
    assert len(many) == 1
    assert many.find(2) is busy.stream
    assert idle.stream.gone


def test_a_sequence_that_has_ended_stays_until_it_is_done_and_its_id_is_free() -> None:
    many, old, new = Sequences(idle_s=10), Talk(), Talk()
    many.begin(1, old.stream)
    question(old)
    many.end(1)
    many.begin(1, new.stream)
    many.sweep(now_s=100.0)
    assert set(many) == {old.stream, new.stream}
    old.recognise(1)
    many.sweep(now_s=100.0)
    assert set(many) == {new.stream}


def test_a_sequence_begun_again_ends_the_one_before() -> None:
    many, old, new = Sequences(idle_s=10), Talk(endpointing=True), Talk()
    many.begin(1, old.stream)
    old.say((SPEECH, 5))
    many.begin(1, new.stream)
    assert old.open_replies() == 0
    assert many.find(1) is new.stream


def test_a_fault_of_the_programme_is_told_to_all_and_not_a_silence(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    talk = room.open(1, endpointing=True)
    room.during(lambda: talk.say((SPEECH, 5)))

    monkeypatch.setattr(talk.stream, "tick", lambda now_s: 1 / 0)
    room.during(lambda: None)

    wait_for(lambda: room.worker.stopped)
    error = talk.replies[-1].error
    assert error is not None
    assert error.code is ErrorCode.INTERNAL
    assert "load the model asr" in error.message
