from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conversations import (
    Conversation,
    Conversations,
    HandsFreeUser,
    completed,
    eventually,
    kinds,
    only,
    unhurried,
)
from tests.fakes import FakeStages
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


def test_an_answer_that_was_begun_in_the_pause_is_given_when_the_question_was_whole(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins()
    user.has_said("How are you?", paused=True)
    eventually(lambda: len(stages.ended_animations) == 1)
    # All of the answer is there, and nobody has heard of it.
    assert kinds(user.reply.events) == ["Speaking", "Transcript"]
    assert user.reply.media == b""

    user.ends("How are you?")

    end = user.reply.wait_for(wire.TurnCompleted)
    assert kinds(user.reply.events)[2:4] == ["Transcript", "TurnStarted"]
    assert end.outcome == "answered"
    assert len(only(user.reply.events, wire.Media)) == 7
    assert len(stages.prompts) == 1
    assert conversation.values("speculations_total", outcome="used") == [1]
    assert conversation.values("speculations_total", outcome="discarded") == []
    assert conversation.history() == ["How are you?", end.reply]


def test_the_first_frame_of_an_answer_begun_in_the_pause_adds_nothing_to_the_latency(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins()
    user.has_said("How are you?", paused=True)
    eventually(lambda: len(stages.ended_animations) == 1)

    user.ends("How are you?")

    times = user.reply.wait_for(wire.TurnCompleted).stages_ms
    assert times.first_token is not None
    assert times.first_audio is not None
    assert times.transcript is not None
    assert times.first_frame is not None
    assert times.first_token <= times.first_audio <= times.transcript <= times.first_frame
    assert conversation.values("turn_latency_ms", stage="llm") == [0]
    assert conversation.values("turn_latency_ms", stage="tts") == [0]


def test_an_answer_begun_in_a_pause_is_dropped_without_a_trace_when_speech_goes_on(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    stages.hold_after = 1
    user.begins()
    user.has_said("How are you", paused=True)
    eventually(lambda: len(stages.prompts) == 1)

    user.goes_on(0.8)

    eventually(lambda: conversation.values("speculations_total", outcome="discarded") == [1])
    eventually(lambda: len(stages.cancelled_generations) == 1)
    assert kinds(user.reply.events) == ["Speaking", "Transcript"]
    assert user.reply.media == b""
    stages.go_on.set()
    user.ends("How are you today?")
    user.reply.wait_for(wire.TurnCompleted)
    assert [message.content for message in stages.prompts[1][1:]] == ["How are you today?"]
    assert len(only(user.reply.events, wire.TurnStarted)) == 1
    assert conversation.values("speculations_total", outcome="used") == []
    assert conversation.values("turns_total", outcome="answered") == [1]


def test_an_answer_to_other_words_than_the_final_ones_is_not_given(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins()
    user.has_said("Are you well?", paused=True)
    eventually(lambda: len(stages.ended_animations) == 1)

    user.ends("Aren't you well?")

    user.reply.wait_for(wire.TurnCompleted)
    (started,) = only(user.reply.events, wire.TurnStarted)
    assert started.question == "Aren't you well?"
    assert [prompt[-1].content for prompt in stages.prompts] == [
        "Are you well?",
        "Aren't you well?",
    ]
    eventually(lambda: conversation.values("speculations_total", outcome="discarded") == [1])


def test_a_second_pause_with_the_same_words_does_not_begin_the_answer_anew(
    stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins()
    user.has_said("How are you?", paused=True)
    user.has_said("How are you?", paused=True)

    user.ends("How are you?")

    user.reply.wait_for(wire.TurnCompleted)
    assert len(stages.prompts) == 1


def test_an_answer_that_failed_in_the_pause_is_tried_again_and_told_once(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    stages.errors["llm"] = TritalkError(ErrorCode.BUSY, "all slots are taken", stage="llm")
    user.begins()
    user.has_said("How are you?", paused=True)
    eventually(lambda: conversation.values("speculations_total", outcome="discarded") == [1])
    del stages.errors["llm"]

    user.ends("How are you?")
    answer = user.reply
    answer.wait_for(wire.TurnCompleted)
    user.send()

    assert completed(answer).outcome == "answered"
    assert only(answer.events, wire.Failure) == []
    assert len(only(answer.events, wire.TurnStarted)) == 1


def test_a_typed_question_drops_an_answer_begun_in_a_pause(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    stages.hold_after = 1
    user.begins()
    user.has_said("How are you?", paused=True)
    eventually(lambda: len(stages.prompts) == 1)
    stages.go_on.set()

    typed = conversation.send(wire.Ask("Who are you?"))

    assert completed(typed).outcome == "answered"
    eventually(lambda: conversation.values("speculations_total", outcome="discarded") == [1])
    assert only(user.reply.events, wire.TurnStarted) == []


def test_an_answer_begun_with_other_settings_is_not_given(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins()
    user.has_said("How are you?", paused=True)
    eventually(lambda: len(stages.ended_animations) == 1)

    conversation.send(wire.Configure(system_prompt="You are a pirate.")).wait_closed()
    user.ends("How are you?")

    user.reply.wait_for(wire.TurnCompleted)
    assert stages.prompts[-1][0].content == "You are a pirate."


def test_nothing_is_begun_in_a_pause_where_that_is_switched_off(
    stages: FakeStages, converse: Conversations
) -> None:
    conversation = converse(unhurried(speculation=False))
    conversation.open()
    user = HandsFreeUser(conversation)
    user.begins()
    user.has_said("How are you?", paused=True)
    user.ends("How are you?")

    user.reply.wait_for(wire.TurnCompleted)

    assert len(stages.prompts) == 1
    assert conversation.values("speculations_total", outcome="used") == []


def test_closing_the_conversation_drops_an_answer_begun_in_a_pause(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    stages.hold_after = 1
    user.begins()
    user.has_said("How are you?", paused=True)
    eventually(lambda: len(stages.prompts) == 1)

    conversation.send(wire.Close()).wait_closed()

    assert len(stages.cancelled_generations) == 1
    assert "TurnStarted" not in kinds(user.reply.wait_closed())
