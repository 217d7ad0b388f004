from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import answers
from tests.scripted_triton import Freeze, Hangup, ScriptedTriton
from tritalk_client import (
    AsyncConversation,
    AsyncTalker,
    Conversation,
    ErrorCode,
    Interrupted,
    Media,
    Reconnect,
    Reconnected,
    Talker,
    Timeouts,
    TritalkError,
    TurnCompleted,
    TurnStarted,
    wire,
)

PATIENCE = Timeouts(connect_s=10, call_s=10, turn_s=20, stall_s=20, close_s=10)
SOON_STALLED = Timeouts(connect_s=10, call_s=10, turn_s=20, stall_s=0.7, close_s=0.2)
SOON_UNCONNECTED = Timeouts(connect_s=0.5, call_s=10, turn_s=20, stall_s=20, close_s=0.2)


@pytest.fixture
def triton() -> Iterator[ScriptedTriton]:
    with ScriptedTriton(answer=answers.answered) as triton:
        yield triton


def run(
    triton: ScriptedTriton,
    act: Callable[[AsyncTalker], Awaitable[None]],
    timeouts: Timeouts = PATIENCE,
) -> None:
    """Run a test's coroutine with a talker; no task may be left when the talker is closed."""

    async def main() -> None:
        async with AsyncTalker(triton.address, timeouts=timeouts) as talker:
            await act(talker)
        left = [
            task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()
        ]
        assert [name for name in left if name.startswith("tritalk")] == []

    asyncio.run(main())
    assert triton.wait_until(lambda: triton.open_streams == 0)


def test_a_question_brings_events_and_the_answer(triton: ScriptedTriton) -> None:
    async def act(talker: AsyncTalker) -> None:
        turn = talker.ask(text="How are you?", avatar="astronaut")
        events = [event async for event in turn]
        assert isinstance(events[0], TurnStarted)
        assert isinstance(events[-1], TurnCompleted)
        assert turn.answer.media == b"".join(answers.MEDIA)
        assert turn.answer.reply == answers.REPLY

    run(triton, act)
    assert [type(one.message) for one in triton.received] == [wire.Configure, wire.Ask, wire.Close]


def test_a_spoken_question_is_answered_and_saved(triton: ScriptedTriton, tmp_path: Path) -> None:
    async def act(talker: AsyncTalker) -> None:
        answer = await talker.ask_and_save(
            np.zeros(5_600), tmp_path / "a.mp4", sample_rate_hz=16_000, avatar="astronaut"
        )
        assert answer.transcript is not None
        assert (tmp_path / "a.mp4").read_bytes() == answer.media

    run(triton, act)
    assert [len(one.audio) for one in triton.received] == [0, 3200, 3200, 3200, 1600, 0]


def test_questions_at_once_each_get_their_own_answer(triton: ScriptedTriton) -> None:
    triton.answer = lambda question: answers.answered(question, turn_id=f"turn-{question!r}")

    async def act(talker: AsyncTalker) -> None:
        turns = [talker.ask(text=text, avatar="astronaut").result() for text in "abc"]
        assert [answer.question for answer in await asyncio.gather(*turns)] == ["a", "b", "c"]

    run(triton, act)


def test_a_conversation_is_interrupted_and_goes_on(triton: ScriptedTriton) -> None:
    triton.answer = answers.interruptible

    async def act(talker: AsyncTalker) -> None:
        async with talker.conversation("astronaut", voice="emma") as conversation:
            await conversation.ask(text="How are you?")
            kinds = []
            async for event in conversation.turn():
                kinds.append(type(event))
                if isinstance(event, Media):
                    conversation.interrupt()
            assert kinds[-2:] == [Interrupted, TurnCompleted]
            triton.answer = answers.answered
            conversation.say("Hello")
            assert (await conversation.turn().result()).outcome == "answered"

    run(triton, act)


def test_live_speech_is_answered(triton: ScriptedTriton) -> None:
    async def act(talker: AsyncTalker) -> None:
        async with talker.conversation("astronaut") as conversation:
            conversation.send_audio(np.zeros(1600, np.int16))
            conversation.send_audio(np.zeros(1600, np.int16), end_of_speech=True)
            answer = await conversation.turn().result()
            assert answer.transcript is not None
            assert answer.transcript.audio_s == pytest.approx(0.2)

    run(triton, act)


def test_speech_at_its_own_speed_is_cut_short_by_leaving(triton: ScriptedTriton) -> None:
    async def act(talker: AsyncTalker) -> None:
        async with talker.conversation("astronaut") as conversation:
            await conversation.ask(np.zeros(800_000), sample_rate_hz=16_000, pace=True)
            seen = lambda: len(triton.messages(wire.Audio)) >= 2  # noqa: E731
            assert await asyncio.to_thread(triton.wait_until, seen)

    run(triton, act)
    assert 2 <= len(triton.messages(wire.Audio)) < 100
    assert isinstance(triton.received[-1].message, wire.Close)
    assert len(triton.messages(wire.Close)) == 1


def test_two_questions_at_once_have_a_turn_each(triton: ScriptedTriton) -> None:
    triton.answer = lambda question: answers.answered(question, turn_id=f"turn-{question!r}")

    async def act(talker: AsyncTalker) -> None:
        async with talker.conversation("astronaut") as conversation:
            await conversation.ask(text="a")
            await conversation.ask(text="b")
            turns = [await conversation.turn().result() for _ in range(2)]
        assert [turn.question for turn in turns] == ["a", "b"]

    run(triton, act)


async def quiet_microphone() -> AsyncIterator[bytes]:
    for number in range(6):
        await asyncio.sleep(0.01)
        yield (b"\1\0" if number < 3 else b"\0\0") * 1600


@pytest.mark.parametrize(
    "microphone", [quiet_microphone, lambda: iter([b"\1\0" * 1600] * 3 + [b"\0\0" * 1600] * 3)]
)
def test_a_microphone_is_any_iterator_and_recordings_may_follow(
    triton: ScriptedTriton, microphone: Callable[[], Any]
) -> None:
    triton.answer = lambda question: answers.answered(question, turn_id=secrets.token_hex(4))

    async def act(talker: AsyncTalker) -> None:
        async with talker.conversation("astronaut") as conversation:
            await conversation.listen(microphone())
            await conversation.listen(np.full(3200, 0.5), sample_rate_hz=16_000, silence_s=0.4)
            turns = [await conversation.turn().result() for _ in range(2)]
            assert [turn.outcome for turn in turns] == ["answered", "answered"]
            assert [turn.transcript.audio_s for turn in turns if turn.transcript] == [0.3, 0.2]

    run(triton, act)


def test_a_microphone_that_fails_is_a_typed_error(triton: ScriptedTriton) -> None:
    async def unplugged() -> AsyncIterator[bytes]:
        yield b"\0\0" * 1600
        raise OSError("unplugged")

    async def act(talker: AsyncTalker) -> None:
        async with talker.conversation("astronaut") as conversation:
            await conversation.listen(unplugged())
            with pytest.raises(TritalkError, match="unplugged"):
                async for _ in conversation:
                    pass

    run(triton, act)


def test_leaving_ends_a_recording_that_is_being_heard(triton: ScriptedTriton) -> None:
    async def act(talker: AsyncTalker) -> None:
        async with talker.conversation("astronaut") as conversation:
            await conversation.listen(np.zeros(800_000), sample_rate_hz=16_000)
            await conversation.poll(0.3)

    run(triton, act)
    assert len(triton.messages(wire.Audio)) < 20


def test_a_lost_connection_is_replaced(triton: ScriptedTriton) -> None:
    triton.answer = answers.begun_then(Hangup())

    async def act(talker: AsyncTalker) -> None:
        async with talker.conversation("astronaut", reconnect=True) as conversation:
            await conversation.ask(text="How are you?")
            events = [event async for event in conversation.turn()]
            assert events[-1] == Reconnected(
                session_id=conversation.session_id, resumed=True, lost="turn-1"
            )
            triton.answer = answers.answered
            await conversation.ask(text="Still there?")
            assert (await conversation.turn().result()).outcome == "answered"

    run(triton, act)


def test_a_server_that_stays_away_is_given_up(triton: ScriptedTriton) -> None:
    limits = Reconnect(tries=3, first_wait_s=0.05, deadline_s=5)

    async def act(talker: AsyncTalker) -> None:
        async with talker.conversation("astronaut", reconnect=limits) as conversation:
            await asyncio.to_thread(triton.stop)
            with pytest.raises(TritalkError) as caught:
                await conversation.__anext__()
            assert caught.value.code is ErrorCode.UNAVAILABLE

    run(triton, act)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (answers.begun_then(Freeze()), ErrorCode.STALLED),
        (answers.begun_then(Hangup()), ErrorCode.UNAVAILABLE),
        (answers.failed, ErrorCode.TIMEOUT),
    ],
)
def test_what_goes_wrong_is_a_typed_error(
    triton: ScriptedTriton, answer: Callable[..., Iterator[object]], code: ErrorCode
) -> None:
    triton.answer = answer  # type: ignore[assignment]

    async def act(talker: AsyncTalker) -> None:
        with pytest.raises(TritalkError) as caught:
            await talker.ask(text="How are you?", avatar="astronaut").result()
        assert caught.value.code is code
        ended = lambda: triton.open_streams == 0  # noqa: E731
        assert await asyncio.to_thread(triton.wait_until, ended)

    run(triton, act, SOON_STALLED)


@pytest.mark.parametrize(
    ("avatar", "code"),
    [("nobody", ErrorCode.UNKNOWN_AVATAR), ("silent", ErrorCode.UNAVAILABLE)],
)
def test_a_conversation_that_does_not_open_is_a_typed_error(
    triton: ScriptedTriton, avatar: str, code: ErrorCode
) -> None:
    async def act(talker: AsyncTalker) -> None:
        with pytest.raises(TritalkError) as caught:
            await talker.ask(text="How are you?", avatar=avatar).result()
        assert caught.value.code is code

    run(triton, act, SOON_UNCONNECTED)


def test_no_server_is_unavailable(triton: ScriptedTriton) -> None:
    triton.stop()

    async def act(talker: AsyncTalker) -> None:
        for action in (talker.avatars, talker.health, talker.ask(text="a", avatar="b").result):
            with pytest.raises(TritalkError) as caught:
                await action()
            assert caught.value.code is ErrorCode.UNAVAILABLE

    run(triton, act, SOON_UNCONNECTED)


def test_leaving_the_loop_early_ends_the_conversation(triton: ScriptedTriton) -> None:
    triton.answer = answers.interruptible

    async def act(talker: AsyncTalker) -> None:
        async for event in talker.ask(text="How are you?", avatar="astronaut"):
            if isinstance(event, Media):
                break
        ended = lambda: triton.open_streams == 0  # noqa: E731
        assert await asyncio.to_thread(triton.wait_until, ended)

    run(triton, act)
    assert len(triton.messages(wire.Close)) == 1


def test_a_cancelled_task_ends_its_conversation(triton: ScriptedTriton) -> None:
    triton.answer = answers.interruptible

    async def act(talker: AsyncTalker) -> None:
        task = asyncio.create_task(talker.ask(text="How are you?", avatar="astronaut").result())
        asked = lambda: bool(triton.messages(wire.Ask))  # noqa: E731
        assert await asyncio.to_thread(triton.wait_until, asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ended = lambda: triton.open_streams == 0  # noqa: E731
        assert await asyncio.to_thread(triton.wait_until, ended)

    run(triton, act)
    assert len(triton.messages(wire.Close)) == 1


def test_calls_are_answered(triton: ScriptedTriton) -> None:
    avatar = wire.AvatarInfo("astronaut", 512, 512, wire.FaceBox(1, 2, 3, 4))
    transcript = wire.Transcript("Hello.", True, 0.1, "en")
    fragment = wire.Fragment(0, 0.0, 0.5, 12, 12_000, True)
    triton.cached = 2
    triton.models = {
        "avatar": {"AVATAR": wire.encode(avatar)},
        "asr": [{"EVENT": wire.encode(transcript)}],
        "tts": {"AUDIO": b"\1\0", "SAMPLE_RATE": np.array([24_000]), "TIMING": b"[]"},
        "narrate": [{"MEDIA": b"video", "FRAGMENT": wire.encode(fragment)}],
    }

    async def act(talker: AsyncTalker) -> None:
        assert await talker.register_avatar(b"pixels") == avatar
        assert await talker.transcribe(np.zeros(1600), sample_rate_hz=16_000) == transcript
        assert (await talker.synthesise("Hello.")).sample_rate_hz == 24_000
        assert (await talker.narrate("Hello.", avatar=avatar).result()).media == b"video"
        assert (await talker.health()).can_serve_turns
        triton.models["avatar"] = {"AVATAR": wire.encode([avatar])}
        assert await talker.avatars() == [avatar]
        await talker.delete_avatar(avatar)
        assert await talker.forget_answers("Who are you?") == triton.cached

    run(triton, act)


def test_both_sides_of_the_sdk_offer_the_same_calls() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(Talker) == public(AsyncTalker)
    assert public(Conversation) == public(AsyncConversation)
