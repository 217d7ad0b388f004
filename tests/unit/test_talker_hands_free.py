from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conversations import (
    Conversation,
    HandsFreeUser,
    completed,
    eventually,
    kinds,
    only,
    unhurried,
)
from tests.fakes import FakeStages
from tritalk_client import wire


@pytest.fixture
def stages() -> FakeStages:
    return FakeStages()


@pytest.fixture
def conversation(stages: FakeStages) -> Iterator[Conversation]:
    conversation = Conversation(stages, unhurried())
    conversation.open()
    yield conversation
    conversation.close()


@pytest.fixture
def user(conversation: Conversation) -> HandsFreeUser:
    return HandsFreeUser(conversation)


def test_a_question_whose_end_the_server_finds_is_answered(
    conversation: Conversation, user: HandsFreeUser
) -> None:
    user.begins()
    user.ends("How are you?")

    end = user.reply.wait_for(wire.TurnCompleted)
    assert (end.outcome, end.reply) == ("answered", "I am fine. Thank you for asking. And you?")
    assert kinds(user.reply.events)[:3] == ["Speaking", "Transcript", "TurnStarted"]
    (started,) = only(user.reply.events, wire.TurnStarted)
    assert started.question == "How are you?"
    # The silence that ended the question counts.
    assert end.stages_ms.endpoint == 380
    assert end.stages_ms.transcript is not None
    assert end.stages_ms.transcript >= 400


def test_each_chunk_closes_the_reply_before_it_and_an_answer_outlives_its_chunk(
    stages: FakeStages, user: HandsFreeUser
) -> None:
    stages.hold_after = 1
    first = user.reply
    second = user.send()
    assert first.wait_closed() == []
    user.asks("How are you?")
    second.wait_for(wire.TurnStarted)

    third = user.send()
    stages.go_on.set()

    assert completed(second).outcome == "answered"
    assert third.events == []


def test_partial_transcripts_reach_the_client_and_the_language_model_reads_along(
    stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins()

    told = user.has_said("How are you to", stable="How are")

    assert (told.text, told.stable, told.final) == ("How are you to", "How are", False)
    eventually(lambda: [prompt[-1].content for prompt in stages.read][-1:] == ["How are"])


def test_the_client_is_told_once_of_each_time_the_user_begins_to_speak(
    user: HandsFreeUser,
) -> None:
    user.begins()
    user.goes_on(0.5)
    user.goes_on(0.9)
    user.has_said("Hm")

    user.begins()

    told = only(user.reply.events, wire.Speaking)
    assert [(one.utterance, one.speech_s) for one in told] == [(0, 0.1), (1, 0.1)]


def test_sounds_without_words_are_no_question(stages: FakeStages, user: HandsFreeUser) -> None:
    user.begins()
    user.ends("...")
    user.asks("Hello?")

    user.reply.wait_for(wire.TurnCompleted)
    assert [prompt[-1].content for prompt in stages.prompts] == ["Hello?"]


def test_a_silence_is_told(user: HandsFreeUser) -> None:
    user.ear.deliver(wire.Silence(8.0))

    assert user.reply.wait_for(wire.Silence).silent_s == 8.0
