"""Conversations: turns one by one, hands-free speech, lost connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests import answers
from tests.scripted_triton import Hangup, Pause, ScriptedTriton, Step
from tritalk_client import (
    ErrorCode,
    Failure,
    Interrupted,
    Media,
    Reconnect,
    Reconnected,
    Speaking,
    Talker,
    Timeouts,
    Transcript,
    TritalkError,
    TurnCompleted,
    TurnStarted,
    wire,
)

PATIENCE = Timeouts(connect_s=10, call_s=10, turn_s=20, stall_s=20, close_s=10)
SOON_STALLED = Timeouts(connect_s=10, call_s=10, turn_s=20, stall_s=0.7, close_s=0.2)
AVATAR = "astronaut"
CHUNK = b"\1\0" * 1600
SILENCE = b"\0\0" * 1600


@pytest.fixture
def triton() -> Iterator[ScriptedTriton]:
    turn_ids = (f"turn-{number}" for number in range(1, 99))
    with ScriptedTriton(
        answer=lambda question: answers.answered(question, next(turn_ids))
    ) as triton:
        yield triton


@pytest.fixture
def talker(triton: ScriptedTriton) -> Iterator[Talker]:
    with Talker(triton.address, timeouts=PATIENCE) as talker:
        yield talker


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


def interrupted_then_answered(triton: ScriptedTriton) -> None:
    """The first answer goes on until it is interrupted, the others end by themselves."""
    scripts = iter([answers.interruptible])

    def answer(question: str | bytes) -> Iterator[Step]:
        script = next(scripts, None)
        return script(question) if script else answers.answered(question, "turn-2")

    triton.answer = answer


def turn_ids(events: list[object]) -> set[str]:
    return {str(event.turn_id) for event in events if getattr(event, "turn_id", None)}  # type: ignore[attr-defined]


# --- one turn is one turn ----------------------------------------------------------------------


def test_two_questions_at_once_have_a_turn_each(talker: Talker) -> None:
    with talker.conversation(AVATAR) as conversation:
        conversation.ask(text="One?")
        conversation.ask(text="Two?")
        first = conversation.turn()
        events = list(first)
        second = conversation.turn().result()

    assert turn_ids(events) == {"turn-1"}
    assert isinstance(events[-1], TurnCompleted)
    assert (first.answer.question, second.question) == ("One?", "Two?")
    assert (first.answer.outcome, second.outcome) == ("answered", "answered")
    assert second.media == b"".join(answers.MEDIA)


def test_every_spoken_question_keeps_its_own_transcript(talker: Talker) -> None:
    with talker.conversation(AVATAR) as conversation:
        for seconds in (1, 2):
            conversation.ask(np.zeros(16_000 * seconds), sample_rate_hz=16_000)
        conversation.say("Welcome.")
        turns = [conversation.turn().result() for _ in range(3)]

    heard = [turn.transcript.audio_s if turn.transcript else None for turn in turns]
    assert heard[:2] == [1.0, 2.0]


def test_a_turn_that_is_left_goes_on_where_it_was(talker: Talker, triton: ScriptedTriton) -> None:
    triton.answer = answers.interruptible

    with talker.conversation(AVATAR) as conversation:
        conversation.ask(text="How are you?")
        turn = conversation.turn()
        for event in turn:
            if isinstance(event, Media):
                break
        conversation.interrupt()
        rest = list(turn)

    assert [type(event) for event in rest] == [Interrupted, TurnCompleted]


def test_a_question_in_mid_answer_ends_that_turn_and_has_the_next(
    talker: Talker, triton: ScriptedTriton
) -> None:
    interrupted_then_answered(triton)

    with talker.conversation(AVATAR) as conversation:
        conversation.ask(text="One?")
        left = conversation.turn()
        for event in left:
            if isinstance(event, Media):
                break
        conversation.ask(text="Two?")
        events = list(conversation.turn())

    # The turn that was left is none of the next one's, and is complete all the same.
    assert turn_ids(events) == {"turn-2"}
    assert isinstance(events[0], TurnStarted)
    assert left.answer.outcome == "interrupted"


def test_a_turn_that_was_seen_to_its_end_is_not_waited_for_again(talker: Talker) -> None:
    with talker.conversation(AVATAR) as conversation:
        conversation.ask(text="One?")
        next(event for event in conversation if isinstance(event, TurnCompleted))
        conversation.ask(text="Two?")
        second = conversation.turn().result()

    assert second.question == "Two?"


def test_a_turn_may_be_watched_from_its_middle(talker: Talker) -> None:
    with talker.conversation(AVATAR) as conversation:
        conversation.ask(text="One?")
        next(event for event in conversation if isinstance(event, Media))
        answer = conversation.turn().result()

    assert (answer.question, answer.reply, answer.outcome) == ("One?", answers.REPLY, "answered")


def test_a_question_that_is_refused_has_no_turn(talker: Talker, triton: ScriptedTriton) -> None:
    refusal = TritalkError(ErrorCode.BUSY, "later", stage="talker").to_wire()
    triton.answer = lambda question: iter([answers.refused(refusal)])

    with talker.conversation(AVATAR) as conversation:
        conversation.ask(text="One?")
        turn = conversation.turn()
        events = list(turn)

    assert [type(event) for event in events] == [Failure]
    assert turn.answer.turn_id == ""


def test_waiting_for_an_event_ends_in_time(talker: Talker) -> None:
    with talker.conversation(AVATAR) as conversation:
        began_s = time.monotonic()
        assert conversation.poll(0.1) is None
        assert 0.09 < time.monotonic() - began_s < 2


# --- hands-free --------------------------------------------------------------------------------


def test_the_server_finds_the_question_of_somebody_who_speaks_hands_free(
    talker: Talker, triton: ScriptedTriton
) -> None:
    with talker.conversation(AVATAR) as conversation:
        conversation.listen(np.full(8_000, 0.1), sample_rate_hz=16_000, silence_s=0.5)
        events = list(conversation.turn())

    audio = triton.messages(wire.Audio)
    assert all(message.hands_free and not message.end_of_speech for message in audio)
    assert isinstance(events[0], Speaking)
    partials = [event for event in events if isinstance(event, Transcript) and not event.final]
    assert (partials[0].text, partials[0].stable) == ("How are you?", "How")
    assert isinstance(events[-1], TurnCompleted)


def test_a_recording_is_heard_at_the_speed_of_speech(
    talker: Talker, triton: ScriptedTriton
) -> None:
    with talker.conversation(AVATAR) as conversation:
        began_s = time.monotonic()
        conversation.listen(np.full(8_000, 0.1), sample_rate_hz=16_000, silence_s=0.3)
        assert time.monotonic() - began_s < 0.2
        assert triton.wait_until(lambda: len(triton.messages(wire.Audio)) == 8)
        assert 0.75 < time.monotonic() - began_s < 3


def test_what_is_heard_follows_what_was_heard_before(
    talker: Talker, triton: ScriptedTriton
) -> None:
    loud = np.full(4_000, 0.5)
    with talker.conversation(AVATAR) as conversation:
        for _ in range(2):
            conversation.listen(loud, sample_rate_hz=16_000, silence_s=0.4)
        turns = [conversation.turn().result() for _ in range(2)]

    assert [turn.turn_id for turn in turns] == ["turn-1", "turn-2"]
    assert all(turn.transcript is not None for turn in turns)
    # Both count from the end of the speech, 0.3 s of silence before the transcript.
    assert all(turn.arrivals.first_fragment > 290 for turn in turns)  # type: ignore[operator]


def test_a_microphone_is_any_iterator_of_chunks(talker: Talker, triton: ScriptedTriton) -> None:
    closed = threading.Event()

    def microphone() -> Iterator[bytes]:
        try:
            yield from [CHUNK] * 3
            while True:
                time.sleep(0.02)
                yield SILENCE
        finally:
            closed.set()

    with talker.conversation(AVATAR) as conversation:
        conversation.listen(microphone())
        answer = conversation.turn().result()

    assert answer.outcome == "answered"
    assert closed.is_set()


def test_chunks_may_be_sent_by_hand(talker: Talker) -> None:
    with talker.conversation(AVATAR) as conversation:
        for chunk in [CHUNK] * 2 + [SILENCE] * 3:
            conversation.send_audio(chunk, hands_free=True)
        assert conversation.turn().result().question == "How are you?"


def test_a_voice_in_mid_answer_ends_that_turn_and_has_the_next(
    talker: Talker, triton: ScriptedTriton
) -> None:
    interrupted_then_answered(triton)
    spoken = np.full(6_400, 0.5)

    with talker.conversation(AVATAR) as conversation:
        conversation.listen(spoken, sample_rate_hz=16_000, silence_s=0.4)
        first = conversation.turn()
        for event in first:
            if isinstance(event, Media):
                conversation.listen(spoken, sample_rate_hz=16_000, silence_s=0.4)
        second = conversation.turn().result()

    assert (first.answer.outcome, second.outcome) == ("interrupted", "answered")
    assert second.transcript is not None


def test_a_typed_question_among_hands_free_ones_is_owed_its_own_turn(talker: Talker) -> None:
    with talker.conversation(AVATAR) as conversation:
        for chunk in [CHUNK] * 2 + [SILENCE] * 3:
            conversation.send_audio(chunk, hands_free=True)
        conversation.ask(text="And you?")
        questions = [conversation.turn().result().question for _ in range(2)]

    assert questions == ["How are you?", "And you?"]


def test_a_silent_microphone_is_not_waited_for_without_end(triton: ScriptedTriton) -> None:
    with (
        Talker(triton.address, timeouts=SOON_STALLED) as talker,
        talker.conversation(AVATAR) as conversation,
    ):
        conversation.send_audio(SILENCE, hands_free=True)
        assert conversation.turn().result().turn_id == ""


def test_a_microphone_that_fails_is_a_typed_error_and_the_conversation_goes_on(
    talker: Talker,
) -> None:
    def microphone() -> Iterator[bytes]:
        yield CHUNK
        raise OSError("unplugged")

    with talker.conversation(AVATAR) as conversation:
        conversation.listen(microphone())
        with pytest.raises(TritalkError, match="unplugged") as caught:
            list(conversation)
        conversation.ask(text="Still there?")
        assert conversation.turn().result().outcome == "answered"

    assert caught.value.code is ErrorCode.BAD_AUDIO


@pytest.mark.parametrize("source", [b"\0\0", "absent.wav", np.zeros(0)])
def test_what_cannot_be_heard_is_refused_at_once(talker: Talker, source: object) -> None:
    with (
        talker.conversation(AVATAR) as conversation,
        pytest.raises(TritalkError),
    ):
        conversation.listen(source)  # type: ignore[arg-type]


def test_nobody_is_heard_outside_a_conversation(talker: Talker) -> None:
    with pytest.raises(TritalkError, match="not open"):
        talker.conversation(AVATAR).listen([CHUNK])


# --- sessions and lost connections -------------------------------------------------------------


def test_a_session_is_gone_on_with(talker: Talker) -> None:
    with talker.conversation(AVATAR) as conversation:
        session_id = conversation.session_id
    with talker.conversation(AVATAR, session_id=session_id) as conversation:
        started = conversation.started

    assert (started.session_id, started.resumed, started.history) == (session_id, True, 2)


def test_what_cannot_be_a_session_is_refused_before_anything_is_sent(
    talker: Talker, triton: ScriptedTriton
) -> None:
    with pytest.raises(TritalkError, match="session_id"):
        talker.conversation(AVATAR, session_id="my session")

    assert triton.received == []


def test_a_lost_connection_is_replaced_and_the_session_goes_on(
    talker: Talker, triton: ScriptedTriton
) -> None:
    triton.answer = answers.begun_then(Hangup())

    with talker.conversation(AVATAR, reconnect=True, voice="emma") as conversation:
        session_id = conversation.session_id
        conversation.configure(speed=1.5)
        conversation.ask(text="How are you?")
        events = list(conversation.turn())
        triton.answer = answers.answered
        conversation.ask(text="Still there?")
        after = conversation.turn().result()

    assert events[-1] == Reconnected(session_id=session_id, resumed=True, lost="turn-1")
    assert after.outcome == "answered"
    begins = [one for one in triton.received if one.start]
    assert begins[0].sequence_id != begins[1].sequence_id
    # The new sequence carries the settings, in case the session is not known any more.
    assert begins[1].message == wire.Configure(
        AVATAR, voice="emma", speed=1.5, session_id=session_id
    )


def test_typed_questions_that_were_not_begun_are_asked_again_and_spoken_ones_reported(
    talker: Talker, triton: ScriptedTriton
) -> None:
    scripts = iter([answers.begun_then(Pause(0.2), Hangup())])

    def answer(question: str | bytes) -> Iterator[Step]:
        return next(scripts, answers.answered)(question)

    triton.answer = answer
    with talker.conversation(AVATAR, reconnect=True) as conversation:
        conversation.ask(text="One?")
        conversation.ask(text="Two?")
        conversation.ask(np.zeros(16_000), sample_rate_hz=16_000)
        events = list(conversation.turn())
        second = conversation.turn().result()
        nothing = conversation.turn().result()

    reconnected = events[-1]
    assert isinstance(reconnected, Reconnected)
    assert (reconnected.sent_again, reconnected.unanswered) == (1, 1)
    assert (second.question, second.outcome) == ("Two?", "answered")
    assert nothing.turn_id == ""


def test_a_stalled_server_is_left_for_a_new_connection(triton: ScriptedTriton) -> None:
    scripts = iter([answers.begun_then(Pause())])
    triton.answer = lambda question: next(scripts, answers.answered)(question)

    with (
        Talker(triton.address, timeouts=SOON_STALLED) as talker,
        talker.conversation(AVATAR, reconnect=True) as conversation,
    ):
        conversation.ask(text="How are you?")
        events = list(conversation.turn())
        conversation.ask(text="Still there?")
        assert conversation.turn().result().outcome == "answered"

    assert isinstance(events[-1], Reconnected)


def test_a_server_that_comes_back_is_found_again(talker: Talker, triton: ScriptedTriton) -> None:
    triton.answer = answers.begun_then(Pause())

    with talker.conversation(AVATAR, reconnect=True) as conversation:
        conversation.ask(text="How are you?")
        next(event for event in conversation if isinstance(event, Media))
        triton.stop()
        triton.sessions.clear()
        back = threading.Timer(0.5, triton.restart)
        back.start()
        event = next(conversation)
        back.join()
        triton.answer = answers.answered
        conversation.ask(text="Still there?")
        assert conversation.turn().result().outcome == "answered"

    # The server has forgotten the session, and the user is told.
    assert isinstance(event, Reconnected)
    assert (event.resumed, event.lost) == (False, "turn-1")
    assert event.session_id == conversation.session_id


def test_a_server_that_stays_away_is_given_up(talker: Talker, triton: ScriptedTriton) -> None:
    limits = Reconnect(tries=3, first_wait_s=0.05, deadline_s=5)

    with talker.conversation(AVATAR, reconnect=limits) as conversation:
        triton.stop()
        with pytest.raises(TritalkError) as caught:
            list(conversation)
        assert conversation.closed

    assert caught.value.code is ErrorCode.UNAVAILABLE


def test_a_refusal_is_not_tried_again(talker: Talker, triton: ScriptedTriton) -> None:
    triton.answer = answers.begun_then(Hangup())

    with talker.conversation(AVATAR, reconnect=True) as conversation:
        conversation.ask(text="How are you?")
        next(event for event in conversation if isinstance(event, Media))
        triton.refused.add(AVATAR)
        with pytest.raises(TritalkError) as caught:
            list(conversation)

    assert caught.value.code is ErrorCode.UNKNOWN_AVATAR


def test_closing_ends_the_search_for_a_server(talker: Talker, triton: ScriptedTriton) -> None:
    limits = Reconnect(tries=1000, first_wait_s=0.2, deadline_s=60)
    with talker.conversation(AVATAR, reconnect=limits) as conversation:
        triton.stop()
        closer = threading.Timer(0.5, conversation.close)
        closer.start()
        assert list(conversation) == []
        closer.join(5)


def test_speech_that_is_sent_meanwhile_is_dropped_and_heard_again_later(
    talker: Talker, triton: ScriptedTriton
) -> None:
    with talker.conversation(AVATAR, reconnect=True) as conversation:
        triton.stop()
        conversation.send_audio(CHUNK, hands_free=True)
        triton.restart()
        assert isinstance(next(conversation), Reconnected)
        for chunk in [CHUNK] * 2 + [SILENCE] * 3:
            conversation.send_audio(chunk, hands_free=True)
        assert conversation.turn().result().outcome == "answered"


def test_half_a_spoken_question_is_not_asked_after_a_loss(
    talker: Talker, triton: ScriptedTriton
) -> None:
    with talker.conversation(AVATAR, reconnect=True) as conversation:
        conversation.send_audio(CHUNK)
        assert triton.wait_until(lambda: bool(triton.messages(wire.Audio)))
        triton.stop()
        triton.restart()
        reconnected = next(conversation)
        conversation.send_audio(CHUNK, end_of_speech=True)
        conversation.send_audio(CHUNK * 2, end_of_speech=True)
        answer = conversation.turn().result()

    assert isinstance(reconnected, Reconnected)
    assert reconnected.unanswered == 1
    assert answer.transcript is not None
    assert answer.transcript.audio_s == pytest.approx(0.2)


def test_a_setting_that_was_refused_is_not_part_of_a_new_connection(
    talker: Talker, triton: ScriptedTriton
) -> None:
    with talker.conversation(AVATAR, reconnect=True) as conversation:
        conversation.configure(avatar="nobody")
        assert isinstance(next(conversation), Failure)
        triton.stop()
        triton.restart()
        assert isinstance(next(conversation), Reconnected)


# --- the cache of answers ----------------------------------------------------------------------


def test_cached_answers_are_forgotten(talker: Talker, triton: ScriptedTriton) -> None:
    triton.cached = 3

    assert talker.forget_answers("Who are you?") == 3
    assert talker.forget_answers() == 3
    assert triton.messages(wire.ForgetAnswers) == [
        wire.ForgetAnswers("Who are you?"),
        wire.ForgetAnswers(),
    ]
    assert all(one.start and one.end for one in triton.received)
