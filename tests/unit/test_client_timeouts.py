from __future__ import annotations

import pytest

from tritalk_client.errors import ErrorCode
from tritalk_client.events import (
    Failure,
    ReplyText,
    StageTimes,
    Transcript,
    TurnCompleted,
    TurnStarted,
)
from tritalk_client.outbox import Outgoing, Schedule
from tritalk_client.question import Typed
from tritalk_client.timeouts import NarrationWatch, Timeouts, TurnWatch

QUESTION = Typed("How are you?")
STARTED = TurnStarted(turn_id="t1", question="How are you?")
WORDS = ReplyText(turn_id="t1", text="Fine.", stages_ms=StageTimes())
COMPLETED = TurnCompleted(
    turn_id="t1", outcome="answered", reply="Fine.", media_s=1.0, stages_ms=StageTimes()
)


def refused(turn_id: str | None = None) -> Failure:
    return Failure(
        stage="asr", code=ErrorCode.BAD_AUDIO, message="no", retryable=False, turn_id=turn_id
    )


@pytest.fixture
def watch() -> TurnWatch:
    return TurnWatch(Timeouts(turn_s=20, stall_s=5))


def test_nothing_is_owed_before_a_question(watch: TurnWatch) -> None:
    assert watch.settled
    assert watch.patience_s(now_s=1000) is None
    assert watch.overdue(now_s=1000) is None


def test_a_question_is_owed_a_turn_until_it_is_complete(watch: TurnWatch) -> None:
    watch.asked("1", at_s=0, question=QUESTION)
    assert not watch.settled
    watch.seen(STARTED, "1", now_s=1)
    assert not watch.settled
    watch.seen(COMPLETED, "1", now_s=2)
    assert watch.settled


def test_silence_after_a_question_is_a_stall(watch: TurnWatch) -> None:
    watch.asked("1", at_s=100, question=QUESTION)

    assert watch.patience_s(now_s=101) == pytest.approx(4)
    assert watch.overdue(now_s=104.9) is None
    error = watch.overdue(now_s=105)
    assert error is not None
    assert error.code is ErrorCode.STALLED


def test_every_event_renews_the_patience(watch: TurnWatch) -> None:
    watch.asked("1", at_s=100, question=QUESTION)
    watch.seen(STARTED, "1", now_s=104)
    watch.seen(WORDS, "1", now_s=108)

    assert watch.overdue(now_s=112) is None


def test_a_turn_that_talks_for_too_long_is_late(watch: TurnWatch) -> None:
    watch.asked("1", at_s=100, question=QUESTION)
    watch.seen(STARTED, "1", now_s=101)
    for second in range(102, 120):
        watch.seen(WORDS, "1", now_s=second)

    assert watch.overdue(now_s=119.9) is None
    error = watch.overdue(now_s=120)
    assert error is not None
    assert error.code is ErrorCode.TIMEOUT


def test_a_question_that_is_still_being_spoken_is_not_overdue(watch: TurnWatch) -> None:
    watch.asked("1", at_s=30, question=QUESTION)

    assert watch.overdue(now_s=0) is None
    assert watch.patience_s(now_s=0) == pytest.approx(35)


def test_a_refused_question_is_owed_nothing(watch: TurnWatch) -> None:
    watch.asked("1", at_s=0, question=QUESTION)
    watch.seen(refused(), "1", now_s=1)

    assert watch.settled


def test_a_refusal_of_something_else_leaves_the_question_owed(watch: TurnWatch) -> None:
    watch.asked("2", at_s=0, question=QUESTION)
    watch.seen(refused(), "1", now_s=1)

    assert not watch.settled


def test_a_failed_stage_leaves_the_turn_to_be_completed(watch: TurnWatch) -> None:
    watch.asked("1", at_s=0, question=QUESTION)
    watch.seen(STARTED, "1", now_s=1)
    watch.seen(refused("t1"), "1", now_s=2)

    assert not watch.settled


def test_a_turn_of_its_own_accord_is_watched_too(watch: TurnWatch) -> None:
    watch.seen(STARTED, "", now_s=50)

    assert not watch.settled
    assert watch.overdue(now_s=55) is not None


def heard(ignored: str = "") -> Transcript:
    return Transcript("How are you?", True, 1.0, "en", since_speech_ms=400.0, ignored=ignored)  # type: ignore[arg-type]


def test_a_turn_that_hands_free_speech_began_leaves_the_typed_question_owed(
    watch: TurnWatch,
) -> None:
    watch.listens(at_s=0)
    watch.asked("1", at_s=1, question=Typed("And you?"))
    watch.seen(heard(), "9", now_s=2)
    watch.seen(STARTED, "9", now_s=2.1)
    watch.seen(COMPLETED, "9", now_s=3)
    assert not watch.settled

    watch.seen(TurnStarted(turn_id="t2", question="And you? "), "9", now_s=4)
    assert watch.asked_s("t2") == 1


def test_hands_free_speech_ended_before_its_transcript_came(watch: TurnWatch) -> None:
    watch.listens(at_s=0)
    watch.seen(heard(ignored="back_channel"), "", now_s=1)
    watch.seen(heard(), "", now_s=5)
    watch.seen(STARTED, "", now_s=5.2)

    assert watch.asked_s("t1") == pytest.approx(4.6)


def test_a_turn_is_expected_for_a_while_after_hands_free_speech(watch: TurnWatch) -> None:
    watch.listens(at_s=10)

    assert watch.settled
    assert watch.expects_turns(now_s=14.9)
    assert not watch.expects_turns(now_s=15)
    assert watch.patience_s(now_s=100) is None


def test_a_narration_may_take_long_to_begin_but_then_flows() -> None:
    watch = NarrationWatch(Timeouts(turn_s=100, stall_s=5), began_s=0)

    assert watch.patience_s(now_s=60) == pytest.approx(40)
    assert watch.overdue().code is ErrorCode.STALLED
    watch.seen(now_s=60)
    assert watch.patience_s(now_s=61) == pytest.approx(4)


def test_requests_leave_when_they_are_due_and_not_before() -> None:
    schedule = Schedule()
    schedule.add(Outgoing(2.0, "later"))
    schedule.add(Outgoing(1.0, "sooner"))

    assert schedule.take(now_s=0.5) is None
    assert schedule.wait_s(now_s=0.5) == pytest.approx(0.5)
    assert schedule.take(now_s=2.5) == "sooner"
    assert schedule.take(now_s=2.5) == "later"
    assert schedule.wait_s(now_s=2.5) is None


def test_requests_of_one_moment_keep_their_order() -> None:
    schedule = Schedule()
    for number in range(20):
        schedule.add(Outgoing(1.0, number))

    assert [schedule.take(now_s=1.0) for _ in range(20)] == list(range(20))
