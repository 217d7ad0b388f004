from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conversations import (
    CHUNK,
    Conversation,
    Conversations,
    HandsFreeUser,
    completed,
    eventually,
    kinds,
    unhurried,
)
from tests.fakes import FakeStages
from tests.stores import FakeClock
from tritalk.talker.ears import MAX_WAITING_BYTES
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


@pytest.fixture
def stages() -> FakeStages:
    return FakeStages()


@pytest.fixture
def converse(stages: FakeStages) -> Iterator[Conversations]:
    with Conversations(stages) as converse:
        yield converse


@pytest.fixture
def conversation(stages: FakeStages) -> Iterator[Conversation]:
    conversation = Conversation(stages, unhurried())
    conversation.open()
    yield conversation
    conversation.close()


@pytest.fixture
def user(conversation: Conversation) -> HandsFreeUser:
    return HandsFreeUser(conversation)


# --- the microphone ------------------------------------------------------------------------------


def test_closing_the_microphone_ends_what_is_being_said_and_its_reply(
    stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins()
    stages.at_end = [wire.Transcript("How are you?", True, 1.5, "en", 0, "How are you?")]

    last = user.send(end_of_speech=True)

    assert completed(last).outcome == "answered"
    assert kinds(last.events)[:2] == ["Transcript", "TurnStarted"]
    assert user.ear.ended


def test_closing_a_microphone_through_which_nothing_is_said_closes_its_reply(
    user: HandsFreeUser,
) -> None:
    assert user.send(end_of_speech=True).wait_closed() == []


def test_closing_the_microphone_drops_an_answer_that_nobody_waits_for(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    stages.hold_after = 1
    user.begins()
    user.has_said("How are you?", paused=True)
    eventually(lambda: len(stages.prompts) == 1)

    user.send(end_of_speech=True).wait_closed()

    eventually(lambda: conversation.values("speculations_total", outcome="discarded") == [1])


def test_settings_of_recognition_that_change_open_the_microphone_anew(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    assert user.ear.options.end_silence_ms is None

    conversation.send(wire.Configure(end_silence_ms=800, language="de")).wait_closed()
    user.send()

    eventually(lambda: len(stages.ears) == 2)
    before, now = stages.ears
    assert before.closed
    assert (now.options.end_silence_ms, now.options.language) == (800, "de")
    assert now.options.endpointing
    user.asks("Wie geht es dir?")
    assert user.reply.wait_for(wire.TurnCompleted).outcome == "answered"


def test_settings_that_do_not_concern_recognition_leave_the_microphone_open(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    conversation.send(wire.Configure(voice="f1", interrupt_ms=500)).wait_closed()
    user.send()
    user.asks("How are you?")

    user.reply.wait_for(wire.TurnCompleted)
    assert len(stages.ears) == 1


def test_a_client_that_vanishes_with_an_open_microphone_frees_its_conversation(
    conversation: Conversation, user: HandsFreeUser
) -> None:
    assert conversation.values("active_sessions") == [1]

    user.reply.gone = True

    eventually(lambda: conversation.values("active_sessions") == [0])
    assert user.ear.closed


def test_a_client_that_vanishes_in_mid_answer_frees_its_conversation(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    stages.hold_after = 1
    user.asks("How are you?")
    user.reply.wait_for(wire.TurnStarted)

    user.reply.gone = True

    assert user.reply.wait_for(wire.Interrupted).cause == "gone"
    eventually(lambda: conversation.values("active_sessions") == [0])
    assert len(stages.cancelled_generations) == 1


def test_closing_the_conversation_closes_the_microphone_and_its_reply(
    conversation: Conversation, user: HandsFreeUser
) -> None:
    conversation.send(wire.Close()).wait_closed()

    assert user.reply.wait_closed() == []
    assert user.ear.closed


def test_closing_the_conversation_ends_a_question_that_is_still_being_recognised(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.deaf = True
    question = conversation.send(wire.Audio(end_of_speech=True), CHUNK)
    eventually(lambda: len(stages.ears) == 1 and stages.ears[0].ended)

    conversation.send(wire.Close()).wait_closed()

    question.wait_closed()
    assert stages.ears[0].closed


def test_a_chunk_that_is_refused_does_not_take_what_is_heard_of_those_before_it(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    before = user.reply
    stages.deaf = True
    user.ear.pcm = bytes(MAX_WAITING_BYTES)

    refused = conversation.send(wire.Audio(hands_free=True), CHUNK)
    refused.wait_closed()
    user.asks("How are you?")

    assert refused.error is not None
    assert refused.error.code is ErrorCode.BUSY
    assert before.wait_for(wire.TurnCompleted).outcome == "answered"


# --- failures of recognition ---------------------------------------------------------------------


def test_a_failure_of_recognition_is_told_and_the_user_is_heard_anew_after_a_second(
    stages: FakeStages,
    converse: Conversations,
) -> None:
    clock = FakeClock()
    conversation = converse(unhurried(), clock)
    conversation.open()
    user = HandsFreeUser(conversation)
    error = TritalkError(ErrorCode.UNAVAILABLE, "asr has gone", stage="asr")

    user.ear.deliver(error)

    failure = user.reply.wait_for(wire.Failure)
    assert (failure.stage, failure.code, failure.turn_id) == ("asr", "unavailable", None)
    assert failure.retryable
    # Within the second all audio is passed over.
    for _ in range(3):
        user.send()
    conversation.send(wire.Interrupt()).wait_closed()
    assert len(stages.ears) == 1
    clock.advance(1.0)
    user.send()
    eventually(lambda: len(stages.ears) == 2)
    user.asks("How are you?")
    assert user.reply.wait_for(wire.TurnCompleted).outcome == "answered"
    assert conversation.values("turns_total", outcome="failed") == []


def test_a_question_with_an_end_of_its_own_is_heard_right_after_a_failure(
    stages: FakeStages,
    converse: Conversations,
) -> None:
    conversation = converse(unhurried(), FakeClock())
    conversation.open()
    user = HandsFreeUser(conversation)
    user.ear.deliver(TritalkError(ErrorCode.UNAVAILABLE, "asr has gone", stage="asr"))
    user.reply.wait_for(wire.Failure)

    reply = conversation.send(wire.Audio(end_of_speech=True), CHUNK)

    assert completed(reply).outcome == "answered"


def test_a_failure_of_recognition_drops_an_answer_begun_in_a_pause_and_no_other(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    stages.hold_after = 1
    user.begins()
    user.has_said("How are you?", paused=True)
    eventually(lambda: len(stages.prompts) == 1)

    user.ear.deliver(TritalkError(ErrorCode.TIMEOUT, "no answer", stage="asr"))

    user.reply.wait_for(wire.Failure)
    eventually(lambda: conversation.values("speculations_total", outcome="discarded") == [1])
    typed = conversation.send(wire.Ask("Are you there?"))
    typed.wait_for(wire.TurnStarted)
    stages.go_on.set()
    assert completed(typed).outcome == "answered"
