"""Whole turns through gRPC, with the real models."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import media
from benchmarks.demo import word_error_rate
from benchmarks.scrape import scrape
from export import assets
from tritalk import metrics
from tritalk.server import Server
from tritalk_client import Answer, Event, Media, Talker, TurnCompleted
from tritalk_client.wire import AvatarInfo, Sampling

HARVARD = ("F1_harvard_phrases.wav", "F2_harvard_phrases.wav", "M1_harvard_phrases.wav")

# What is fed on a machine with a GPU only.
NOT_FED = {metrics.GPU_MEMORY.name}


def end_of_turn(events: Iterable[Event]) -> TurnCompleted:
    return next(event for event in events if isinstance(event, TurnCompleted))


@pytest.fixture(scope="module")
def talker(server: Server) -> Talker:
    return Talker(server.grpc_url)


@pytest.fixture(scope="module")
def avatar(talker: Talker) -> AvatarInfo:
    return talker.register_avatar(assets.path("astronaut"))


@pytest.fixture(scope="module")
def answer(talker: Talker, avatar: AvatarInfo) -> Answer:
    """A warm answer to a spoken question."""
    talker.ask(text="Hello.", avatar=avatar).result()
    return talker.ask(assets.recordings("harvard-phrases")[HARVARD[2]].path, avatar=avatar).result()


@pytest.fixture(scope="module")
def video(answer: Answer, tmp_path_factory: pytest.TempPathFactory) -> media.Video:
    path = answer.save(tmp_path_factory.mktemp("video") / "answer.mp4")
    return media.read(path)


def test_the_question_is_understood(answer: Answer) -> None:
    assert answer.transcript is not None
    text = assets.recordings("harvard-phrases")[HARVARD[2]].text
    assert word_error_rate(text, answer.transcript.text) <= 0.1


def test_the_answer_is_spoken_intelligibly(
    talker: Talker, answer: Answer, video: media.Video
) -> None:
    heard = talker.transcribe(video.samples, sample_rate_hz=video.sample_rate_hz)

    assert word_error_rate(answer.reply, heard.text) <= 0.15


def test_sound_and_picture_have_the_same_length(answer: Answer, video: media.Video) -> None:
    assert video.fps == 25
    assert abs(video.video_s - video.audio_s) <= 0.04
    assert video.video_s == pytest.approx(answer.media_s, abs=0.001)


def test_the_picture_has_the_size_of_the_portrait(avatar: AvatarInfo, video: media.Video) -> None:
    assert video.frames.shape[1:3] == (avatar.height, avatar.width)


def test_only_the_face_moves(avatar: AvatarInfo, video: media.Video) -> None:
    face = avatar.face
    outside = video.frames[:, : face.y // 2].astype(int)
    mouth = video.frames[
        :, face.y + face.height // 2 : face.y + face.height, face.x : face.x + face.width
    ].astype(int)

    assert abs(outside - outside[0]).mean() < 1
    assert abs(mouth - mouth[0]).mean() > 2


def test_the_first_frame_comes_before_the_last_token_of_a_longer_answer(
    talker: Talker, avatar: AvatarInfo
) -> None:
    answer = talker.ask(text="Tell me a short story about a dog.", avatar=avatar).result()

    assert answer.reply.count(".") >= 2
    assert answer.stages_ms.first_frame is not None
    assert answer.stages_ms.last_token is not None
    assert answer.stages_ms.first_frame < answer.stages_ms.last_token


def test_any_number_of_first_fragments_is_playable(
    talker: Talker, avatar: AvatarInfo, tmp_path: Path
) -> None:
    conversation = talker.say("One two three. Four five six. Seven eight nine.", avatar=avatar)
    pieces = [event.data for event in conversation if hasattr(event, "data")]

    assert len(pieces) >= 3
    for count in (1, 2, len(pieces)):
        path = tmp_path / f"{count}.mp4"
        path.write_bytes(b"".join(pieces[:count]))
        assert len(media.read(path).frames) > 0


def test_three_conversations_at_once_each_get_their_own_answer(
    talker: Talker, avatar: AvatarInfo, tmp_path: Path
) -> None:
    spoken = assets.recordings("harvard-phrases")

    def ask(name: str) -> Answer:
        return talker.ask(spoken[name].path, avatar=avatar).result()

    with ThreadPoolExecutor(3) as pool:
        answers = dict(zip(HARVARD, pool.map(ask, HARVARD), strict=True))
    alone = {name: ask(name) for name in HARVARD}

    assert len({answer.reply for answer in alone.values()}) == 3
    for name in HARVARD:
        assert answers[name].outcome == "answered"
        assert answers[name].question == alone[name].question
        assert word_error_rate(spoken[name].text, answers[name].question) <= 0.1
        # Its voice says its own words.
        video = media.read(answers[name].save(tmp_path / f"{name}.mp4"))
        heard = talker.transcribe(video.samples, sample_rate_hz=video.sample_rate_hz)
        assert word_error_rate(answers[name].reply, heard.text) <= 0.15


def test_the_same_session_remembers_what_was_said(talker: Talker, avatar: AvatarInfo) -> None:
    sampling = Sampling(max_new_tokens=24)
    with talker.conversation(avatar, sampling=sampling) as conversation:
        conversation.ask(text="My name is Ada.")
        first = end_of_turn(conversation)
        conversation.ask(text="What is my name?")
        second = end_of_turn(conversation)

    assert first.usage is not None
    assert second.usage is not None
    # The prompt of the second turn holds the first exchange.
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


@pytest.fixture
def interrupted(talker: Talker, avatar: AvatarInfo) -> TurnCompleted:
    """A turn that was interrupted after its first piece of video."""
    with talker.conversation(avatar) as conversation:
        conversation.say("One two three four five six seven eight nine ten. " * 10)
        turn = conversation.turn()
        for event in turn:
            if isinstance(event, Media):
                conversation.interrupt()
                break
        return end_of_turn(turn)


def test_an_interruption_before_the_first_word_still_gets_the_end_of_its_turn(
    talker: Talker, avatar: AvatarInfo
) -> None:
    with talker.conversation(avatar) as conversation:
        conversation.ask(text="Tell me a long story about the sea.")
        conversation.interrupt()
        answer = conversation.turn().result()

    assert answer.outcome == "interrupted"
    assert answer.media_s < 5


def test_every_metric_of_these_models_is_live(
    server: Server, answer: Answer, interrupted: TurnCompleted
) -> None:
    assert interrupted.outcome == "interrupted"
    declared = {
        value.name: value for value in vars(metrics).values() if isinstance(value, metrics.Metric)
    }
    found = scrape(server.metrics_url)

    for name, metric in declared.items():
        if name in NOT_FED:
            continue
        sample = f"{name}_count" if metric.kind == "histogram" else name
        assert sample in found.names(), name
    assert found.value("turns_total", outcome="answered") >= 1
    assert set(found.by_label("turn_latency_ms_count", "stage")) == {
        "asr",
        "llm",
        "tts",
        "animate",
        "total",
    }
    modules = set(found.by_label("process_resident_memory_bytes", "module"))
    assert modules >= {"asr", "llm", "tts", "avatar", "animate", "talker"}
