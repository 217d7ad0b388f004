"""The SDK against the real server."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from benchmarks.demo import word_error_rate
from benchmarks.scrape import scrape
from export import assets
from tests.media import watch
from tritalk.environment import repository_root
from tritalk.metrics import MEL_TIME
from tritalk.server import Server
from tritalk_client import (
    AsyncTalker,
    AvatarInfo,
    ErrorCode,
    Failure,
    Interrupted,
    Media,
    Recorder,
    Speaking,
    Talker,
    Transcript,
    TritalkError,
    TurnCompleted,
    TurnStarted,
)
from tritalk_client.replay import replay
from tritalk_client.script import read_script

HARVARD = "F1_harvard_phrases.wav"
FILM_S_TOLERANCE = 0.04
SENTENCES = 20
STILL_WITHIN_S = 120
EXAMPLE = repository_root() / "client" / "examples" / "mid_sentence.yaml"


@pytest.fixture(scope="module")
def talker(server: Server) -> Iterator[Talker]:
    with Talker(server.grpc_url) as talker:
        yield talker


@pytest.fixture(scope="module")
def avatar(talker: Talker) -> AvatarInfo:
    return talker.register_avatar(assets.path("astronaut"))


@pytest.fixture(autouse=True)
def no_thread_of_the_sdk_is_left() -> Iterator[None]:
    yield
    names = [thread.name for thread in threading.enumerate()]
    assert "tritalk-stream" not in names


def test_the_server_says_that_turns_can_be_served(talker: Talker) -> None:
    health = talker.health()

    assert health.can_serve_turns
    assert all(model.versions == ("1",) for model in health.models)


def test_a_portrait_is_known_until_it_is_deleted(talker: Talker, avatar: AvatarInfo) -> None:
    again = talker.register_avatar(assets.path("astronaut").read_bytes())

    assert again.avatar_id == avatar.avatar_id
    assert avatar in talker.avatars()


def test_an_unknown_portrait_cannot_be_deleted(talker: Talker) -> None:
    with pytest.raises(TritalkError) as caught:
        talker.delete_avatar("feedfeedfeedfeed")

    assert caught.value.code is ErrorCode.UNKNOWN_AVATAR


def test_a_recording_is_transcribed_as_an_array_as_well_as_from_its_file(talker: Talker) -> None:
    path = assets.recordings("harvard-phrases")[HARVARD].path
    samples, rate = soundfile.read(path)

    from_file = talker.transcribe(path)

    from_array = talker.transcribe(samples, sample_rate_hz=rate)

    assert from_file.text
    assert (from_array.text, from_array.audio_s) == (from_file.text, from_file.audio_s)


def test_a_text_is_synthesised_with_the_timing_of_its_phonemes(talker: Talker) -> None:
    speech = talker.synthesise("Good morning.")

    assert speech.samples.dtype == np.int16
    assert 0.4 < len(speech.samples) / speech.sample_rate_hz < 3
    ends = [phoneme.start_s + phoneme.duration_s for phoneme in speech.phonemes]
    assert ends == sorted(ends)


def test_the_portrait_says_the_words_that_it_is_given(talker: Talker, avatar: AvatarInfo) -> None:
    answer = talker.say("The boats leave at noon.", avatar=avatar).result()

    film = watch(answer.media)
    assert answer.reply == "The boats leave at noon."
    assert (answer.question, answer.transcript, answer.usage) == ("", None, None)
    assert answer.media_s == pytest.approx(film.video_end_s, abs=FILM_S_TOLERANCE)
    assert answer.arrivals.first_spoken is not None
    assert answer.stages_ms.first_frame is not None
    assert answer.arrivals.first_spoken >= answer.stages_ms.first_frame


def test_a_question_at_the_speed_of_speech_is_timed_from_its_end(
    talker: Talker, avatar: AvatarInfo
) -> None:
    recording = assets.recordings("harvard-phrases")[HARVARD].path

    answer = talker.ask(recording, avatar=avatar, pace=True).result()

    assert answer.transcript is not None
    assert answer.transcript.audio_s > 3
    # Both count from the end of the question: the length of the speech is not between them.
    assert answer.arrivals.completed is not None
    assert answer.stages_ms.total is not None
    on_the_way_ms = answer.arrivals.completed - answer.stages_ms.total
    assert on_the_way_ms / 1000 < answer.transcript.audio_s


def test_an_interrupted_answer_is_a_playable_film_and_the_conversation_goes_on(
    talker: Talker, avatar: AvatarInfo
) -> None:
    with talker.conversation(avatar) as conversation:
        conversation.say("One two three four five six seven eight nine ten. " * 10)
        turn = conversation.turn()
        events = []
        for event in turn:
            events.append(event)
            if isinstance(event, Media) and event.spoken:
                conversation.interrupt()
        conversation.say("Good.")
        after = conversation.turn().result()

    assert [type(event) for event in events[-2:]] == [Interrupted, TurnCompleted]
    cut = turn.answer
    assert cut.outcome == "interrupted"
    assert watch(cut.media).video_end_s == pytest.approx(cut.media_s, abs=FILM_S_TOLERANCE)
    assert cut.media_s < 20
    assert (after.outcome, after.reply) == ("answered", "Good.")


def test_a_new_question_interrupts_the_answer_to_the_last(
    talker: Talker, avatar: AvatarInfo
) -> None:
    with talker.conversation(avatar) as conversation:
        conversation.say("One two three four five six seven eight nine ten. " * 10)
        left = conversation.turn()
        for event in left:
            if isinstance(event, Media):
                break
        conversation.say("Good.")
        after = conversation.turn().result()

    assert (left.answer.outcome, after.outcome) == ("interrupted", "answered")
    assert after.reply == "Good."


def test_a_setting_that_is_refused_leaves_the_conversation_as_it_was(
    talker: Talker, avatar: AvatarInfo
) -> None:
    with talker.conversation(avatar) as conversation:
        conversation.configure(avatar="feedfeedfeedfeed")
        conversation.say("Good.")
        events = list(conversation.turn())

    assert isinstance(events[0], Failure)
    assert events[0].code is ErrorCode.UNKNOWN_AVATAR
    assert isinstance(events[1], TurnStarted)
    assert isinstance(events[-1], TurnCompleted)
    assert events[-1].outcome == "answered"


def test_a_narration_that_nobody_listens_to_frees_the_server(
    server: Server, talker: Talker, avatar: AvatarInfo
) -> None:
    # given a long script, whose sentences take so many steps of animation each
    sentence = "The boats leave at noon, and the light is beautiful today. "
    before = steps_made(server)
    talker.narrate(sentence, avatar=avatar).result()
    steps_of_a_sentence = steps_made(server) - before
    assert steps_of_a_sentence > 1

    # when nobody listens to the narration any more
    before = steps_made(server)
    for fragment in talker.narrate(sentence * SENTENCES, avatar=avatar):
        assert fragment.data
        break
    made = steps_when_still(server) - before

    # then the animation stops long before its end, and the next one is served
    assert 0 < made < steps_of_a_sentence * SENTENCES / 2
    film = talker.narrate("Good.", avatar=avatar, speed=1.5).result()
    assert watch(film.media).video_end_s == pytest.approx(film.media_s, abs=FILM_S_TOLERANCE)


def steps_made(server: Server) -> float:
    """How many steps of animation, of as many frames each, have begun so far."""
    return scrape(server.metrics_url).value(f"{MEL_TIME.name}_count")


def steps_when_still(server: Server) -> float:
    """The same, once a second has passed without another."""
    deadline = time.monotonic() + STILL_WITHIN_S
    last = -1.0
    while (made := steps_made(server)) != last:
        assert time.monotonic() < deadline, "the animation does not stop"
        last = made
        time.sleep(1)
    return made


# --- hands-free, recorded, by a script ---------------------------------------------------------


def test_a_recording_is_heard_hands_free_and_answered(talker: Talker, avatar: AvatarInfo) -> None:
    recording = assets.recordings("harvard-phrases")[HARVARD]

    with talker.conversation(avatar) as conversation:
        conversation.listen(recording.path, silence_s=1.5)
        turns, events = [], []
        # He pauses between his sentences, and interrupts the answer to the first.
        while not turns or turns[-1].answer.outcome == "interrupted":
            turns.append(conversation.turn())
            events += turns[-1]

    assert any(isinstance(event, Speaking) for event in events)
    partials = [event for event in events if isinstance(event, Transcript) and not event.final]
    assert partials
    for earlier, later in itertools.pairwise(partials):
        assert later.utterance != earlier.utterance or later.text.startswith(earlier.stable)
    heard = [event for event in events if isinstance(event, Transcript) and event.final]
    assert word_error_rate(recording.text, " ".join(event.text for event in heard)) <= 0.3
    assert turns[-1].answer.outcome == "answered"
    assert turns[-1].answer.stages_ms.endpoint is not None


def test_a_session_is_gone_on_with_in_another_conversation(
    talker: Talker, avatar: AvatarInfo
) -> None:
    with talker.conversation(avatar) as conversation:
        conversation.ask(text="My name is Ada.")
        assert conversation.turn().result().outcome == "answered"
        session_id = conversation.session_id
    with talker.conversation(avatar, session_id=session_id) as conversation:
        assert conversation.started.resumed
        assert conversation.started.history == 2


def test_answers_that_were_kept_are_forgotten(talker: Talker, avatar: AvatarInfo) -> None:
    talker.ask(text="Who are you?", avatar=avatar, answer_cache=True).result()

    assert talker.forget_answers("Who are you?") >= 1
    assert talker.forget_answers("Who are you?") == 0


def test_a_conversation_by_a_script_is_recorded_with_both_voices(
    talker: Talker, avatar: AvatarInfo, tmp_path: Path
) -> None:
    script = read_script(EXAMPLE)
    settings = script.settings
    settings.avatar_id = None
    given = {k: v for k, v in msgspec.structs.asdict(settings).items() if v is not None}

    with (
        Recorder(tmp_path / "talk.mp4") as recorder,
        talker.conversation(avatar, **given) as conversation,
    ):
        recorder.attach(conversation)
        happened = replay(conversation, script.voiced(talker.synthesise))

    outcomes = [each.event.outcome for each in happened if isinstance(each.event, TurnCompleted)]
    assert outcomes == ["interrupted", "answered"]
    film = watch((tmp_path / "talk.mp4").read_bytes())
    assert film.video_end_s == pytest.approx(film.audio_end_s, abs=0.1)
    assert film.video_end_s >= happened[-1].at_s - 0.1


def test_asyncio_offers_the_same(server: Server, avatar: AvatarInfo) -> None:
    async def talk() -> list[str]:
        async with AsyncTalker(server.grpc_url) as talker:
            assert (await talker.health()).can_serve_turns
            assert avatar in await talker.avatars()
            turns = [talker.say(text, avatar=avatar).result() for text in ("One.", "Two.")]
            replies = [answer.reply for answer in await asyncio.gather(*turns)]
            async with talker.conversation(avatar) as conversation:
                await conversation.ask(text="Say hello.")
                async for event in conversation.turn():
                    if isinstance(event, Media):
                        conversation.interrupt()
                conversation.say("Three.")
                replies.append((await conversation.turn().result()).reply)
            film = await talker.narrate("Four.", avatar=avatar).result()
            assert film.media_s > 0
            return replies

    assert asyncio.run(talk()) == ["One.", "Two.", "Three."]
