from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.conversations import (
    CHUNK,
    Conversation,
    Conversations,
    HandsFreeUser,
    completed,
    eventually,
    unhurried,
)
from tests.fakes import FakeStages, RecordingReply
from tests.stores import FakeClock
from tritalk.talker import session
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

UNKNOWN = "x" * 24


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
    yield conversation
    conversation.close()


def begin(conversation: Conversation, *, to: int = 7, **settings: object) -> wire.Started:
    request = wire.Configure(**({"avatar_id": "ada"} | settings))
    (started,) = conversation.send(request, start=True, to=to).wait_closed()
    assert isinstance(started, wire.Started)
    return started


def resume(conversation: Conversation, session_id: str, *, to: int = 8) -> RecordingReply:
    reply = conversation.send(wire.Configure(session_id=session_id), start=True, to=to)
    reply.wait_closed()
    return reply


def test_a_session_has_a_name_and_is_new(conversation: Conversation) -> None:
    one, other = begin(conversation, to=1), begin(conversation, to=2)

    assert (one.resumed, one.history) == (False, 0)
    assert len(one.session_id) >= 16
    assert one.session_id != other.session_id


def test_a_session_is_gone_on_with_by_its_name(
    conversation: Conversation, stages: FakeStages
) -> None:
    session_id = begin(
        conversation,
        voice="f1",
        language="de",
        system_prompt="You are kind.",
        speed=1.5,
        lead_s=1800.0,
        end_silence_ms=700,
        sampling=wire.Sampling(max_new_tokens=9),
    ).session_id
    completed(conversation.send(wire.Say("Hello.")))
    conversation.send(wire.Close()).wait_closed()

    (started,) = resume(conversation, session_id).events

    assert started == wire.Started("ada", "f1", "de", session_id, True, 1)
    conversation.send(wire.Interrupt(), to=8).wait_closed()
    question = conversation.send(wire.Audio(hands_free=True), CHUNK, to=8)
    eventually(lambda: len(stages.ears) == 1)
    assert (stages.ears[0].options.end_silence_ms, stages.ears[0].options.language) == (700, "de")
    conversation.send(wire.Ask("Who are you?"), to=8).wait_for(wire.TurnStarted)
    eventually(lambda: len(stages.prompts) == 1)
    assert [message.content for message in stages.prompts[0]] == [
        "You are kind.",
        "Hello.",
        "Who are you?",
    ]
    eventually(lambda: stages.animated[-1].lead_s == 1800.0)
    assert question.error is None


def test_settings_that_come_with_the_name_win(conversation: Conversation) -> None:
    session_id = begin(conversation, voice="f1", language="de").session_id
    conversation.send(wire.Close()).wait_closed()

    started = begin(conversation, to=8, avatar_id="ben", voice="m1", session_id=session_id)

    assert (started.avatar_id, started.voice, started.language) == ("ben", "m1", "de")
    assert started.resumed


def test_settings_that_change_in_mid_conversation_are_kept(conversation: Conversation) -> None:
    session_id = begin(conversation).session_id
    conversation.send(wire.Configure(voice="f1")).wait_closed()
    conversation.send(wire.Close()).wait_closed()

    (started,) = resume(conversation, session_id).events

    assert isinstance(started, wire.Started)
    assert started.voice == "f1"


def test_a_session_that_is_not_known_begins_anew_under_a_new_name(
    conversation: Conversation,
) -> None:
    started = begin(conversation, session_id=UNKNOWN)

    assert (started.resumed, started.history) == (False, 0)
    assert started.session_id != UNKNOWN


def test_a_session_that_is_not_known_needs_an_avatar_as_a_new_one_does(
    conversation: Conversation,
) -> None:
    error = resume(conversation, UNKNOWN).error

    assert error is not None
    assert error.code is ErrorCode.BAD_REQUEST
    assert conversation.values("active_sessions") == [0]


def test_a_session_that_is_open_elsewhere_is_taken_over_with_what_was_heard_there(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.hold_after = 1
    session_id = begin(conversation).session_id
    answer = conversation.send(wire.Ask("How are you?"))
    for _ in range(2):
        answer.wait_for(wire.Media)

    (started,) = resume(conversation, session_id).events

    assert isinstance(started, wire.Started)
    assert (started.resumed, started.history) == (True, 2)
    assert completed(answer).outcome == "interrupted"
    with pytest.raises(TritalkError):
        conversation.send(wire.Ask("Still there?"))
    assert conversation.values("active_sessions") == [1]
    stages.hold_after = None
    completed(conversation.send(wire.Ask("And?"), to=8))
    assert [message.content for message in stages.prompts[-1][1:]] == [
        "How are you?",
        "I am fine.",
        "And?",
    ]


def test_a_session_is_taken_over_from_an_open_microphone(
    conversation: Conversation, stages: FakeStages
) -> None:
    session_id = begin(conversation).session_id
    user = HandsFreeUser(conversation)

    resume(conversation, session_id)

    assert user.reply.wait_closed() == []
    assert stages.ears[0].closed


def test_a_name_in_mid_conversation_changes_nothing(conversation: Conversation) -> None:
    other = begin(conversation, to=1).session_id
    own = begin(conversation, to=2).session_id

    (started,) = conversation.send(wire.Configure(session_id=other), to=2).wait_closed()

    assert isinstance(started, wire.Started)
    assert (started.session_id, started.resumed) == (own, False)
    assert conversation.values("active_sessions") == [2]


def test_a_resumed_session_whose_avatar_is_gone_does_not_open(
    conversation: Conversation, stages: FakeStages
) -> None:
    session_id = begin(conversation).session_id
    conversation.send(wire.Close()).wait_closed()

    reply = conversation.send(
        wire.Configure(session_id=session_id, avatar_id="nobody"), start=True, to=8
    )
    reply.wait_closed()

    assert reply.error is not None
    assert reply.error.code is ErrorCode.UNKNOWN_AVATAR
    eventually(lambda: conversation.values("active_sessions") == [0])
    # It can still be gone on with.
    (started,) = resume(conversation, session_id, to=9).events
    assert isinstance(started, wire.Started)
    assert (started.resumed, started.avatar_id) == (True, "ada")


def test_a_long_history_is_saved_as_it_was_trimmed(
    stages: FakeStages, converse: Conversations
) -> None:
    conversation = converse(unhurried(history_tokens=64, system_prompt="Hm."))
    session_id = begin(conversation).session_id
    for _ in range(12):
        completed(conversation.send(wire.Ask("How are you?")))
    conversation.send(wire.Close()).wait_closed()

    (started,) = resume(conversation, session_id).events

    assert isinstance(started, wire.Started)
    # An exchange has 12 words, so that at most five fit.
    assert 2 <= started.history <= 10


def test_a_history_whose_tokens_cannot_be_counted_is_kept(
    conversation: Conversation, stages: FakeStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(messages: object) -> int:
        raise TritalkError(ErrorCode.TIMEOUT, "no answer", stage="llm")

    monkeypatch.setattr(stages, "count_tokens", fails)
    session_id = begin(conversation).session_id
    completed(conversation.send(wire.Ask("How are you?")))
    assert completed(conversation.send(wire.Ask("And now?"))).outcome == "answered"
    conversation.send(wire.Close()).wait_closed()

    (started,) = resume(conversation, session_id).events

    assert isinstance(started, wire.Started)
    assert started.history == 4


# --- conversations that nobody uses --------------------------------------------------------------


def test_a_conversation_that_nobody_uses_is_closed_and_can_be_gone_on_with(
    converse: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_LOOK_S", 0.01)
    clock = FakeClock()
    conversation = converse(unhurried(session_idle_s=300), clock)
    session_id = begin(conversation).session_id

    clock.advance(301.0)

    eventually(lambda: conversation.values("active_sessions") == [0])
    (started,) = resume(conversation, session_id).events
    assert isinstance(started, wire.Started)
    assert started.resumed


def test_the_time_without_use_begins_with_the_end_of_an_answer(
    stages: FakeStages, converse: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an answer that takes longer than a conversation may be idle
    monkeypatch.setattr(session, "_LOOK_S", 0.01)
    clock = FakeClock()
    stages.hold_after = 1
    conversation = converse(unhurried(session_idle_s=300, llm_timeout_s=1e6), clock)
    begin(conversation)
    answer = conversation.send(wire.Ask("Tell me everything."))
    answer.wait_for(wire.Media)
    clock.advance(400.0)
    stages.go_on.set()
    assert completed(answer).outcome == "answered"

    # Time for some looks.
    time.sleep(0.3)
    assert conversation.values("active_sessions") == [1]

    clock.advance(301.0)
    eventually(lambda: conversation.values("active_sessions") == [0])
