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
from tests.fakes import FakeStages, RecordingReply
from tests.stores import FakeClock
from tritalk_client import wire

STORY = ("Once upon a time. ", "There was a king. ", "He had a dog. ")


@pytest.fixture
def stages() -> FakeStages:
    """Stages that have said one sentence of a story and wait before they go on."""
    stages = FakeStages(answer=STORY)
    stages.hold_after = 1
    return stages


@pytest.fixture
def conversation(stages: FakeStages) -> Iterator[Conversation]:
    conversation = Conversation(stages, unhurried(interrupt_ms=300))
    conversation.open()
    yield conversation
    conversation.close()


@pytest.fixture
def user(conversation: Conversation) -> HandsFreeUser:
    return HandsFreeUser(conversation)


def hear_all_of_the_first_sentence(answer: RecordingReply) -> None:
    for _ in range(2):
        answer.wait_for(wire.Media)


def test_speech_that_goes_on_during_an_answer_interrupts_it(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    answer = user.asks("Tell me a story.")
    hear_all_of_the_first_sentence(answer)

    user.begins(0.1)
    user.goes_on(0.3)

    interrupted = answer.wait_for(wire.Interrupted)
    assert (interrupted.cause, interrupted.text) == ("speech", "Once upon a time.")
    assert answer.wait_for(wire.TurnCompleted).outcome == "interrupted"
    eventually(lambda: len(stages.cancelled_generations) == 1)
    eventually(lambda: stages.cancelled_animations != [])
    # What interrupted is the next question.
    stages.hold_after = None
    user.ends("And then?")
    answer.wait_for(wire.TurnCompleted)
    contents = [message.content for message in stages.prompts[-1][1:]]
    assert contents == ["Tell me a story.", "Once upon a time.", "And then?"]
    (heard,) = only(answer.events, wire.Transcript)[1:]
    assert heard.ignored == ""


def test_no_media_follows_an_interruption(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    answer = user.asks("Tell me a story.")
    hear_all_of_the_first_sentence(answer)

    conversation.send(wire.Interrupt())
    stages.go_on.set()

    answer.wait_for(wire.TurnCompleted)
    assert kinds(answer.events)[-2:] == ["Interrupted", "TurnCompleted"]


def test_a_short_sound_during_an_answer_neither_interrupts_it_nor_is_a_question(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    answer = user.asks("Tell me a story.")
    answer.wait_for(wire.Media)
    now = user.send()

    user.begins(0.1)
    user.goes_on(0.29)
    user.ends("Uh-huh.")

    heard = now.wait_for(wire.Transcript)
    assert (heard.text, heard.final, heard.ignored) == ("Uh-huh.", True, "back_channel")
    stages.go_on.set()
    assert completed(answer).outcome == "answered"
    assert len(stages.prompts) == 1
    assert conversation.history() == ["Tell me a story.", "".join(STORY).strip()]


def test_a_question_that_began_just_before_the_end_of_an_answer_is_no_short_sound(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    answer = user.asks("Tell me a story.")
    answer.wait_for(wire.Media)
    now = user.send()
    user.begins(0.2)
    stages.go_on.set()
    assert completed(answer).outcome == "answered"

    user.goes_on(1.5)
    user.ends("Is there more of it?")

    heard = now.wait_for(wire.Transcript)
    assert heard.ignored == ""
    assert now.wait_for(wire.TurnCompleted).outcome == "answered"
    assert stages.prompts[-1][-1].content == "Is there more of it?"


def test_how_much_speech_interrupts_can_be_set_in_mid_conversation(
    conversation: Conversation, user: HandsFreeUser
) -> None:
    conversation.send(wire.Configure(interrupt_ms=1000)).wait_closed()
    answer = user.asks("Tell me a story.")
    answer.wait_for(wire.Media)

    user.begins(0.1)
    user.goes_on(0.9)
    user.ends("I see, I see.")

    assert answer.wait_for(wire.Transcript).ignored == "back_channel"
    assert only(answer.events, wire.Interrupted) == []


def test_speech_before_the_first_word_of_an_answer_interrupts_it(
    stages: FakeStages, user: HandsFreeUser
) -> None:
    stages.hold_after = 0
    answer = user.asks("Tell me a story.")
    answer.wait_for(wire.TurnStarted)

    user.begins(0.4)

    interrupted = answer.wait_for(wire.Interrupted)
    assert (interrupted.cause, interrupted.text, interrupted.heard_s) == ("speech", "", 0.0)
    # What was not answered is one with the next question.
    stages.hold_after = None
    user.ends("A short one.")
    answer.wait_for(wire.TurnCompleted)
    eventually(lambda: len(stages.prompts) == 2)
    assert [message.content for message in stages.prompts[1][1:]] == [
        "Tell me a story. A short one."
    ]


def test_an_interrupt_right_behind_a_question_stops_its_answer(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.hold_after = 0

    answer = conversation.send(wire.Ask("Tell me a story."))
    conversation.send(wire.Interrupt())

    end = completed(answer)
    assert (end.outcome, end.media_s) == ("interrupted", 0.0)
    assert only(answer.events, wire.Interrupted)[0].cause == "request"


def test_an_interrupt_stops_nothing_that_is_asked_after_it(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.hold_after = None

    conversation.send(wire.Interrupt())
    answer = conversation.send(wire.Ask("Tell me a story."))

    assert completed(answer).outcome == "answered"


def test_two_interruptions_in_a_row(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    first = user.asks("Tell me a story.")
    hear_all_of_the_first_sentence(first)
    second = user.send()

    user.begins(0.4)
    user.ends("No, another one.")
    hear_all_of_the_first_sentence(second)
    third = user.send()
    stages.hold_after = None
    user.begins(0.4)
    user.ends("Never mind.")
    third.wait_for(wire.TurnCompleted)

    assert completed(first).outcome == "interrupted"
    assert completed(second).outcome == "interrupted"
    assert [message.content for message in stages.prompts[2][1:]] == [
        "Tell me a story.",
        "Once upon a time.",
        "No, another one.",
        "Once upon a time.",
        "Never mind.",
    ]
    assert conversation.values("turns_total", outcome="interrupted") == [2]
    assert len(conversation.values("turn_interrupt_latency_ms")) == 2


def test_two_interruptions_before_any_word_make_one_question_of_three(
    stages: FakeStages, user: HandsFreeUser
) -> None:
    stages.hold_after = 0
    answer = user.asks("Tell me")
    answer.wait_for(wire.TurnStarted)
    user.begins(0.4)
    user.ends("a story")
    answer.wait_for(wire.TurnStarted)
    user.begins(0.4)
    answer.wait_for(wire.TurnCompleted)

    stages.hold_after = None
    user.ends("of a dog.")

    eventually(lambda: len(stages.prompts) == 3)
    assert [message.content for message in stages.prompts[2][1:]] == ["Tell me a story of a dog."]


def test_a_typed_question_interrupts_and_says_so(
    conversation: Conversation, stages: FakeStages, user: HandsFreeUser
) -> None:
    answer = user.asks("Tell me a story.")
    answer.wait_for(wire.Media)
    stages.hold_after = None

    typed = conversation.send(wire.Ask("What time is it?"))

    assert answer.wait_for(wire.Interrupted).cause == "question"
    assert completed(typed).outcome == "answered"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def listener(stages: FakeStages, clock: FakeClock) -> Iterator[HandsFreeUser]:
    """A user who has all of an answer, seven fragments of 0.2 s, and begins to play it."""
    stages.hold_after = None
    conversation = Conversation(stages, unhurried(lead_s=5.0), clock)
    conversation.open()
    user = HandsFreeUser(conversation)
    answer = user.asks("Tell me a story.")
    eventually(lambda: len(only(answer.events, wire.Media)) == 7)
    yield user
    conversation.close()


def test_an_answer_that_is_being_played_can_still_be_interrupted(
    stages: FakeStages, clock: FakeClock, listener: HandsFreeUser
) -> None:
    answer = listener.reply
    assert only(answer.events, wire.TurnCompleted) == []

    # when the first of its three sentences and a bit of the second have been played
    clock.advance(0.55)
    listener.begins(0.4)

    interrupted = answer.wait_for(wire.Interrupted)
    assert interrupted.heard_s == pytest.approx(0.55)
    assert interrupted.text == "Once upon a time. There"
    assert answer.wait_for(wire.TurnCompleted).media_s == pytest.approx(1.4)
    listener.ends("Which king?")
    eventually(lambda: len(stages.prompts) == 2)
    assert [message.content for message in stages.prompts[1][1:]] == [
        "Tell me a story.",
        "Once upon a time. There",
        "Which king?",
    ]


def test_the_last_words_count_as_heard_when_only_silence_was_left(
    clock: FakeClock, listener: HandsFreeUser
) -> None:
    # given that the last fragment, from 1.2 s on, is silent
    clock.advance(1.25)

    listener.begins(0.4)

    assert listener.reply.wait_for(wire.Interrupted).text == "".join(STORY).strip()
