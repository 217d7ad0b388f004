from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conversations import Conversation, HandsFreeUser, eventually, only, unhurried
from tests.fakes import FakeStages
from tests.stores import FakeClock
from tritalk_client import wire

STORY = ("Once upon a time there was a king. ", "He had a dog. ")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stages() -> FakeStages:
    stages = FakeStages(answer=STORY)
    stages.hold_after = 1
    return stages


@pytest.fixture
def conversation(stages: FakeStages, clock: FakeClock) -> Iterator[Conversation]:
    conversation = Conversation(stages, unhurried(), clock)
    conversation.open(echo_guard=True)
    yield conversation
    conversation.close()


@pytest.fixture
def user(conversation: Conversation) -> HandsFreeUser:
    """A user who hears the first sentence of a story through a loudspeaker."""
    user = HandsFreeUser(conversation)
    user.asks("Tell me a story.").wait_for(wire.Media)
    return user


def end_of_answer(conversation: Conversation, user: HandsFreeUser) -> None:
    assert user.reply.wait_for(wire.TurnCompleted).outcome == "answered"
    # Behind it in the conversation's inbox.
    conversation.send(wire.Interrupt()).wait_closed()


def test_the_portraits_own_words_neither_interrupt_it_nor_are_a_question(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins(0.5)
    user.goes_on(2.0)
    user.has_said("upon a time there", stable="upon a time")
    user.ends("Upon a time, there was a king.")

    heard = user.reply.wait_for(wire.Transcript)
    assert (heard.text, heard.ignored) == ("Upon a time, there was a king.", "echo")
    stages.go_on.set()
    assert user.reply.wait_for(wire.TurnCompleted).outcome == "answered"
    assert len(stages.prompts) == 1


def test_words_that_are_not_the_portraits_interrupt_it(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins(0.5)
    user.has_said("Stop talking")

    assert user.reply.wait_for(wire.Interrupted).cause == "speech"
    stages.hold_after = None
    user.ends("Stop talking please.")
    eventually(lambda: len(stages.prompts) == 2)
    assert stages.prompts[1][-1].content == "Stop talking please."


def test_one_foreign_word_interrupts_only_when_it_is_certain(
    conversation: Conversation, user: HandsFreeUser
) -> None:
    user.begins(0.5)
    user.has_said("upon a climb")
    assert only(user.reply.events, wire.Interrupted) == []

    user.has_said("upon a climb", stable="upon a climb")

    assert user.reply.wait_for(wire.Interrupted).cause == "speech"


def test_what_is_the_users_of_mixed_words_is_the_question(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins(0.5)
    user.has_said("there was a king which king")
    user.has_said("there was a king which king was")
    user.reply.wait_for(wire.Interrupted)
    stages.hold_after = None

    user.ends("There was a king. Which king was it?")

    heard = user.reply.wait_for(wire.Transcript)
    assert heard.ignored == ""
    eventually(lambda: len(stages.prompts) == 2)
    assert stages.prompts[1][-1].content == "Which king was it?"


def test_words_of_the_users_that_are_only_known_at_their_end_are_a_question(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    user.begins(0.4)
    stages.hold_after = None

    user.ends("Stop please.")

    assert user.reply.wait_for(wire.Transcript).ignored == ""
    assert user.reply.wait_for(wire.Interrupted).cause == "question"
    assert user.reply.wait_for(wire.TurnCompleted).outcome == "interrupted"


def test_one_word_that_is_only_known_at_its_end_is_a_short_sound(
    conversation: Conversation, user: HandsFreeUser
) -> None:
    user.begins(0.2)
    user.ends("Okay.")

    assert user.reply.wait_for(wire.Transcript).ignored == "back_channel"
    assert only(user.reply.events, wire.Interrupted) == []


def test_an_echo_that_comes_when_the_answer_has_just_ended_is_one(
    conversation: Conversation, stages: FakeStages, clock: FakeClock, user: HandsFreeUser
) -> None:
    stages.go_on.set()
    end_of_answer(conversation, user)
    clock.advance(1.0)

    user.begins(0.4)
    user.ends("He had a dog.")

    assert user.reply.wait_for(wire.Transcript).ignored == "echo"
    assert len(stages.prompts) == 1


def test_the_portraits_words_are_the_users_when_he_says_them_later(
    conversation: Conversation, stages: FakeStages, clock: FakeClock, user: HandsFreeUser
) -> None:
    stages.go_on.set()
    end_of_answer(conversation, user)
    clock.advance(3.0)

    user.begins(0.4)
    user.ends("He had a dog?")

    assert user.reply.wait_for(wire.Transcript).ignored == ""
    eventually(lambda: len(stages.prompts) == 2)


def test_a_question_that_began_in_an_answer_and_outlasts_it_is_one(
    conversation: Conversation, stages: FakeStages, clock: FakeClock, user: HandsFreeUser
) -> None:
    user.begins(0.4)
    user.has_said("Which")
    stages.go_on.set()
    end_of_answer(conversation, user)
    clock.advance(3.0)

    user.has_said("Which king was it")
    user.ends("Which king was it?")

    assert user.reply.wait_for(wire.Transcript).ignored == ""
    eventually(lambda: len(stages.prompts) == 2)


def test_without_the_guard_a_sound_interrupts_whatever_its_words(
    conversation: Conversation, user: HandsFreeUser
) -> None:
    conversation.send(wire.Configure(echo_guard=False)).wait_closed()

    user.begins(0.4)

    assert user.reply.wait_for(wire.Interrupted).cause == "speech"
