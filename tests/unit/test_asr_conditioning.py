"""What is done to a microphone's signal."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tritalk.asr import noise
from tritalk.asr.conditioning import FRAME, Conditioner
from tritalk.audio import Samples
from tritalk.settings import SettingsError

RATE_HZ = 16_000
RANDOM = np.random.default_rng(0)


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(samples.astype(np.float64))) + 1e-15))


def tone(frequency_hz: float, seconds: float, level: float = 0.3) -> Samples:
    times = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def syllables(seconds: float, level: float = 0.3) -> Samples:
    """Something that comes and goes like speech, 4 times a second, over a quiet background."""
    samples = tone(300, seconds, level)
    loud = np.sin(2 * np.pi * 4 * np.arange(len(samples)) / RATE_HZ) > 0
    return (samples * loud + RANDOM.normal(0, 1e-5, len(samples))).astype(np.float32)


def test_a_signal_of_a_good_level_is_left_as_it_is() -> None:
    samples = tone(1000, 2)
    treated = Conditioner().take(samples)
    np.testing.assert_allclose(treated[RATE_HZ:], samples[RATE_HZ:], atol=0.03)


def test_an_offset_is_gone_from_the_first_sample() -> None:
    treated = Conditioner().take(tone(1000, 1) + np.float32(0.4))
    assert abs(treated.mean()) < 1e-3
    assert np.abs(treated).max() < 0.32


def test_rumble_is_gone_and_voices_are_not() -> None:
    voice = Conditioner().take(tone(150, 2))
    both = Conditioner().take(tone(150, 2) + tone(15, 2))
    assert level_db(voice[RATE_HZ:]) > level_db(tone(150, 2)) - 0.5
    assert level_db((both - voice)[RATE_HZ:]) < level_db(tone(15, 2)) - 20


@pytest.mark.parametrize("quieter_db", [20, 30, 40])
def test_a_quiet_voice_is_raised(quieter_db: float) -> None:
    treated = Conditioner().take(syllables(4, level=0.3 * 10 ** (-quieter_db / 20)))
    assert level_db(treated[:RATE_HZ]) > level_db(syllables(4)) - 25
    assert level_db(treated[RATE_HZ:]) > level_db(syllables(4)) - 20


@pytest.mark.parametrize("silence_db", [-90, -70, -60])
def test_silence_is_not_blown_up(silence_db: float) -> None:
    silence = RANDOM.normal(0, 10 ** (silence_db / 20), 20 * RATE_HZ).astype(np.float32)
    assert level_db(Conditioner().take(silence)) < silence_db + 1


def test_noise_that_was_taken_for_a_voice_is_soon_not_raised_any_more() -> None:
    noise_ = RANDOM.normal(0, 10 ** (-45 / 20), 20 * RATE_HZ).astype(np.float32)
    treated = Conditioner().take(noise_)
    assert level_db(treated[4 * RATE_HZ :]) < -44


def test_a_shout_after_a_whisper_does_not_clip() -> None:
    whisper = syllables(3, level=0.005)
    treated = Conditioner().take(np.concatenate([whisper, tone(300, 1, level=0.9)]))
    assert np.abs(treated).max() <= 1
    loud = treated[3 * RATE_HZ + FRAME :]
    assert (np.abs(loud) > 0.99).mean() < 0.01


def test_a_clipped_signal_stays_within_bounds() -> None:
    treated = Conditioner().take(np.clip(tone(200, 2, level=9), -1, 1) * np.float32(1))
    assert np.abs(treated).max() <= 1


@pytest.mark.parametrize("seed", range(3))
def test_the_sizes_of_the_chunks_change_nothing(seed: int) -> None:
    samples = syllables(1.23, level=0.01)
    at_once = Conditioner().take(samples, end=True)
    random, conditioner, begin, parts = np.random.default_rng(seed), Conditioner(), 0, []
    while begin < len(samples):
        size = int(random.integers(0, 900))
        end = begin + size >= len(samples)
        parts.append(conditioner.take(samples[begin : begin + size], end=end))
        begin += size
    np.testing.assert_array_equal(np.concatenate(parts), at_once)
    assert len(at_once) == len(samples)


def test_noise_is_suppressed_by_the_library_where_it_is_installed() -> None:
    hiss = RANDOM.normal(0, 0.02, 4 * RATE_HZ).astype(np.float32)
    treated = Conditioner(noise.WebRtcNoiseFilter(3)).take(hiss)
    assert level_db(treated[3 * RATE_HZ :]) < level_db(hiss) - 6


def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "webrtc_noise_gain", None)
    noise.check(0)
    with pytest.raises(SettingsError, match=r"tritalk\[noise\].*noise_suppression to 0"):
        noise.check(2)
