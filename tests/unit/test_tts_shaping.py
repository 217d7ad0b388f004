from __future__ import annotations

import numpy as np
import pytest

from tritalk.audio import Samples
from tritalk.tts import shaping
from tritalk.tts.engine import SILENCE, Phone, Spoken
from tritalk.tts.hibari import phones, split

RATE_HZ = 24_000


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def tone(seconds: float, amplitude: float = 0.1) -> Samples:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (amplitude * np.sin(2 * np.pi * 200 * time_s)).astype(np.float32)


def phrase(lead_s: float, tail_s: float) -> Spoken:
    """Half a second of sound, a phoneme of it, in silence."""
    samples = np.concatenate([silence(lead_s), tone(0.5), silence(tail_s)])
    return Spoken(samples, [Phone(SILENCE, lead_s), Phone("a", 0.5), Phone(SILENCE, tail_s)])


@pytest.mark.parametrize(("lead_s", "tail_s"), [(0.3, 0.4), (0.1, 0.1), (0.5, 0.02)])
def test_silence_is_cut_or_filled_to_measure(lead_s: float, tail_s: float) -> None:
    trimmed = shaping.trim(phrase(lead_s, tail_s), RATE_HZ, lead_s=0.02, tail_s=0.2)

    assert len(trimmed.samples) == pytest.approx(0.72 * RATE_HZ, abs=0.01 * RATE_HZ)
    heard = np.flatnonzero(np.abs(trimmed.samples) > 0.01)
    assert heard[0] == pytest.approx(0.02 * RATE_HZ, abs=0.006 * RATE_HZ)


def test_less_silence_than_wanted_before_speech_is_left() -> None:
    trimmed = shaping.trim(phrase(0.01, 0.3), RATE_HZ, lead_s=0.2, tail_s=0.1)

    assert len(trimmed.samples) == pytest.approx(0.61 * RATE_HZ, abs=0.01 * RATE_HZ)


@pytest.mark.parametrize("tail_s", [0.05, 0.6])
def test_the_phones_stay_with_the_sound(tail_s: float) -> None:
    trimmed = shaping.trim(phrase(0.3, 0.2), RATE_HZ, lead_s=0.02, tail_s=tail_s)

    assert [phone.symbol for phone in trimmed.phones] == [SILENCE, "a", SILENCE]
    lead, sound, _ = (phone.duration_s for phone in trimmed.phones)
    assert lead == pytest.approx(0.02, abs=0.006)
    assert sound == pytest.approx(0.5)
    total_s = sum(phone.duration_s for phone in trimmed.phones)
    assert total_s == pytest.approx(len(trimmed.samples) / RATE_HZ, abs=1e-9)


def test_a_cut_begins_and_ends_without_a_click() -> None:
    humming = Spoken(np.concatenate([tone(0.2, 1e-4), tone(0.5), tone(0.2, 1e-4)]), [])

    trimmed = shaping.trim(humming, RATE_HZ, lead_s=0.05, tail_s=0.05)

    assert abs(trimmed.samples[0]) < 1e-6
    assert abs(trimmed.samples[-1]) < 1e-6


def test_silence_alone_is_left_as_it_is() -> None:
    spoken = Spoken(silence(0.2), [Phone(SILENCE, 0.2)])

    assert shaping.trim(spoken, RATE_HZ, lead_s=0.0, tail_s=0.0) is spoken


@pytest.mark.parametrize("amplitude", [0.04, 0.1, 0.5])
def test_speech_is_always_as_loud(amplitude: float) -> None:
    # silence around it does not count
    samples = np.concatenate([silence(1.0), tone(0.5, amplitude), silence(1.0)])

    levelled = shaping.level(samples, RATE_HZ, -20.0)

    sounding = levelled[RATE_HZ : RATE_HZ + RATE_HZ // 2]
    assert 20 * np.log10(np.sqrt(np.mean(sounding**2))) == pytest.approx(-20.0, abs=0.2)


def test_a_peak_is_not_clipped() -> None:
    samples = tone(0.5, 0.01)
    samples[100] = 0.9

    assert np.abs(shaping.level(samples, RATE_HZ, -10.0)).max() <= 0.9


def test_what_is_nearly_silent_is_not_blown_up() -> None:
    assert np.abs(shaping.level(tone(0.5, 0.001), RATE_HZ, -20.0)).max() < 0.005
    assert not shaping.level(silence(0.1), RATE_HZ, -20.0).any()


def test_timing_runs_on_through_phrases_without_gaps() -> None:
    spoken = [
        Spoken(silence(0.3), [Phone("a", 0.1), Phone(SILENCE, 0.2)]),
        Spoken(silence(0.4), [Phone("b", 1 / 3), Phone(SILENCE, 0.2 / 3)]),
    ]

    timing = shaping.timing(spoken)

    assert [phone.symbol for phone in timing] == ["a", SILENCE, "b", SILENCE]
    for before, after in zip(timing, timing[1:], strict=False):
        assert before.start_s + before.duration_s == pytest.approx(after.start_s, abs=2e-6)
    assert timing[-1].start_s + timing[-1].duration_s == pytest.approx(0.7, abs=2e-6)


def test_marks_lend_their_time_to_the_sounds_they_mark() -> None:
    # pad, h, stress, O, length mark, full stop, pad
    found = phones("hˈOː.", [0.3, 0.05, 0.1, 0.2, 0.05, 0.1, 0.02])

    assert [phone.symbol for phone in found] == [SILENCE, "h", "O", SILENCE]
    assert [phone.duration_s for phone in found] == pytest.approx([0.3, 0.05, 0.35, 0.12])


def test_phonemes_are_cut_behind_clauses_before_words() -> None:
    assert split("aaa, bbb ccc", 9) == ["aaa,", "bbb ccc"]
    assert split("aaa bbb ccc", 9) == ["aaa bbb", "ccc"]
    assert split("a" * 20, 9) == ["a" * 9, "a" * 9, "aa"]
    assert split("short", 9) == ["short"]
    assert split("", 9) == []
