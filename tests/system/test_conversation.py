"""Conversations at real pace, by scripts: overlaps, pauses, back-channels, interruptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.demo import word_error_rate
from benchmarks.people import Recording
from export import assets
from tests.media import watch
from tritalk import environment
from tritalk.server import Server
from tritalk_client import (
    AvatarInfo,
    ErrorCode,
    Event,
    Interrupted,
    Media,
    Speaking,
    Talker,
    Transcript,
    TritalkError,
    TurnCompleted,
    TurnStarted,
)
from tritalk_client.replay import TimedEvent, replay
from tritalk_client.script import Script, parse_script, read_script

EXAMPLES = environment.repository_root() / "client" / "examples"
LEAD_S = 1.0
# One frame more may be on its way when the lead is measured at the client.
LEAD_TOLERANCE_S = 0.25
SESSIONS = 64


@dataclass
class Told:
    """One turn as the client was told of it."""

    started: TurnStarted
    media: list[tuple[float, Media]] = field(default_factory=list)
    interrupted: Interrupted | None = None
    completed: TurnCompleted | None = None

    @property
    def outcome(self) -> str:
        assert self.completed is not None
        return self.completed.outcome

    def film(self) -> bytes:
        return b"".join(piece.data for _, piece in self.media)


def turns(happened: Sequence[TimedEvent]) -> list[Told]:
    """The turns in their order; fails when events come outside of their turn."""
    found: dict[str, Told] = {}
    for timed in happened:
        event = timed.event
        if isinstance(event, TurnStarted):
            found[event.turn_id] = Told(event)
        elif isinstance(event, Media):
            turn = found[event.turn_id]
            assert turn.completed is None
            assert turn.interrupted is None
            assert event.index == len(turn.media)
            turn.media.append((timed.at_s, event))
        elif isinstance(event, Interrupted):
            found[event.turn_id].interrupted = event
        elif isinstance(event, TurnCompleted):
            assert found[event.turn_id].completed is None
            found[event.turn_id].completed = event
    return list(found.values())


def of_kind(happened: Sequence[TimedEvent], kind: type[Event]) -> list[Event]:
    return [timed.event for timed in happened if isinstance(timed.event, kind)]


def finals(happened: Sequence[TimedEvent]) -> list[Transcript]:
    found = [timed.event for timed in happened if isinstance(timed.event, Transcript)]
    return [event for event in found if event.final]


def check_media(turn: Told) -> None:
    """What was sent plays, is as long as is said, and was never far ahead of its viewer."""
    assert turn.completed is not None
    if turn.media:
        film = watch(turn.film())
        assert film.video_end_s == pytest.approx(turn.completed.media_s, abs=0.04)
    ends_s: float | None = None
    for at_s, piece in turn.media:
        ends_s = max(at_s, ends_s or at_s) + piece.duration_s
        assert ends_s - at_s <= LEAD_S + LEAD_TOLERANCE_S


def check_stable_words(happened: Sequence[TimedEvent]) -> None:
    """What was said to be stable is never taken back."""
    stable: dict[int, str] = {}
    for timed in happened:
        event = timed.event
        if isinstance(event, Transcript):
            assert event.text.startswith(event.stable)
            if not event.ignored:
                assert event.text.startswith(stable.get(event.utterance, ""))
            stable[event.utterance] = event.stable


@pytest.fixture(scope="module")
def talker(server: Server) -> Iterator[Talker]:
    with Talker(server.grpc_url) as talker:
        yield talker


@pytest.fixture(scope="module")
def avatar(talker: Talker) -> AvatarInfo:
    return talker.register_avatar(assets.path("astronaut"))


def hold(talker: Talker, avatar: AvatarInfo, script: Script) -> list[TimedEvent]:
    script = script.voiced(talker.synthesise)
    settings = {
        name: value
        for name in ("system_prompt", "interrupt_ms", "end_silence_ms", "echo_guard")
        if (value := getattr(script.settings, name)) is not None
    }
    with talker.conversation(avatar, answer_cache=False, **settings) as conversation:
        happened = replay(conversation, script)
    for turn in turns(happened):
        check_media(turn)
    check_stable_words(happened)
    return happened


def quieter(pcm: bytes) -> npt.NDArray[np.int16]:
    return (np.frombuffer(pcm, "<i2") * 0.3).astype(np.int16)


def example(talker: Talker, avatar: AvatarInfo, name: str) -> list[TimedEvent]:
    return hold(talker, avatar, read_script(EXAMPLES / f"{name}.yaml"))


def test_who_speaks_into_an_answer_stops_it_and_is_answered(
    talker: Talker, avatar: AvatarInfo
) -> None:
    happened = example(talker, avatar, "overlap")

    first, second = turns(happened)
    assert "building" in first.started.question
    assert (first.outcome, second.outcome) == ("interrupted", "answered")
    assert first.interrupted is not None
    assert first.interrupted.cause == "speech"
    assert first.completed is not None
    assert 0 < first.interrupted.heard_s <= first.completed.media_s
    assert first.completed.reply.startswith(first.interrupted.text)
    assert "old" in second.started.question
    kinds = [type(timed.event) for timed in happened]
    assert kinds.index(Interrupted) > kinds.index(Speaking)
    # The interruption is told before its words are understood.
    assert kinds.index(Interrupted) < len(kinds) - 1 - kinds[::-1].index(TurnStarted)


def test_a_pause_in_mid_sentence_is_not_the_end_of_the_question(
    talker: Talker, avatar: AvatarInfo
) -> None:
    happened = example(talker, avatar, "pauses")

    asked = turns(happened)
    assert [turn.outcome for turn in asked] == ["answered", "answered"]
    assert "tell me" in asked[0].started.question
    assert "paintings" in asked[0].started.question
    assert "time" in asked[1].started.question
    assert "close" in asked[1].started.question


def test_a_back_channel_does_not_stop_the_answer_and_is_not_answered(
    talker: Talker, avatar: AvatarInfo
) -> None:
    happened = example(talker, avatar, "back_channel")

    (turn,) = turns(happened)
    assert turn.outcome == "answered"
    assert [transcript.ignored for transcript in finals(happened)] == ["", "back_channel"]


def test_an_answer_is_stopped_before_its_first_word(talker: Talker, avatar: AvatarInfo) -> None:
    happened = example(talker, avatar, "before_the_first_word")

    first, second = turns(happened)
    assert first.outcome == "interrupted"
    assert first.interrupted is not None
    assert (first.interrupted.heard_s, first.interrupted.text) == (0.0, "")
    assert first.interrupted.cause == "request"
    assert second.outcome == "answered"
    assert "name" in second.started.question


def test_an_answer_is_stopped_in_mid_sentence(talker: Talker, avatar: AvatarInfo) -> None:
    happened = example(talker, avatar, "mid_sentence")

    first, second = turns(happened)
    assert (first.outcome, second.outcome) == ("interrupted", "answered")
    assert first.interrupted is not None
    assert first.completed is not None
    assert first.interrupted.text
    assert len(first.interrupted.text) < len(first.completed.reply)
    assert "small" in second.started.question


def test_two_interruptions_in_a_row_end_two_answers(talker: Talker, avatar: AvatarInfo) -> None:
    happened = example(talker, avatar, "two_in_a_row")

    asked = turns(happened)
    assert [turn.outcome for turn in asked] == ["interrupted", "interrupted", "answered"]
    assert "third" in asked[2].started.question


def test_human_voices_are_understood_hands_free(talker: Talker, avatar: AvatarInfo) -> None:
    said = assets.recordings("harvard-phrases")["M1_harvard_phrases.wav"]
    first, second = Recording.phrases(said.path)
    steps = parse_script(
        "steps: [{text: first}, {text: second, after: answered, delay_s: 0.5}]"
    ).steps
    script = Script(steps=steps, voices={0: first.pcm, 1: second.pcm})

    happened = hold(talker, avatar, script)

    assert [turn.outcome for turn in turns(happened)] == ["answered", "answered"]
    heard = " ".join(transcript.text for transcript in finals(happened))
    assert word_error_rate(said.text, heard) <= 0.2
    # The answer waited for the end of speech, and knows when that was.
    for turn in turns(happened):
        assert turn.completed is not None
        times = turn.completed.stages_ms
        assert times.endpoint is not None
        assert times.transcript is not None
        assert times.first_frame is not None
        assert times.endpoint <= times.transcript <= times.first_frame


def test_the_portrait_does_not_interrupt_itself_where_its_voice_comes_back(
    talker: Talker, avatar: AvatarInfo
) -> None:
    # given a microphone that hears the loudspeaker
    words = "The boats leave at noon, and the light is beautiful today."
    echo = parse_script(f'steps: [{{text: "{words}"}}]').voiced(talker.synthesise).voices[0]
    with talker.conversation(avatar, echo_guard=True) as conversation:
        conversation.say(words)
        conversation.listen(quieter(echo), sample_rate_hz=16_000, silence_s=1.5)

        # when the portrait speaks
        told: list[Event] = []
        for event in conversation:
            told.append(event)
            if isinstance(event, Transcript) and event.final:
                break

    # then it is heard, and taken for what it is
    assert any(isinstance(event, Speaking) for event in told)
    (final,) = [event for event in told if isinstance(event, Transcript) and event.final]
    assert final.ignored == "echo"
    assert not any(isinstance(event, Interrupted) for event in told)
    assert len([event for event in told if isinstance(event, TurnStarted)]) == 1


def test_three_people_talk_at_once_and_each_gets_his_own_answer(
    talker: Talker, avatar: AvatarInfo
) -> None:
    things = ("garden", "kitchen", "library")
    scripts = [
        parse_script(f'steps: [{{text: "Please tell me something about the {thing}."}}]')
        for thing in things
    ]

    with ThreadPoolExecutor(3) as pool:
        held = list(pool.map(lambda script: hold(talker, avatar, script), scripts))

    for thing, happened in zip(things, held, strict=True):
        (turn,) = turns(happened)
        assert turn.outcome == "answered"
        assert thing in turn.started.question


def test_a_session_is_gone_on_with(talker: Talker, avatar: AvatarInfo) -> None:
    with talker.conversation(avatar, system_prompt="You are Ada.") as conversation:
        session_id = conversation.started.session_id
        conversation.say("Good.")
        conversation.turn().result()

    with talker.conversation(avatar, session_id=session_id) as again:
        started = again.started

    assert (started.session_id, started.resumed, started.history) == (session_id, True, 1)


def test_an_answer_to_a_frequent_question_comes_from_the_cache_until_it_is_forgotten(
    talker: Talker, avatar: AvatarInfo
) -> None:
    talker.forget_answers()
    first = talker.ask(text="What is the colour of the sky?", avatar=avatar).result()
    again = talker.ask(text="what is the colour of the sky", avatar=avatar).result()

    assert again.media == first.media
    assert again.reply == first.reply
    assert first.usage is not None
    assert again.usage is None

    assert talker.forget_answers("What is the colour of the sky?") == 1
    anew = talker.ask(text="What is the colour of the sky?", avatar=avatar).result()
    assert anew.usage is not None


def test_one_conversation_more_than_there_is_room_for_is_told_so(
    talker: Talker, avatar: AvatarInfo
) -> None:
    with ExitStack() as stack:
        for _ in range(SESSIONS):
            stack.enter_context(talker.conversation(avatar))
        with pytest.raises(TritalkError) as caught:
            talker.conversation(avatar).open()

    assert caught.value.code is ErrorCode.BUSY
    assert caught.value.retryable
    # Those who leave make room.
    with talker.conversation(avatar) as conversation:
        conversation.say("Good.")
        assert conversation.turn().result().outcome == "answered"
