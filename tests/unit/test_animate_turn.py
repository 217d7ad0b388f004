from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.animation import LoudnessGenerator, grey_avatar, is_lit, meters
from tests.media import watch
from tritalk import mel
from tritalk.animate.portrait import Portrait
from tritalk.animate.settings import AnimateSettings
from tritalk.animate.turn import NO_SAMPLES, Generate, Media, Meters, Turn
from tritalk.animate.warm_up import warm_up
from tritalk.face_geometry import Image
from tritalk.playback import Playback
from tritalk_client.errors import ErrorCode, TritalkError

RATE = 24_000
SPF = RATE // 25


@contextmanager
def turn_of(
    generate: Generate | None = None,
    rate: int = RATE,
    meters: Meters = meters(),  # noqa: B008
    clock: Callable[[], float] = time.monotonic,
    lead_s: float | None = None,
    **options: float,
) -> Iterator[Turn]:
    settings = AnimateSettings(**options)
    portrait = Portrait.of(grey_avatar(), settings.step_frames)
    turn = Turn(
        portrait,
        rate,
        generate or LoudnessGenerator(),
        settings=settings,
        meters=meters,
        lead_s=lead_s,
        clock=clock,
    )
    try:
        yield turn
    finally:
        turn.close()


def tone(frames: float, rate: int = RATE) -> np.ndarray:
    count = round(frames * rate / 25)
    return (0.3 * np.sin(np.arange(count) * 2 * np.pi * 220 / rate)).astype(np.float32)


def join(media: list[Media]) -> bytes:
    return b"".join(item.data for item in media)


def total_frames(media: list[Media]) -> int:
    return sum(item.fragment.frames for item in media)


def speak_all(
    pieces: list[np.ndarray], rate: int = RATE, *, end_alone: bool = False
) -> list[Media]:
    media: list[Media] = []
    with turn_of(rate=rate) as turn:
        for index, piece in enumerate(pieces):
            media += turn.speak(piece, index == len(pieces) - 1 and not end_alone)
        if end_alone:
            media += turn.speak(NO_SAMPLES, True)
    return media


def test_fragments_are_numbered_and_follow_each_other() -> None:
    media = speak_all([tone(40), tone(33.5)])

    fragments = [item.fragment for item in media]
    assert [fragment.index for fragment in fragments] == list(range(len(fragments)))
    assert fragments[0].frames == 5
    end_s = 0.0
    for fragment in fragments:
        assert fragment.start_s == pytest.approx(end_s)
        assert fragment.duration_s == pytest.approx(fragment.frames / 25)
        assert fragment.samples == fragment.frames * SPF
        end_s += fragment.duration_s
    assert total_frames(media) == 74


@settings(max_examples=8, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 59_000), max_size=6, unique=True).map(sorted),
    end_alone=st.booleans(),
    rate=st.sampled_from([16_000, 22_050, 24_000]),
)
def test_any_split_of_the_speech_gives_the_same_film(
    cuts: list[int], end_alone: bool, rate: int
) -> None:
    samples = np.random.default_rng(5).normal(0, 0.1, 60_000).astype(np.float32)
    whole = watch(join(speak_all([samples], rate)))

    split = watch(join(speak_all(np.split(samples, cuts), rate, end_alone=end_alone)))

    frames = -(-len(samples) // (rate // 25))
    assert len(split.frames) == len(whole.frames) == frames
    assert split.audio_end_s == pytest.approx(split.video_end_s, abs=1e-6)
    assert split.video_end_s == pytest.approx(frames / 25)
    # Resampled rates may differ in the last bits, which the codec may round otherwise.
    assert np.abs(split.samples - whole.samples).max() < 0.02


def test_no_drift_over_many_odd_pieces() -> None:
    pieces = [tone(3.3) for _ in range(60)]

    film = watch(join(speak_all(pieces)))

    assert len(film.frames) == -(-sum(map(len, pieces)) // SPF)
    assert film.audio_end_s == pytest.approx(film.video_end_s)


def test_lips_move_when_the_voice_is_heard_within_one_frame() -> None:
    silence = np.zeros(SPF, np.float32)
    burst = tone(3)
    samples = np.concatenate([silence.repeat(12), burst, silence.repeat(22), burst, silence])

    film = watch(join(speak_all([samples[:20_001], samples[20_001:]])))

    lit = [index for index, frame in enumerate(film.frames) if is_lit(frame)]
    loud = np.abs(film.samples).reshape(-1, SPF).max(axis=1) > 0.1
    heard = np.flatnonzero(loud).tolist()
    assert abs(lit[0] - heard[0]) <= 1
    assert abs(lit[-1] - heard[-1]) <= 1
    assert {12, 13, 14, 37, 38, 39} <= set(lit)
    assert not {*range(11), *range(17, 36)} & set(lit)


def test_the_first_mouths_are_asked_for_in_one_small_call() -> None:
    generate = LoudnessGenerator()
    with turn_of(generate) as turn:
        total_frames(list(turn.speak(tone(23), True)))

    assert generate.calls == [5, 5, 5, 5, 3]


def test_the_first_fragment_leaves_before_the_rest_is_drawn() -> None:
    gate = threading.Semaphore(1)
    with turn_of(LoudnessGenerator(gate=gate)) as turn:
        media = turn.speak(tone(50), True)
        first = next(media)
        for _ in range(20):
            gate.release()
        rest = list(media)

    assert first.fragment.frames == 5
    assert total_frames(rest) == 45


def test_a_piece_shorter_than_a_frame_waits_for_the_next() -> None:
    with turn_of() as turn:
        assert list(turn.speak(tone(0.4), False)) == []
        media = list(turn.speak(tone(0.6), False))

    assert [item.fragment.frames for item in media] == [1]


def test_an_end_without_speech_completes_the_last_frame() -> None:
    with turn_of() as turn:
        media = list(turn.speak(tone(10.5), False))
        media += turn.speak(NO_SAMPLES, True)

    film = watch(join(media))
    assert len(film.frames) == 11
    assert film.audio_end_s == pytest.approx(11 / 25)


def test_speech_and_silence_are_told_apart() -> None:
    media = speak_all([np.zeros(SPF * 5, np.float32), tone(5)])

    assert [item.fragment.spoken for item in media] == [False, True]


def test_the_piece_that_is_there_already_shapes_the_last_mouths_of_this_one() -> None:
    def last_window(following: np.ndarray) -> np.ndarray:
        generate = LoudnessGenerator()
        with turn_of(generate) as turn:
            list(turn.speak(np.zeros(SPF * 10, np.float32), False, lambda: following))
        return generate.windows[9]

    assert last_window(tone(10)).max() > 0
    assert last_window(NO_SAMPLES).max() == mel.SILENCE


def test_a_cancelled_turn_stops_after_the_step_in_work_and_stays_playable() -> None:
    gate = threading.Semaphore(3)
    generate = LoudnessGenerator(gate=gate)
    with turn_of(generate) as turn:
        speaking = turn.speak(tone(500), False)
        media = [next(speaking)]
        turn.cancel()
        gate.release()
        gate.release()
        media += speaking
        media += turn.finish()

    assert len(generate.calls) <= 4
    assert total_frames(media) <= 10
    film = watch(join(media))
    assert len(film.frames) == total_frames(media)
    assert abs(film.audio_end_s - film.video_end_s) < 0.022


def test_frames_that_were_not_sent_when_the_turn_was_cancelled_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = LoudnessGenerator()
    cancelled = threading.Event()
    pasted = 0

    def cancel_at_the_fourth_step(mel: np.ndarray, face: np.ndarray) -> np.ndarray:
        if len(draw.calls) == 3:
            turn.cancel()
            cancelled.set()
        return draw(mel, face)

    # Time stands still: the viewer's lead grows, so the third step waits for the fourth.
    with turn_of(cancel_at_the_fourth_step, clock=lambda: 0.0) as turn:
        paste = turn._canvas.draw

        def paste_the_third_step_when_cancelled(mouth: Image) -> object:
            nonlocal pasted
            pasted += 1
            if pasted == 15:
                assert cancelled.wait(10)
            return paste(mouth)

        monkeypatch.setattr(turn._canvas, "draw", paste_the_third_step_when_cancelled)
        media = [*turn.speak(tone(50), True), *turn.finish()]

    assert pasted == 15
    assert [item.fragment.frames for item in media] == [5, 5, 0]
    film = watch(join(media))
    assert len(film.frames) == 10
    assert film.audio_end_s == pytest.approx(film.video_end_s)


def test_a_turn_cancelled_between_pieces_ends_with_the_rest_of_its_sound() -> None:
    with turn_of() as turn:
        media = list(turn.speak(tone(12.5), False))
        turn.cancel()
        media += turn.speak(tone(50), True)
        media += turn.finish()

    film = watch(join(media))
    assert len(film.frames) == 12
    assert film.audio_end_s == pytest.approx(film.video_end_s)


def test_a_turn_cancelled_after_its_end_or_before_its_beginning_adds_nothing() -> None:
    with turn_of() as turn:
        assert list(turn.speak(tone(7), True))
        turn.cancel()
        assert list(turn.finish()) == []
    with turn_of() as turn:
        turn.cancel()
        assert list(turn.finish()) == []


def test_a_generator_that_fails_fails_the_turn_with_its_own_error() -> None:
    error = TritalkError(ErrorCode.UNAVAILABLE, "no GPU", stage="wav2lip")
    with turn_of(LoudnessGenerator(error=error, fails_at_call=2)) as turn:
        speaking = turn.speak(tone(50), True)
        delivered = [next(speaking)]
        with pytest.raises(TritalkError) as caught:
            delivered += speaking

    assert caught.value is error
    assert len(watch(join(delivered)).frames) == total_frames(delivered)


def test_a_generator_that_hangs_is_not_waited_for() -> None:
    gate = threading.Semaphore(0)
    with turn_of(LoudnessGenerator(gate=gate), generator_timeout_s=0.05) as turn:
        with pytest.raises(TritalkError) as caught:
            list(turn.speak(tone(5), True))
        gate.release()

    assert caught.value.code is ErrorCode.TIMEOUT
    assert caught.value.retryable


def test_work_is_measured_per_fragment_and_per_step() -> None:
    measured = meters()
    with turn_of(meters=measured) as turn:
        media = list(turn.speak(tone(23), True))

    assert len(measured.fps.values) == len(media)
    assert len(measured.mel_ms.values) == 5
    assert all(value > 0 for value in measured.fps.values)


def test_a_paced_turn_is_never_further_ahead_of_its_viewer_than_its_lead() -> None:
    # given a viewer who plays each fragment as soon as he has it
    generate, playback = LoudnessGenerator(), Playback()
    ahead_s, held_s, lengths = [], [], []

    with turn_of(generate, lead_s=0.6) as turn:
        for item in turn.speak(tone(50), True):
            now = time.monotonic()
            held_s.append(playback.lead_s(now))
            ahead_s.append(sum(generate.calls) / 25 - playback.position_s(now))
            playback.sent(item.fragment.duration_s, now)
            lengths.append(item.fragment.frames)

    # then what is drawn is within the lead but for the time it takes to say so
    assert sum(lengths) == 50
    assert max(ahead_s) < 0.6 + 0.1
    assert lengths[0] == 5
    assert max(lengths) <= 15
    # and he never waits, once he has begun
    assert all(held > 0 for held in held_s[1:])


def test_a_paced_film_is_the_same_film() -> None:
    with turn_of(lead_s=0.3) as turn:
        paced = list(turn.speak(tone(12.5), False)) + list(turn.speak(tone(12.5), True))

    film, whole = watch(join(paced)), watch(join(speak_all([tone(12.5), tone(12.5)])))
    assert len(film.frames) == len(whole.frames) == 25
    assert film.audio_end_s == pytest.approx(film.video_end_s)
    assert max(item.fragment.duration_s for item in paced) <= 0.3


def test_a_paced_turn_does_not_begin_the_next_piece_too_early() -> None:
    with turn_of(lead_s=0.4) as turn:
        began = time.monotonic()
        list(turn.speak(tone(10), False))
        next(turn.speak(tone(10), True))
        waited_s = time.monotonic() - began

    # The second piece's first step has room when the viewer holds no more than the other step.
    assert waited_s >= 0.2


def test_waiting_for_the_viewer_is_no_work() -> None:
    measured = meters()
    with turn_of(meters=measured, lead_s=0.2) as turn:
        began = time.monotonic()
        list(turn.speak(tone(25), True))
        took_s = time.monotonic() - began

    # given a turn that did hardly anything but wait
    assert took_s >= 0.8
    assert min(measured.fps.values) > 2 * 25 / took_s


def test_a_cancel_ends_the_wait_for_the_viewer_at_once() -> None:
    with turn_of(lead_s=60.0) as turn:
        # given a viewer with a minute in hand
        turn._playback.sent(60.0, time.monotonic())
        timer = threading.Timer(0.05, turn.cancel)
        timer.start()
        began = time.monotonic()
        media = list(turn.speak(tone(50), True))
        took_s = time.monotonic() - began
        timer.join()

    assert media == []
    assert took_s < 1.0


def test_a_cancel_does_not_wait_for_the_mouths_that_are_being_drawn() -> None:
    gate = threading.Semaphore(1)
    with turn_of(LoudnessGenerator(gate=gate)) as turn:
        speaking = turn.speak(tone(50), True)
        media = [next(speaking)]
        turn.cancel()
        media += [*speaking, *turn.finish()]
        gate.release()

    assert total_frames(media) == 5
    assert len(watch(join(media)).frames) == 5


def drawing_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "animate-draw" in thread.name]


def test_no_thread_is_left_when_a_turn_is_closed() -> None:
    with turn_of() as turn:
        list(turn.speak(tone(20), False))
        assert drawing_threads()

    for thread in drawing_threads():
        thread.join(10)
    assert drawing_threads() == []


def test_warming_up_makes_a_film_and_leaves_no_thread() -> None:
    assert warm_up(AnimateSettings()) > 1000

    for thread in drawing_threads():
        thread.join(10)
    assert drawing_threads() == []
