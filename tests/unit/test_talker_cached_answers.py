from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conversations import (
    Conversation,
    Conversations,
    HandsFreeUser,
    completed,
    eventually,
    only,
    unhurried,
)
from tests.fakes import FakeStages, RecordingReply
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

QUESTION = "When do you open?"
ANSWER = "I am fine. Thank you for asking. And you?"


@pytest.fixture
def stages() -> FakeStages:
    return FakeStages()


@pytest.fixture
def converse(stages: FakeStages) -> Iterator[Conversations]:
    with Conversations(stages) as converse:
        yield converse


@pytest.fixture
def conversation(stages: FakeStages) -> Iterator[Conversation]:
    conversation = Conversation(stages, unhurried(answer_cache=True))
    yield conversation
    conversation.close()


def ask(conversation: Conversation, question: str, *, to: int) -> RecordingReply:
    """The answer to the question; it is kept, where it is, before this returns."""
    reply = conversation.send(wire.Ask(question), to=to)
    completed(reply)
    # Behind the end of the turn in the conversation's inbox.
    conversation.send(wire.Interrupt(), to=to).wait_closed()
    return reply


def is_cached(reply: RecordingReply) -> bool:
    (started,) = only(reply.events, wire.TurnStarted)
    return started.cached


def forget(conversation: Conversation, question: str | None = None) -> int:
    (forgotten,) = conversation.send(
        wire.ForgetAnswers(question), start=True, end=True, to=99
    ).wait_closed()
    assert isinstance(forgotten, wire.AnswersForgotten)
    return forgotten.answers


def test_the_same_question_in_the_next_conversation_is_answered_from_the_cache(
    conversation: Conversation, stages: FakeStages
) -> None:
    conversation.open(to=1)
    first = ask(conversation, QUESTION, to=1)
    conversation.open(to=2)

    second = ask(conversation, "when do you open", to=2)

    assert (is_cached(first), is_cached(second)) == (False, True)
    assert second.media == first.media
    assert [media.text for media in only(second.events, wire.Media)] == [
        media.text for media in only(first.events, wire.Media)
    ]
    end = completed(second)
    assert (end.outcome, end.reply, end.usage) == ("answered", ANSWER, None)
    assert len(stages.prompts) == 1
    assert len(stages.clauses) == 3
    assert conversation.values("answer_cache_hits_total") == [1]
    assert conversation.values("answer_cache_misses_total") == [1]


def test_a_cached_answer_is_part_of_the_history(
    conversation: Conversation, stages: FakeStages
) -> None:
    conversation.open(to=1)
    ask(conversation, QUESTION, to=1)
    conversation.open(to=2)
    ask(conversation, QUESTION, to=2)

    ask(conversation, "And then?", to=2)

    assert [message.content for message in stages.prompts[-1][1:]] == [
        QUESTION,
        ANSWER,
        "And then?",
    ]


def test_a_spoken_question_is_answered_from_the_cache_in_its_pause(
    conversation: Conversation, stages: FakeStages
) -> None:
    conversation.open(to=1)
    ask(conversation, QUESTION, to=1)
    conversation.open(to=2)
    user = HandsFreeUser(conversation, to=2)

    user.begins()
    user.has_said(QUESTION, paused=True)
    user.ends(QUESTION)

    assert user.reply.wait_for(wire.TurnStarted).cached
    assert user.reply.wait_for(wire.TurnCompleted).outcome == "answered"
    assert len(stages.prompts) == 1


def test_a_question_in_mid_conversation_is_thought_of(
    conversation: Conversation, stages: FakeStages
) -> None:
    conversation.open(to=1)
    ask(conversation, QUESTION, to=1)

    assert not is_cached(ask(conversation, QUESTION, to=1))
    assert len(stages.prompts) == 2
    # And its answer, which the history may have shaped, is not kept.
    assert forget(conversation) == 1


def test_a_kiosk_answers_from_the_cache_in_mid_conversation(
    stages: FakeStages, converse: Conversations
) -> None:
    settings = unhurried(answer_cache=True, answer_cache_any_turn=True)
    conversation = converse(settings)
    conversation.open(to=1)
    ask(conversation, QUESTION, to=1)
    ask(conversation, "Where are you?", to=1)
    conversation.open(to=2)
    ask(conversation, "Hello?", to=2)

    assert is_cached(ask(conversation, QUESTION, to=2))
    # What the history may have shaped is not told to others.
    assert not is_cached(ask(conversation, "Where are you?", to=2))


@pytest.mark.parametrize(
    "settings", [{"voice": "f1"}, {"language": "de"}, {"system_prompt": "You are a pirate."}]
)
def test_another_manner_has_other_answers(
    conversation: Conversation, settings: dict[str, str]
) -> None:
    conversation.open(to=1)
    ask(conversation, QUESTION, to=1)
    conversation.open(to=2, **settings)

    assert not is_cached(ask(conversation, QUESTION, to=2))


def test_forgotten_answers_are_thought_of_anew(
    conversation: Conversation, stages: FakeStages
) -> None:
    for number, question in enumerate((QUESTION, "Where are you?"), start=1):
        conversation.open(to=number)
        ask(conversation, question, to=number)

    assert forget(conversation, QUESTION) == 1
    conversation.open(to=3)
    assert not is_cached(ask(conversation, QUESTION, to=3))
    assert forget(conversation) == 2
    conversation.open(to=4)
    assert not is_cached(ask(conversation, "Where are you?", to=4))
    assert len(stages.prompts) == 4


def test_an_answer_that_was_cut_off_is_not_kept(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.hold_after = 1
    conversation.open(to=1)
    answer = conversation.send(wire.Ask(QUESTION), to=1)
    answer.wait_for(wire.Media)
    conversation.send(wire.Interrupt(), to=1)
    assert completed(answer).outcome == "interrupted"
    conversation.send(wire.Interrupt(), to=1).wait_closed()

    assert forget(conversation) == 0


def test_an_answer_that_failed_is_not_kept(conversation: Conversation, stages: FakeStages) -> None:
    stages.errors["animate"] = TritalkError(ErrorCode.INTERNAL, "broken", stage="animate")
    conversation.open(to=1)

    ask(conversation, QUESTION, to=1)

    assert forget(conversation) == 0


def test_an_answer_that_nobody_was_given_is_not_kept(
    conversation: Conversation, stages: FakeStages
) -> None:
    conversation.open(to=1)
    user = HandsFreeUser(conversation, to=1)
    user.begins()
    user.has_said(QUESTION, paused=True)
    eventually(lambda: len(stages.ended_animations) == 1)

    user.goes_on(0.8)

    eventually(lambda: conversation.values("speculations_total", outcome="discarded") == [1])
    assert forget(conversation) == 0


def test_an_answer_begun_in_the_pause_is_kept_when_it_was_given(
    conversation: Conversation, stages: FakeStages
) -> None:
    conversation.open(to=1)
    user = HandsFreeUser(conversation, to=1)
    user.begins()
    user.has_said(QUESTION, paused=True)
    user.ends(QUESTION)
    user.reply.wait_for(wire.TurnCompleted)
    conversation.send(wire.Interrupt(), to=1).wait_closed()
    conversation.open(to=2)

    assert is_cached(ask(conversation, QUESTION, to=2))


def test_a_client_can_do_without_the_cache(conversation: Conversation, stages: FakeStages) -> None:
    conversation.open(to=1)
    ask(conversation, QUESTION, to=1)
    conversation.open(to=2, answer_cache=False)

    assert not is_cached(ask(conversation, QUESTION, to=2))

    assert conversation.values("answer_cache_hits_total") in ([], [0])
    assert len(stages.prompts) == 2


def test_a_script_is_neither_kept_nor_looked_for(
    conversation: Conversation, stages: FakeStages
) -> None:
    conversation.open(to=1)
    completed(conversation.send(wire.Say("Good morning."), to=1))
    conversation.send(wire.Interrupt(), to=1).wait_closed()

    assert forget(conversation) == 0
    assert conversation.values("answer_cache_misses_total") in ([], [0])


def test_an_answer_larger_than_may_be_kept_is_given_and_not_kept(
    stages: FakeStages, converse: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = converse(unhurried(answer_cache=True, answer_max_mib=1))
    conversation.open(to=1)
    draw = stages._draw

    def draw_large(*arguments, **flags):
        for fragment, media in draw(*arguments, **flags):
            yield fragment, media.ljust(2**19)

    monkeypatch.setattr(stages, "_draw", draw_large)

    assert completed(ask(conversation, QUESTION, to=1)).outcome == "answered"

    assert forget(conversation) == 0


def test_a_cached_answer_can_be_interrupted(conversation: Conversation, stages: FakeStages) -> None:
    conversation.open(to=1)
    ask(conversation, QUESTION, to=1)
    conversation.open(to=2, lead_s=0.5)
    answer = conversation.send(wire.Ask(QUESTION), to=2)
    answer.wait_for(wire.Media)

    conversation.send(wire.Interrupt(), to=2)

    end = completed(answer)
    assert end.outcome == "interrupted"
    assert end.media_s < 1.4
    assert stages.cancelled_generations == []
