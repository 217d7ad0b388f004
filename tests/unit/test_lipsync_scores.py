"""How well lips follow a voice, on made signals whose answers are known."""

import math

import numpy as np
import pytest

from benchmarks.judge import scores

FPS = 25.0


def syllables(seconds: float, *, late_s: float = 0.0, seed: int = 1) -> np.ndarray:
    """A smooth movement without a beat of its own, optionally late."""
    fine = np.random.default_rng(seed).standard_normal(round((seconds + 2) * 200))
    bell = np.exp(-0.5 * (np.arange(-60, 61) / 12) ** 2)
    times = np.arange(round(seconds * FPS)) / FPS - late_s
    return np.interp((times + 1) * 200, np.arange(len(fine)), np.convolve(fine, bell, "same"))


def sync(movement: np.ndarray, reference: np.ndarray) -> scores.Sync:
    return scores.sync(movement, reference, speaking=np.ones(len(reference), bool), fps=FPS)


def test_a_movement_that_follows_exactly_is_in_sync() -> None:
    found = sync(3 * syllables(20) + 7, syllables(20))
    assert found.correlation == pytest.approx(1)
    assert found.best_lag_ms == 0


@pytest.mark.parametrize("late_ms", [-120, -40, 60, 150])
def test_the_lag_is_found_with_its_sign(late_ms: int) -> None:
    found = sync(syllables(20, late_s=late_ms / 1000), syllables(20))
    assert found.best_lag_ms == pytest.approx(late_ms, abs=5)
    assert found.best_correlation > 0.98 > found.correlation


def test_a_mouth_that_does_the_opposite_correlates_negatively() -> None:
    assert sync(-syllables(20), syllables(20)).correlation == pytest.approx(-1)


def test_a_mouth_that_does_not_move_correlates_with_nothing() -> None:
    found = sync(np.full(500, 0.1), syllables(20))
    assert found.correlation == 0
    assert found.control == 0


def test_the_control_of_unrelated_time_is_small_for_lips_in_sync() -> None:
    found = sync(syllables(60), syllables(60))
    assert abs(found.control) < 2 * found.chance


def test_the_control_is_high_where_any_speech_would_fit() -> None:
    """One syllable in silence reads the same backwards: such a video proves nothing."""
    bump = np.exp(-(((np.arange(101) - 50) / 20) ** 2))
    assert sync(bump, bump).control > 0.9


def test_pauses_alone_do_not_raise_the_control() -> None:
    """Given two sentences with a pause between them, which reads the same backwards."""
    speech = np.abs(syllables(6))
    pause, speech = np.zeros(30), speech / speech.max()
    course = np.concatenate([pause, 0.3 + speech[:75], pause, 0.3 + speech[75:], pause])
    found = scores.sync(course, course, speaking=course > 0, fps=FPS)
    everything = sync(course, course)
    assert everything.control > 0.4
    assert abs(found.control) < 0.4 * everything.control


def test_chance_is_as_far_as_unrelated_movements_stray() -> None:
    strayed, expected = [], []
    for seed in range(60):
        one, other = syllables(10, seed=seed), syllables(10, seed=seed + 1000)
        strayed.append(scores.pearson(one, other))
        expected.append(scores.chance(one, other))
    assert np.std(strayed) == pytest.approx(np.mean(expected), rel=0.4)


def test_chance_shrinks_with_length() -> None:
    short, long = syllables(4), syllables(64)
    assert scores.chance(long, long) < 0.5 * scores.chance(short, short)


def test_courses_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="500 frames of movement, 499 of reference"):
        sync(syllables(20), syllables(20)[:-1])


def test_too_little_speech_is_refused_with_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"at least 1\.2 s"):
        sync(syllables(1), syllables(1))


def test_psnr_of_equal_pictures_is_infinite() -> None:
    assert scores.psnr_db(0.0) == math.inf


def test_psnr_of_one_level_of_difference() -> None:
    assert scores.psnr_db(1.0) == pytest.approx(48.13, abs=0.01)
