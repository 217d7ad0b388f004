from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritalk import mel
from tritalk.animate.encoder import SAMPLE_RATES_HZ
from tritalk.animate.speech import Speech

NOTHING = np.zeros(0, np.float32)


def noise(seconds: float, rate: int) -> np.ndarray:
    return (np.random.default_rng(7).normal(0, 0.1, round(seconds * rate))).astype(np.float32)


def speech_of(samples: np.ndarray, rate: int) -> Speech:
    speech = Speech(rate)
    speech.append(samples)
    return speech


@pytest.mark.parametrize("rate", SAMPLE_RATES_HZ)
def test_windows_are_the_same_whatever_the_steps(rate: int) -> None:
    samples = noise(1.6, rate)
    whole = speech_of(samples, rate).windows(range(40), NOTHING)

    speech = speech_of(samples, rate)
    stepped = [speech.windows(range(i, min(i + 3, 40)), NOTHING) for i in range(0, 40, 3)]

    assert np.abs(np.concatenate(stepped) - whole).max() < 1e-4


def test_windows_are_those_of_the_whole_recording_at_16_khz() -> None:
    samples = noise(1.0, 16_000)

    windows = speech_of(samples, 16_000).windows(range(10, 20), NOTHING)

    assert np.allclose(windows, mel.windows(mel.mel_spectrogram(samples), range(10, 20)), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(1, 23_999))
def test_a_following_piece_that_is_known_gives_the_windows_of_the_joined_speech(cut: int) -> None:
    rate, samples = 24_000, noise(1.0, 24_000)
    whole = speech_of(samples, rate).windows(range(25), NOTHING)

    speech = speech_of(samples[:cut], rate)
    before = speech.frames
    first = speech.windows(range(before), samples[cut:])
    speech.append(samples[cut:])
    second = speech.windows(range(before, 25), NOTHING)

    assert np.abs(np.concatenate([first, second]) - whole).max() < 1e-4


def test_a_following_piece_that_is_not_known_is_silence() -> None:
    rate, samples = 24_000, noise(1.0, 24_000)
    silence = np.zeros(rate, np.float32)

    unknown = speech_of(samples, rate).windows(range(20, 25), NOTHING)
    silent = speech_of(samples, rate).windows(range(20, 25), silence)

    assert np.abs(unknown - silent).max() < 1e-4


def test_what_is_left_of_a_frame_counts_once_it_is_complete() -> None:
    speech = speech_of(np.zeros(960 * 3 + 500, np.float32), 24_000)
    assert speech.frames == 3

    speech.append(np.zeros(460, np.float32))

    assert speech.frames == 4


def test_the_last_frame_is_completed_with_silence() -> None:
    speech = speech_of(np.ones(960 * 3 + 500, np.float32), 24_000)

    silence = speech.pad()

    assert speech.frames == 4
    assert silence.tolist() == [0.0] * 460
    assert len(speech.pad()) == 0


def test_memory_of_what_was_animated_is_freed_and_frames_still_count() -> None:
    speech = speech_of(noise(4.0, 24_000), 24_000)

    speech.windows(range(90, 95), NOTHING)

    assert len(speech._samples) < 24_000
    assert speech.frames == 100


def test_speech_is_told_from_silence_and_from_breath() -> None:
    voice = np.sin(np.arange(960) * 0.1).astype(np.float32)
    speech = speech_of(np.concatenate([voice * 0.001, voice * 0.1, voice * 0]), 24_000)

    assert [speech.is_spoken(range(i, i + 1)) for i in range(3)] == [False, True, False]
    assert speech.is_spoken(range(3))
