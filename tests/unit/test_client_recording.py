"""The recorder: a conversation as one film, checked by decoding what was written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tests.filmed import CLICK, DARK, FPS, HEIGHT, STEP, WIDTH, clicked, spoken_answer, turn
from tests.media import Film as Watched
from tests.media import watch
from tests.scripted_triton import ScriptedTriton
from tritalk_client import (
    AsyncTalker,
    ErrorCode,
    Interrupted,
    Media,
    Recorder,
    Talker,
    TritalkError,
    TurnCompleted,
)
from tritalk_client.recording.film import Film
from tritalk_client.recording.playback import Playback


def frame_numbers(film: Watched) -> list[int]:
    """Which frame of its turn is shown in each frame of the film."""
    # Studio range luma, as it comes back from a picture of one grey.
    grey = [float(frame[HEIGHT // 4 : HEIGHT // 2].mean()) for frame in film.frames]
    return [round((value * 219 / 255 + 16 - DARK) / STEP) for value in grey]


def clicks_s(samples: np.ndarray[tuple[int], np.dtype[np.float32]], rate_hz: int) -> list[float]:
    """When clicks begin."""
    loud = np.flatnonzero(np.abs(samples) > CLICK / 4)
    begins = loud[np.diff(loud, prepend=-rate_hz) > rate_hz // 20]
    return [float(begin) / rate_hz for begin in begins]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversation.mp4"


def film_of(
    path: Path, *steps: tuple[float, Media | Interrupted | bytes], end_s: float, apart: bool = False
) -> Watched:
    """Record steps at their moments, as a recorder would, and watch the film."""
    film = Film(path, apart=apart)
    for at_s, step in steps:
        film.advance(at_s - 1.0)
        if isinstance(step, bytes):
            film.heard(step, at_s)
        else:
            film.add(step, at_s)
    film.close(end_s)
    return watch(path.read_bytes())


def at_once(fragments: list[Media], at_s: float) -> list[tuple[float, Media]]:
    return [(at_s, fragment) for fragment in fragments]


def interrupted(turn_id: str = "turn-1") -> Interrupted:
    return Interrupted(turn_id, 0.5, "I am", "speech")


# --- sync --------------------------------------------------------------------------------------


def test_what_is_said_is_heard_when_it_was_said(path: Path) -> None:
    answer = turn(click_s=0.5)

    film = film_of(path, (1.5, clicked(1.0, 0.3)), *at_once(answer, 2.0), end_s=4.0)

    # The user's click at 0.5 + 0.3, the portrait's half a second after its first fragment came.
    assert clicks_s(film.samples, film.sample_rate_hz) == pytest.approx([0.8, 2.5], abs=0.003)


def test_the_picture_belongs_to_the_sound(path: Path) -> None:
    film = film_of(path, *at_once(turn(click_s=0.52), 2.013), end_s=4.0)

    [click_s] = clicks_s(film.samples, film.sample_rate_hz)
    shown = frame_numbers(film)[int(click_s * FPS + 0.5)]
    assert shown == pytest.approx(0.52 * FPS, abs=1)


def test_the_film_has_25_frames_a_second_and_ends_with_its_sound(path: Path) -> None:
    film = film_of(path, (0.1, clicked(0.1, 0.0)), *at_once(turn(), 1.0), end_s=3.0)

    assert film.frame_times == pytest.approx([number / FPS for number in range(75)], abs=1e-3)
    assert film.video_end_s == pytest.approx(3.0, abs=1e-3)
    assert film.audio_end_s == pytest.approx(3.0, abs=0.03)


# --- what is shown -----------------------------------------------------------------------------


def test_the_portrait_stands_still_before_and_after_its_answer(path: Path) -> None:
    film = film_of(path, *at_once(turn(seconds=1.0), 1.0), end_s=3.0)

    assert frame_numbers(film) == [0] * 25 + list(range(25)) + [24] * 25


def test_an_answer_is_not_shown_before_the_one_before_has_ended(path: Path) -> None:
    first, second = turn("turn-1"), turn("turn-2", seconds=0.4)

    film = film_of(path, *at_once(first, 0.0), *at_once(second, 0.2), end_s=1.6)

    assert frame_numbers(film) == list(range(25)) + list(range(10)) + [9] * 5


def test_a_late_fragment_is_waited_for_with_the_picture_standing_still(path: Path) -> None:
    fragments = turn(seconds=0.4, click_s=0.3)

    film = film_of(path, (0.0, fragments[0]), (0.6, fragments[1]), end_s=1.0)

    assert frame_numbers(film)[:20] == [0, 1, 2, 3, 4] + [4] * 10 + [5, 6, 7, 8, 9]
    assert clicks_s(film.samples, film.sample_rate_hz) == pytest.approx([0.7], abs=0.003)


def test_an_interruption_cuts_off_what_had_not_been_played(path: Path) -> None:
    fragments = turn(seconds=2.0, click_s=1.5)

    film = film_of(path, *at_once(fragments, 1.0), (2.02, interrupted()), end_s=4.0)

    assert frame_numbers(film) == [0] * 25 + list(range(26)) + [25] * 49
    assert clicks_s(film.samples, film.sample_rate_hz) == []


def test_an_interruption_in_the_middle_of_a_fragment_stops_its_sound_too(path: Path) -> None:
    [fragment] = turn(seconds=1.0, click_s=0.7, frames_each=25)

    film = film_of(path, (0.0, fragment), (0.4, interrupted()), end_s=1.5)

    assert max(frame_numbers(film)) == 9
    assert clicks_s(film.samples, film.sample_rate_hz) == []


def test_what_still_comes_of_an_interrupted_answer_is_not_shown(path: Path) -> None:
    first, *rest = turn(seconds=1.0)
    after = turn("turn-2", seconds=0.4)

    film = film_of(
        path,
        (0.0, first),
        (0.1, interrupted()),
        *at_once(rest, 0.2),
        *at_once(after, 1.0),
        end_s=1.4,
    )

    assert frame_numbers(film) == [0, 1, 2] + [2] * 22 + list(range(10))


def test_another_portrait_and_another_voice_fit_into_the_film(path: Path) -> None:
    wide = turn("turn-2", click_s=0.5, rate_hz=16_000, width=WIDTH * 2)

    film = film_of(path, *at_once(turn(), 0.0), *at_once(wide, 1.0), end_s=2.0)

    assert {frame.shape for frame in film.frames} == {(HEIGHT, WIDTH, 3)}
    assert clicks_s(film.samples, film.sample_rate_hz) == pytest.approx([1.5], abs=0.003)


# --- what is heard -----------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True])
def test_both_voices_are_heard_at_once(path: Path, apart: bool) -> None:
    steps = [(1.0, clicked(1.0, 0.4)), *at_once(turn(click_s=0.2), 1.0)]
    film_of(path, *steps, end_s=2.5, apart=apart)

    with av.open(str(path)) as container:
        sound = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)
    left, right = (clicks_s(channel, 48_000) for channel in sound)
    user, portrait = 0.4, 1.2
    expected = ([user], [portrait]) if apart else ([user, portrait], [user, portrait])
    assert left == pytest.approx(expected[0], abs=0.003)
    assert right == pytest.approx(expected[1], abs=0.003)


def test_chunks_that_come_unevenly_are_one_voice(path: Path) -> None:
    tone = (np.sin(np.arange(32_000) * 2 * np.pi * 200 / 16_000) * 12_000).astype("<i2")
    jitter_s = np.random.default_rng(1).uniform(-0.02, 0.02, 20)
    chunks = [
        (0.1 * (number + 1) + jitter_s[number], tone[number * 1600 : (number + 1) * 1600].tobytes())
        for number in range(20)
    ]

    film = film_of(path, *chunks, *at_once(turn(seconds=0.2), 2.5), end_s=3.0)

    # A gap would let the level fall, and click.
    level = np.abs(film.samples[: round(1.9 * 48_000)]).reshape(-1, 480).max(axis=1)
    assert level[2:].min() > 0.3
    assert np.abs(film.samples).max() < 0.5


def test_the_end_of_a_voice_is_not_lost(path: Path) -> None:
    film = film_of(path, (0.5, clicked(0.5, 0.497)), *at_once(turn(seconds=0.2), 2.0), end_s=2.5)

    assert clicks_s(film.samples, film.sample_rate_hz) == pytest.approx([0.497], abs=0.003)


# --- the file ----------------------------------------------------------------------------------


def test_a_film_without_a_portrait_is_sound_alone(path: Path) -> None:
    film = Film(path, apart=False)
    film.heard(clicked(1.0, 0.5), 1.0)
    film.close(2.0)

    with av.open(str(path)) as container:
        assert not container.streams.video
        sound = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)
    assert clicks_s(sound[0], 48_000) == pytest.approx([0.5], abs=0.003)


def test_nothing_makes_no_file(path: Path) -> None:
    Film(path, apart=False).close(0.0)

    assert not path.exists()


def test_the_film_is_written_as_it_goes_and_what_is_killed_can_be_watched(path: Path) -> None:
    film = Film(path, apart=False)
    for fragment in turn():
        film.add(fragment, 0.0)
    film.advance(30.0)

    so_far = path.read_bytes()
    film.close(30.0)

    assert watch(so_far).video_end_s > 15


def test_a_long_silence_needs_no_memory(path: Path) -> None:
    film = Film(path, apart=False)
    for second in range(60):
        film.heard(clicked(1.0, 0.5), second + 1.0)
        film.advance(second)
        # A second of speech that waits to be written, and the piece that came last.
        assert len(film._user._pieces) <= 4
    film.close(60.0)


def test_what_is_no_video_is_a_typed_error_and_the_file_is_finished(path: Path) -> None:
    film = Film(path, apart=False)
    film.heard(clicked(1.0, 0.5), 1.0)
    broken = turn()[0]
    broken.data = b"\0\0\0\x08moov" + b"nonsense"
    film.add(broken, 1.5)

    with pytest.raises(TritalkError) as caught:
        film.close(2.0)

    assert caught.value.code is ErrorCode.INTERNAL
    with av.open(str(path)) as container:
        assert container.streams.audio


def test_fragments_play_one_after_the_other_on_whole_frames() -> None:
    playback = Playback()
    fragments = turn(seconds=0.4)
    playback.add(fragments[0], 0.013)
    playback.add(fragments[1], 0.05)

    shown = [playback.next_before(1.0) for _ in range(2)]

    assert [(each.begin_s, each.end_s) for each in shown if each] == [
        (pytest.approx(0.04), pytest.approx(0.24)),
        (pytest.approx(0.24), pytest.approx(0.44)),
    ]
    assert playback.next_before(1.0) is None


# --- recording a conversation ------------------------------------------------------------------


@pytest.fixture
def triton() -> Iterator[ScriptedTriton]:
    with ScriptedTriton(answer=spoken_answer) as triton:
        yield triton


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("tritalk"):
            thread.join(5)
            assert not thread.is_alive(), thread


def check(path: Path) -> None:
    """The user's click, and the portrait's a little later; the picture moves and then stands."""
    film = watch(path.read_bytes())
    user_s, portrait_s = clicks_s(film.samples, film.sample_rate_hz)
    assert user_s < portrait_s
    assert sorted(set(frame_numbers(film))) == list(range(25))
    assert film.audio_end_s == pytest.approx(film.video_end_s, abs=0.05)


def test_a_conversation_is_recorded_while_it_is_watched(triton: ScriptedTriton, path: Path) -> None:
    with (
        Talker(triton.address) as talker,
        Recorder(path) as recorder,
        talker.conversation("astronaut") as conversation,
    ):
        events = recorder.watch(conversation)
        conversation.ask(_samples(clicked(0.3, 0.1)), sample_rate_hz=16_000)
        for event in events:
            if isinstance(event, TurnCompleted):
                break

    check(path)


def test_turns_may_be_iterated_over_while_they_are_recorded(
    triton: ScriptedTriton, path: Path
) -> None:
    with (
        Talker(triton.address) as talker,
        Recorder(path) as recorder,
        talker.conversation("astronaut") as conversation,
    ):
        recorder.attach(conversation)
        conversation.ask(_samples(clicked(0.3, 0.1)), sample_rate_hz=16_000, pace=True)
        assert conversation.turn().result().outcome == "answered"

    check(path)


def test_an_exception_leaves_a_finished_film(triton: ScriptedTriton, path: Path) -> None:
    def talk() -> None:
        with (
            Recorder(path) as recorder,
            Talker(triton.address) as talker,
            talker.conversation("astronaut") as conversation,
        ):
            recorder.attach(conversation)
            conversation.ask(text="How are you?")
            for event in conversation:
                if isinstance(event, TurnCompleted):
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        talk()

    assert watch(path.read_bytes()).video_end_s >= 1.0


def test_a_conversation_of_asyncio_is_recorded(triton: ScriptedTriton, path: Path) -> None:
    async def talk() -> None:
        async with AsyncTalker(triton.address) as talker:
            with Recorder(path) as recorder:
                async with talker.conversation("astronaut") as conversation:
                    recorder.attach(conversation)
                    await conversation.ask(
                        _samples(clicked(0.3, 0.1)), sample_rate_hz=16_000, pace=True
                    )
                    await conversation.turn().result()

    asyncio.run(talk())

    check(path)


def test_a_recording_without_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(TritalkError, match="folder"):
        Recorder(tmp_path / "absent" / "conversation.mp4")


def _samples(pcm: bytes) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.frombuffer(pcm, "<i2").astype(np.int16)
