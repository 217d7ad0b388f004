"""The verdict on a video, on measurements made by hand."""

import dataclasses
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks import lipsync
from benchmarks.judge import recording
from benchmarks.judge.recording import UnusableVideoError
from benchmarks.judge.surroundings import Change, Surroundings

STILL = Change(psnr_db=60.0, mean=0.03, worst_block=1.5, most=20.0, area=0.8)


def openness(frames: int = 750) -> np.ndarray:
    noise = np.random.default_rng(3).standard_normal(frames)
    bell = np.exp(-0.5 * (np.arange(-9, 10) / 1.5) ** 2)
    return np.clip(0.3 + 0.2 * np.convolve(noise, bell, "same"), 0, 1)


def seen(gaps: np.ndarray, *, change: Change = STILL) -> lipsync.Measurement:
    return lipsync.Measurement(25.0, gaps, openness(), np.ones(750, bool), change)


def missed(measured: lipsync.Measurement) -> set[str]:
    return {name for name, row in lipsync.judge(measured).items() if row.get("ok") is False}


def test_lips_that_follow_meet_every_goal() -> None:
    assert missed(seen(0.01 + 0.15 * openness())) == set()


def test_lips_that_do_not_move_miss_the_correlation_and_the_opening() -> None:
    assert {"correlation", "gap_open"} <= missed(seen(np.full(750, 0.02)))


def test_lips_of_another_speech_miss_the_correlation() -> None:
    assert "correlation" in missed(seen(0.15 * np.roll(openness(), 250)))


def test_lips_that_are_late_miss_the_lag() -> None:
    assert "best_lag_ms" in missed(seen(0.01 + 0.15 * np.roll(openness(), 3)))


def test_lips_that_never_close_miss_the_closing() -> None:
    assert "gap_closed" in missed(seen(0.1 + 0.15 * openness()))


def test_a_mouth_that_is_never_closed_or_open_is_no_number_and_no_pass() -> None:
    measured = dataclasses.replace(seen(openness()), openness=0.3 + 0.1 * openness())
    verdict = lipsync.judge(measured)
    assert verdict["gap_closed"]["value"] is None
    assert verdict["gap_closed"]["ok"] is False


def test_a_background_that_moves_misses_its_goals() -> None:
    swaying = dataclasses.replace(STILL, psnr_db=34.0, worst_block=16.0)
    measured = seen(0.01 + 0.15 * openness(), change=swaying)
    assert missed(measured) == {"outside_psnr_db", "outside_worst_block"}


def test_a_video_with_too_little_speech_is_not_judged() -> None:
    measured = dataclasses.replace(seen(openness()), speaking=np.arange(750) < 10)
    with pytest.raises(UnusableVideoError, match="16 frames"):
        lipsync.judge(measured)


def test_a_video_in_which_nobody_speaks_is_not_judged() -> None:
    measured = dataclasses.replace(seen(openness()), speaking=np.zeros(750, bool))
    with pytest.raises(UnusableVideoError, match="nobody speaks"):
        lipsync.judge(measured)


def test_long_silence_does_not_make_lips_look_better() -> None:
    """Given lips that follow another speech, then minutes of closed lips before change nothing."""
    wrong = seen(0.15 * np.roll(openness(), 250))
    still = np.zeros(3_000)
    padded = dataclasses.replace(
        wrong,
        gaps=np.concatenate([still, wrong.gaps]),
        openness=np.concatenate([still, wrong.openness]),
        speaking=np.concatenate([still > 0, wrong.speaking]),
    )
    values = [lipsync.judge(each)["correlation"]["value"] for each in (wrong, padded)]
    assert values[1] == pytest.approx(values[0], abs=0.05)


FACE = np.array([[100.0, 100.0], [200.0, 220.0]])


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(40, 200, (320, 320, 3), dtype=np.uint8)


def test_what_happens_in_the_face_is_no_change_outside() -> None:
    surroundings = Surroundings(picture(), FACE)
    speaking = picture()
    speaking[100:220, 100:200] = 0
    surroundings.add(speaking)
    assert surroundings.change().most == 0
    assert surroundings.change().psnr_db == math.inf


def test_a_small_spot_outside_is_seen_in_its_block() -> None:
    surroundings = Surroundings(picture(), FACE)
    changed = picture()
    changed[16:32, 16:32] += 30
    surroundings.add(changed)
    change = surroundings.change()
    assert change.worst_block == pytest.approx(30)
    assert change.most == 30


def test_change_is_against_the_first_frame_not_the_one_before() -> None:
    surroundings = Surroundings(picture(), FACE)
    for drift in range(1, 6):
        surroundings.add(picture() + np.uint8(drift))
    assert surroundings.change().most == 5


def video(path: Path, *, fps: int = 25, sound_hz: int | None = 24_000) -> Path:
    """Two seconds: black, white from 1.0 s on; a click at 1.0 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=sound_hz, layout="mono") if sound_hz else None
        for k in range(2 * fps):
            frame = np.full((64, 64, 3), 255 if k >= fps else 0, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode(None))
        if audio and sound_hz:
            click = np.zeros((1, 2 * sound_hz), np.float32)
            click[0, sound_hz : sound_hz + 240] = 0.9
            frame = av.AudioFrame.from_ndarray(click, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = sound_hz, 0, Fraction(1, sound_hz)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def test_frames_and_sound_are_decoded_on_one_clock(tmp_path: Path) -> None:
    path = video(tmp_path / "click.mp4")
    sound = recording.sound(path)
    frames = list(recording.frames(path))
    first_white = next(k for k, frame in enumerate(frames) if frame.mean() > 128)
    assert recording.frame_rate(path) == 25
    assert np.argmax(np.abs(sound) > 0.3) / 16_000 == pytest.approx(first_white / 25, abs=0.005)


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video")
    with pytest.raises(UnusableVideoError, match=str(path)):
        recording.frame_rate(path)


def test_a_video_without_sound_cannot_be_judged(tmp_path: Path) -> None:
    with pytest.raises(UnusableVideoError, match="no audio"):
        recording.sound(video(tmp_path / "mute.mp4", sound_hz=None))
