from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile

from tests import answers
from tests.scripted_triton import Abort, Freeze, Hangup, Pause, ScriptedTriton, Words
from tritalk_client import (
    ErrorCode,
    Failure,
    Fragment,
    Interrupted,
    Media,
    ReplyText,
    Talker,
    Timeouts,
    Transcript,
    TritalkError,
    TurnCompleted,
    TurnStarted,
    wire,
)

PATIENCE = Timeouts(connect_s=10, call_s=10, turn_s=20, stall_s=20, close_s=10)
# What a test waits for in vain is short, what it relies on is not.
SOON_STALLED = Timeouts(connect_s=10, call_s=10, turn_s=20, stall_s=0.7, close_s=0.2)
SOON_LATE = Timeouts(connect_s=10, call_s=10, turn_s=0.7, stall_s=10, close_s=0.2)
SOON_UNCONNECTED = Timeouts(connect_s=0.5, call_s=10, turn_s=20, stall_s=20, close_s=0.2)
AVATAR = wire.AvatarInfo("astronaut", 512, 512, wire.FaceBox(100, 80, 200, 260))


@pytest.fixture
def triton() -> Iterator[ScriptedTriton]:
    with ScriptedTriton(answer=answers.answered) as triton:
        yield triton


@pytest.fixture
def talker(triton: ScriptedTriton) -> Iterator[Talker]:
    with Talker(triton.address, timeouts=PATIENCE) as talker:
        yield talker


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread


def code_of(caught: pytest.ExceptionInfo[TritalkError]) -> ErrorCode:
    return caught.value.code


# --- asking ------------------------------------------------------------------------------------


def test_a_typed_question_brings_events_in_order_with_their_media(talker: Talker) -> None:
    events = list(talker.ask(text="How are you?", avatar=AVATAR))

    kinds = [type(event) for event in events]
    assert kinds == [TurnStarted, ReplyText, Media, ReplyText, Media, TurnCompleted]
    assert [event.data for event in events if isinstance(event, Media)] == list(answers.MEDIA)


def test_the_answer_collects_the_turn(talker: Talker) -> None:
    answer = talker.ask(text="How are you?", avatar="astronaut").result()

    assert (answer.question, answer.reply, answer.outcome) == (
        "How are you?",
        answers.REPLY,
        "answered",
    )
    assert answer.media == b"".join(answers.MEDIA)
    assert answer.media_s == pytest.approx(0.4)
    assert answer.stages_ms == answers.TIMES
    assert answer.usage == wire.Usage(20, 7, "stop")
    assert answer.failures == ()
    arrivals = answer.arrivals
    assert None not in (arrivals.first_fragment, arrivals.last_fragment, arrivals.completed)
    assert 0 < arrivals.first_fragment <= arrivals.first_spoken <= arrivals.completed  # type: ignore[operator]


def test_a_spoken_question_goes_up_in_chunks_and_ends(
    talker: Talker, triton: ScriptedTriton, tmp_path: Path
) -> None:
    path = tmp_path / "question.wav"
    soundfile.write(path, np.zeros(16_000 * 35 // 100), 16_000)

    answer = talker.ask(path, avatar=AVATAR).result()

    chunks = [one for one in triton.received if isinstance(one.message, wire.Audio)]
    assert [len(chunk.audio) for chunk in chunks] == [3200, 3200, 3200, 1600]
    assert [chunk.message.end_of_speech for chunk in chunks] == [False, False, False, True]
    assert answer.transcript == Transcript("How are you?", True, 0.35, "en")


def test_an_array_is_a_question(talker: Talker) -> None:
    answer = talker.ask(np.zeros(8_000), sample_rate_hz=8_000, avatar=AVATAR).result()

    assert answer.transcript is not None
    assert answer.transcript.audio_s == pytest.approx(1.0)


def test_speech_can_be_sent_at_its_own_speed_and_is_cut_short_by_leaving(
    talker: Talker, triton: ScriptedTriton
) -> None:
    with talker.conversation(AVATAR) as conversation:
        conversation.ask(np.zeros(16_000 * 50), sample_rate_hz=16_000, pace=True)
        assert triton.wait_until(lambda: len(triton.messages(wire.Audio)) >= 2)

    assert triton.wait_until(lambda: bool(triton.messages(wire.Close)))
    assert 2 <= len(triton.messages(wire.Audio)) < 100
    assert triton.wait_until(lambda: triton.open_streams == 0)
    assert isinstance(triton.received[-1].message, wire.Close)


def test_a_conversation_is_one_sequence_with_a_start_and_an_end(
    talker: Talker, triton: ScriptedTriton
) -> None:
    settings = {"voice": "emma", "language": "en", "system_prompt": "Be brief.", "speed": 1.2}
    talker.ask(text="Hello", avatar=AVATAR, sampling=wire.Sampling(seed=3), **settings).result()

    assert triton.wait_until(lambda: triton.open_streams == 0)
    assert [type(one.message) for one in triton.received] == [wire.Configure, wire.Ask, wire.Close]
    assert [(one.start, one.end) for one in triton.received] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert len({one.sequence_id for one in triton.received}) == 1
    assert triton.received[0].sequence_id > 0
    assert triton.received[0].message == wire.Configure(
        "astronaut", "emma", "en", "Be brief.", wire.Sampling(seed=3), 1.2, lead_s=3600.0
    )


def test_every_question_has_a_conversation_of_its_own(
    talker: Talker, triton: ScriptedTriton
) -> None:
    talker.ask(text="One", avatar=AVATAR).result()
    talker.ask(text="Two", avatar=AVATAR).result()

    assert len({one.sequence_id for one in triton.received}) == 2


def test_words_can_be_spoken_as_they_are(talker: Talker, triton: ScriptedTriton) -> None:
    talker.say("Welcome!", avatar=AVATAR).result()

    assert triton.messages(wire.Say) == [wire.Say("Welcome!")]


def test_ask_and_save_writes_the_video(talker: Talker, tmp_path: Path) -> None:
    answer = talker.ask_and_save(None, tmp_path / "a.mp4", text="How are you?", avatar=AVATAR)

    assert (tmp_path / "a.mp4").read_bytes() == answer.media == b"".join(answers.MEDIA)


@pytest.mark.parametrize("question", [{}, {"recording": np.zeros(9), "text": "x"}, {"text": " "}])
def test_what_is_no_question_is_refused_before_anything_is_sent(
    talker: Talker, triton: ScriptedTriton, question: dict[str, object]
) -> None:
    with pytest.raises(TritalkError) as caught:
        talker.ask(avatar=AVATAR, **question).result()  # type: ignore[arg-type]

    assert code_of(caught) is ErrorCode.BAD_REQUEST
    assert triton.received == []


def test_three_questions_at_once_each_get_their_own_answer(
    talker: Talker, triton: ScriptedTriton
) -> None:
    triton.answer = lambda question: answers.answered(question, turn_id=f"turn-{question!r}")
    replies: dict[str, str] = {}

    def ask(text: str) -> None:
        replies[text] = talker.ask(text=text, avatar=AVATAR).result().turn_id

    threads = [threading.Thread(target=ask, args=(text,)) for text in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert replies == {text: f"turn-'{text}'" for text in "abc"}


# --- what goes wrong ---------------------------------------------------------------------------


def test_a_failed_stage_raises_its_error(talker: Talker, triton: ScriptedTriton) -> None:
    triton.answer = answers.failed

    with pytest.raises(TritalkError) as caught:
        talker.ask(text="How are you?", avatar=AVATAR).result()

    assert (code_of(caught), caught.value.stage) == (ErrorCode.TIMEOUT, "tts")
    assert triton.wait_until(lambda: triton.open_streams == 0)


def test_a_failed_stage_can_be_an_event(talker: Talker, triton: ScriptedTriton) -> None:
    triton.answer = answers.failed

    answer = talker.ask(text="Hm?", avatar=AVATAR, raise_failures=False).result()

    assert answer.outcome == "failed"
    assert [failure.stage for failure in answer.failures] == ["tts"]


def test_an_unknown_avatar_is_refused_when_the_conversation_opens(
    talker: Talker, triton: ScriptedTriton
) -> None:
    with pytest.raises(TritalkError) as caught:
        talker.ask(text="Hello", avatar="nobody").result()

    assert (code_of(caught), caught.value.stage) == (ErrorCode.UNKNOWN_AVATAR, "avatar")
    assert triton.wait_until(lambda: triton.open_streams == 0)


def test_silence_in_the_middle_of_a_turn_is_a_stall(triton: ScriptedTriton) -> None:
    triton.answer = answers.begun_then(Freeze())

    with Talker(triton.address, timeouts=SOON_STALLED) as talker:
        turn = talker.ask(text="How are you?", avatar=AVATAR)
        with pytest.raises(TritalkError) as caught:
            turn.result()
        assert triton.wait_until(lambda: triton.open_streams == 0)

    assert code_of(caught) is ErrorCode.STALLED
    assert turn.answer.media == answers.MEDIA[0]


def test_a_turn_that_never_ends_is_late(triton: ScriptedTriton) -> None:
    def chatter(question: str | bytes) -> Iterator[object]:
        yield wire.TurnStarted("turn-1", "How are you?")
        for _ in range(200):
            yield Pause(0.05)
            yield wire.ReplyText("turn-1", "and ", answers.TIMES)

    triton.answer = chatter  # type: ignore[assignment]
    with (
        Talker(triton.address, timeouts=SOON_LATE) as talker,
        pytest.raises(TritalkError) as caught,
    ):
        talker.ask(text="How are you?", avatar=AVATAR).result()

    assert code_of(caught) is ErrorCode.TIMEOUT


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (Hangup(), ErrorCode.UNAVAILABLE),
        (Abort(grpc.StatusCode.UNAVAILABLE, "Socket closed"), ErrorCode.UNAVAILABLE),
        (Abort(grpc.StatusCode.INTERNAL, "boom"), ErrorCode.INTERNAL),
        (Words("Stub process 'talker_0' is not healthy."), ErrorCode.UNAVAILABLE),
        (Words("Exceeds maximum queue size"), ErrorCode.BUSY),
        (
            Words(TritalkError(ErrorCode.NO_SPEECH, "nothing was said").to_wire()),
            ErrorCode.NO_SPEECH,
        ),
    ],
)
def test_a_turn_that_breaks_off_is_a_typed_error(
    talker: Talker, triton: ScriptedTriton, step: object, code: ErrorCode
) -> None:
    triton.answer = lambda question: iter([step])  # type: ignore[list-item]

    with pytest.raises(TritalkError) as caught:
        talker.ask(text="How are you?", avatar=AVATAR).result()

    assert code_of(caught) is code
    triton.answer = answers.answered
    assert talker.ask(text="And now?", avatar=AVATAR).result().outcome == "answered"


def test_an_error_of_the_stream_closes_the_conversation(
    talker: Talker, triton: ScriptedTriton
) -> None:
    triton.answer = answers.begun_then(Hangup())

    with talker.conversation(AVATAR) as conversation:
        conversation.ask(text="How are you?")
        with pytest.raises(TritalkError, match="ended the conversation"):
            list(conversation)
        with pytest.raises(TritalkError, match="not open"):
            conversation.ask(text="Still there?")
        assert list(conversation) == []


def test_a_server_that_goes_away_in_mid_turn_is_unavailable(
    talker: Talker, triton: ScriptedTriton
) -> None:
    triton.answer = answers.begun_then(Pause())
    turn = iter(talker.ask(text="How are you?", avatar=AVATAR))
    assert isinstance(next(turn), TurnStarted)
    triton.stop()

    with pytest.raises(TritalkError) as caught:
        list(turn)

    assert code_of(caught) is ErrorCode.UNAVAILABLE


def test_no_server_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with Talker(address, timeouts=SOON_UNCONNECTED) as talker:
        for action in (talker.avatars, talker.health, talker.ask(text="a", avatar="b").result):
            with pytest.raises(TritalkError, match=address) as caught:
                action()
            assert code_of(caught) is ErrorCode.UNAVAILABLE


def test_a_port_that_takes_connections_and_says_nothing_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        with Talker(address, timeouts=SOON_UNCONNECTED) as talker:
            for action in (talker.avatars, talker.ask(text="a", avatar="b").result):
                with pytest.raises(TritalkError) as caught:
                    action()
                assert code_of(caught) is ErrorCode.UNAVAILABLE


def test_a_server_that_does_not_open_the_conversation_is_unavailable(
    triton: ScriptedTriton,
) -> None:
    with (
        Talker(triton.address, timeouts=SOON_UNCONNECTED) as talker,
        pytest.raises(TritalkError, match="did not open the conversation") as caught,
    ):
        talker.ask(text="Hello", avatar="silent").result()

    assert code_of(caught) is ErrorCode.UNAVAILABLE


def test_a_model_that_is_not_loaded_is_unavailable(talker: Talker, triton: ScriptedTriton) -> None:
    triton.ready = ("asr",)

    for action in (talker.ask(text="Hello", avatar=AVATAR).result, talker.avatars):
        with pytest.raises(TritalkError, match="not loaded") as caught:
            action()
        assert code_of(caught) is ErrorCode.UNAVAILABLE


def test_leaving_the_loop_early_ends_the_conversation(
    talker: Talker, triton: ScriptedTriton
) -> None:
    triton.answer = answers.interruptible

    for event in talker.ask(text="How are you?", avatar=AVATAR):
        if isinstance(event, Media):
            break

    assert triton.wait_until(lambda: triton.open_streams == 0)
    assert len(triton.messages(wire.Close)) == 1


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_in_the_loop_ends_the_conversation(
    talker: Talker, triton: ScriptedTriton, error: type[BaseException]
) -> None:
    triton.answer = answers.interruptible

    def talk() -> None:
        with talker.conversation(AVATAR) as conversation:
            conversation.ask(text="How are you?")
            next(conversation)
            raise error

    with pytest.raises(error):
        talk()

    assert triton.wait_until(lambda: triton.open_streams == 0)
    assert len(triton.messages(wire.Close)) == 1


def test_closing_the_talker_ends_what_is_open(triton: ScriptedTriton) -> None:
    talker = Talker(triton.address, timeouts=PATIENCE)
    conversation = talker.conversation(AVATAR)
    conversation.open()
    talker.close()

    assert triton.wait_until(lambda: triton.open_streams == 0)
    assert len(triton.messages(wire.Close)) == 1
    with pytest.raises(TritalkError, match="not open"):
        conversation.say("Hello")


# --- conversations -----------------------------------------------------------------------------


def test_turn_after_turn_in_one_conversation(talker: Talker, triton: ScriptedTriton) -> None:
    numbers = iter("123")
    triton.answer = lambda question: answers.answered(question, turn_id=f"turn-{next(numbers)}")

    with talker.conversation(AVATAR) as conversation:
        turns = []
        for text in ("One?", "Two?", "Three?"):
            conversation.ask(text=text)
            turns.append(conversation.turn().result())

    assert [turn.turn_id for turn in turns] == ["turn-1", "turn-2", "turn-3"]
    assert [turn.question for turn in turns] == ["One?", "Two?", "Three?"]
    assert len(triton.messages(wire.Configure)) == len(triton.messages(wire.Close)) == 1


def test_a_conversation_says_how_it_was_opened(talker: Talker) -> None:
    with talker.conversation(AVATAR) as conversation:
        started = conversation.started

    assert (started.avatar_id, started.voice, started.language) == ("astronaut", "heart", "en")


def test_an_interruption_ends_the_turn(talker: Talker, triton: ScriptedTriton) -> None:
    triton.answer = answers.interruptible

    with talker.conversation(AVATAR) as conversation:
        conversation.ask(text="How are you?")
        events = []
        for event in conversation.turn():
            events.append(event)
            if isinstance(event, Media):
                conversation.interrupt()

    assert isinstance(events[-2], Interrupted)
    assert isinstance(events[-1], TurnCompleted)
    assert events[-1].outcome == "interrupted"


def test_a_failure_does_not_end_a_conversation(talker: Talker, triton: ScriptedTriton) -> None:
    triton.answer = answers.failed

    with talker.conversation(AVATAR) as conversation:
        conversation.ask(text="How are you?")
        events = list(conversation.turn())
        triton.answer = answers.answered
        conversation.ask(text="Better now?")
        answer = conversation.turn().result()

    assert any(isinstance(event, Failure) for event in events)
    assert answer.outcome == "answered"


def test_a_refused_request_is_a_failure_of_a_conversation_that_goes_on(
    talker: Talker, triton: ScriptedTriton
) -> None:
    with talker.conversation(AVATAR) as conversation:
        conversation.configure(avatar="nobody", voice="emma")
        conversation.ask(text="How are you?")
        events = list(conversation.turn())

    assert isinstance(events[0], Failure)
    assert events[0].code is ErrorCode.UNKNOWN_AVATAR
    assert isinstance(events[-1], TurnCompleted)


def test_live_speech_goes_up_while_events_come_down(talker: Talker, triton: ScriptedTriton) -> None:
    with talker.conversation(AVATAR) as conversation:

        def speak() -> None:
            for _ in range(9):
                conversation.send_audio(np.zeros(1600, dtype=np.int16))
            conversation.send_audio(b"\0\0" * 1600, end_of_speech=True)

        microphone = threading.Thread(target=speak)
        microphone.start()
        kinds = []
        for event in conversation:
            kinds.append(type(event))
            if isinstance(event, TurnCompleted):
                break
        microphone.join(5)

    assert kinds[:2] == [Transcript, TurnStarted]
    assert sum(len(one.audio) for one in triton.received) == 10 * 3200


def test_closing_from_another_thread_ends_the_iteration(talker: Talker) -> None:
    with talker.conversation(AVATAR) as conversation:
        closer = threading.Timer(0.1, conversation.close)
        closer.start()
        events = list(conversation)
        closer.join(5)

    assert events == []


def test_nothing_is_said_outside_an_open_conversation(talker: Talker) -> None:
    conversation = talker.conversation(AVATAR)
    with pytest.raises(TritalkError, match="not open"):
        conversation.say("Hello")
    with conversation:
        pass
    with pytest.raises(TritalkError, match="not open"):
        conversation.interrupt()
    with pytest.raises(TritalkError, match="once"):
        conversation.open()


# --- calls -------------------------------------------------------------------------------------


def test_a_portrait_is_registered_listed_and_deleted(
    talker: Talker, triton: ScriptedTriton, tmp_path: Path
) -> None:
    (tmp_path / "portrait.png").write_bytes(b"pixels")
    triton.models["avatar"] = {"AVATAR": wire.encode(AVATAR)}
    assert talker.register_avatar(tmp_path / "portrait.png") == AVATAR
    triton.models["avatar"] = {"AVATAR": wire.encode([AVATAR])}
    assert talker.avatars() == [AVATAR]
    talker.delete_avatar(AVATAR)

    commands = [wire.decode_avatar_command(call["COMMAND"]) for call in triton.calls["avatar"]]
    assert commands == [wire.AvatarRegister(), wire.AvatarList(), wire.AvatarDelete("astronaut")]
    assert triton.calls["avatar"][0]["IMAGE"] == b"pixels"


def test_a_refused_portrait_is_a_typed_error(talker: Talker, triton: ScriptedTriton) -> None:
    triton.models["avatar"] = TritalkError(ErrorCode.NO_FACE, "no face in it", stage="avatar")

    with pytest.raises(TritalkError, match="no face in it") as caught:
        talker.register_avatar(b"pixels")

    assert code_of(caught) is ErrorCode.NO_FACE


@pytest.mark.parametrize(
    ("size", "code"), [(0, ErrorCode.BAD_IMAGE), (16 * 2**20 + 1, ErrorCode.TOO_LARGE)]
)
def test_a_portrait_of_an_impossible_size_is_not_sent(
    talker: Talker, triton: ScriptedTriton, tmp_path: Path, size: int, code: ErrorCode
) -> None:
    with (tmp_path / "portrait.png").open("wb") as file:
        file.truncate(size)

    with pytest.raises(TritalkError) as caught:
        talker.register_avatar(tmp_path / "portrait.png")

    assert code_of(caught) is code
    assert triton.calls == {}


def test_a_missing_portrait_is_a_typed_error(talker: Talker, tmp_path: Path) -> None:
    with pytest.raises(TritalkError, match=r"absent\.png"):
        talker.register_avatar(tmp_path / "absent.png")


def test_a_recording_is_transcribed(talker: Talker, triton: ScriptedTriton) -> None:
    transcript = Transcript("Hello.", True, 1.0, "en")
    triton.models["asr"] = [{"EVENT": wire.encode(transcript)}]

    assert talker.transcribe(np.zeros(8_000), sample_rate_hz=8_000) == transcript
    assert len(triton.calls["asr"][0]["AUDIO"]) == 32_000


def test_a_text_is_synthesised(talker: Talker, triton: ScriptedTriton) -> None:
    timing = [wire.PhonemeTiming("h", 0.0, 0.1)]
    triton.models["tts"] = {
        "AUDIO": np.array([1, -1], "<i2").tobytes(),
        "SAMPLE_RATE": np.array([24_000]),
        "TIMING": wire.encode(timing),
    }

    speech = talker.synthesise("Hello.", speed=0.9)

    assert (list(speech.samples), speech.sample_rate_hz) == ([1, -1], 24_000)
    assert speech.phonemes == tuple(timing)
    assert triton.calls["tts"][0]["TEXT"] == b"Hello."
    assert triton.calls["tts"][0]["SPEED"] == pytest.approx(0.9)


def test_a_call_that_takes_too_long_is_a_timeout(triton: ScriptedTriton) -> None:
    triton.models["avatar"] = Pause()
    patient = Timeouts(connect_s=5, call_s=0.5)

    with Talker(triton.address, timeouts=patient) as talker, pytest.raises(TritalkError) as caught:
        talker.avatars()

    assert code_of(caught) is ErrorCode.TIMEOUT


def test_headers_go_with_every_call(triton: ScriptedTriton) -> None:
    triton.models["avatar"] = {"AVATAR": b"[]"}

    with Talker(triton.address, headers={"Authorization": "Bearer token"}) as talker:
        talker.avatars()

    assert triton.metadata[0]["authorization"] == "Bearer token"


def test_health_tells_what_is_missing(talker: Talker, triton: ScriptedTriton) -> None:
    assert talker.health().can_serve_turns
    triton.ready = tuple(name for name in triton.ready if name != "wav2lip")

    health = talker.health()

    assert not health.can_serve_turns
    assert health.version == "2.51.0"
    missing = [model for model in health.models if not model.ready]
    assert [model.name for model in missing] == ["wav2lip"]
    assert "no available versions" in missing[0].reason


# --- narration ---------------------------------------------------------------------------------


def narration_fragment(index: int) -> dict[str, bytes]:
    fragment = wire.Fragment(index, index * 0.5, 0.5, 12, 12_000, True)
    return {"MEDIA": answers.MEDIA[index], "FRAGMENT": wire.encode(fragment)}


def test_a_script_becomes_a_video(talker: Talker, triton: ScriptedTriton, tmp_path: Path) -> None:
    triton.models["narrate"] = [narration_fragment(0), narration_fragment(1)]

    narration = talker.narrate("Once upon a time.", avatar=AVATAR, voice="emma", speed=0.8)
    fragments = list(narration)

    assert all(isinstance(fragment, Fragment) for fragment in fragments)
    video = narration.video
    assert (video.media, video.media_s) == (b"".join(answers.MEDIA), 1.0)
    assert video.save(tmp_path / "n.mp4").read_bytes() == video.media
    call = triton.calls["narrate"][0]
    assert (call["TEXT"], call["VOICE"]) == (b"Once upon a time.", b"emma")
    assert call["SPEED"] == pytest.approx(0.8)
    assert wire.decode(call["OPTIONS"], wire.AnimateOptions).avatar_id == "astronaut"


def test_a_narration_that_fails_is_a_typed_error(talker: Talker, triton: ScriptedTriton) -> None:
    triton.models["narrate"] = [
        narration_fragment(0),
        TritalkError(ErrorCode.UNKNOWN_VOICE, "no such voice", stage="tts"),
    ]

    with pytest.raises(TritalkError) as caught:
        talker.narrate("Hello.", avatar=AVATAR).result()

    assert code_of(caught) is ErrorCode.UNKNOWN_VOICE


def test_a_narration_that_falls_silent_is_a_stall(triton: ScriptedTriton) -> None:
    triton.models |= {"narrate": [narration_fragment(0), Pause()], "animate": []}

    with (
        Talker(triton.address, timeouts=SOON_STALLED) as talker,
        pytest.raises(TritalkError) as caught,
    ):
        talker.narrate("Hello.", avatar=AVATAR).result()

    assert code_of(caught) is ErrorCode.STALLED
    assert triton.wait_until(lambda: triton.open_streams == 0)


def test_the_server_chooses_the_voice_of_a_narration(
    talker: Talker, triton: ScriptedTriton
) -> None:
    triton.models["narrate"] = [narration_fragment(0)]

    talker.narrate("Hello.", avatar=AVATAR).result()

    assert set(triton.calls["narrate"][0]) == {"TEXT", "OPTIONS"}
    assert "animate" not in triton.calls


def test_leaving_a_narration_early_stops_it(talker: Talker, triton: ScriptedTriton) -> None:
    triton.models |= {"narrate": [narration_fragment(0), Pause()], "animate": []}

    for _ in talker.narrate("Hello.", avatar=AVATAR):
        break

    assert triton.wait_until(lambda: triton.open_streams == 0)
    assert [call["CANCEL"] for call in triton.calls["animate"]] == [True]
    [narrated, stopped] = triton.sequences
    assert narrated == stopped > 0
