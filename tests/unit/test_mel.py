"""The mel spectrogram against an independent computation, and what a stream may rely on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritalk import mel


def speech_like(samples: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(samples)
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * np.arange(samples) / 16_000)
    return (0.1 * noise * syllables).astype(np.float32)


def slow_column(samples: np.ndarray, column: int) -> list[float]:
    """One column as the formulas of Wav2Lip's audio.py and Slaney's filters say it, in float64."""

    def sample(k: int) -> float:
        if not 0 <= k < len(samples):
            return 0.0
        return float(samples[k]) - 0.97 * (float(samples[k - 1]) if k else 0.0)

    def hz(m: float) -> float:
        return m * 200 / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27)

    def mels(f: float) -> float:
        return f * 3 / 200 if f < 1000 else 15 + 27 * math.log(f / 1000) / math.log(6.4)

    frame = np.array([sample(200 * column - 400 + k) for k in range(800)])
    frame = frame * [math.sin(math.pi * k / 800) ** 2 for k in range(800)]
    turns = np.exp(-2j * np.pi * np.outer(np.arange(401), np.arange(800)) / 800)
    magnitudes = np.abs(turns @ frame)
    step = (mels(7600) - mels(55)) / 81
    values = []
    for band in range(80):
        low, centre, high = (hz(mels(55) + (band + k) * step) for k in range(3))
        total = 0.0
        for k, magnitude in enumerate(magnitudes):
            f = 20.0 * k
            weight = max(0.0, min((f - low) / (centre - low), (high - f) / (high - centre)))
            total += weight * 2 / (high - low) * magnitude
        decibels = 20 * math.log10(max(1e-5, total)) - 20
        values.append(min(4.0, max(-4.0, 8 * (decibels + 100) / 100 - 4)))
    return values


@pytest.mark.parametrize("column", [0, 1, 17, 40])
def test_columns_are_what_the_formulas_say(column: int) -> None:
    samples = speech_like(8_000)
    assert mel.mel_spectrogram(samples)[:, column] == pytest.approx(
        slow_column(samples, column), abs=2e-4
    )


def test_a_tone_is_loudest_in_the_band_of_its_frequency() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    middle = mel.mel_spectrogram(tone.astype(np.float32))[:, 40]
    # 1000 Hz is 15 of Slaney's mels; the bands' centres lie (44.96 - 0.825) / 81 mels apart.
    low, high = 0.825, 15 + 27 * math.log(7.6) / math.log(6.4)
    assert int(np.argmax(middle)) == round((15 - low) / ((high - low) / 81)) - 1


def test_silence_is_the_least_value_everywhere() -> None:
    assert np.all(mel.mel_spectrogram(np.zeros(4_000, np.float32)) == mel.SILENCE)


@pytest.mark.parametrize(("samples", "columns"), [(0, 0), (1, 1), (199, 1), (200, 2), (16_000, 81)])
def test_there_is_a_column_for_every_hop_begun(samples: int, columns: int) -> None:
    assert mel.mel_spectrogram(speech_like(samples)).shape == (80, columns)


def test_long_recordings_are_computed_in_blocks_without_a_seam() -> None:
    samples = speech_like(1_030 * 200)
    whole = mel.mel_spectrogram(samples)
    tail = mel.mel_spectrogram(samples[1_000 * 200 :])
    assert whole[:, 1_003:] == pytest.approx(tail[:, 3:], abs=1e-5)


def test_the_window_of_a_frame_begins_one_frame_early() -> None:
    spectrogram = np.tile(np.arange(100, dtype=np.float32), (80, 1))
    first, sixth = mel.windows(spectrogram, [1, 6])
    assert first[0, 0].tolist() == list(range(16))
    assert sixth[0, 0].tolist() == list(range(16, 32))


def test_outside_the_recording_windows_hold_silence() -> None:
    spectrogram = np.zeros((80, 10), np.float32)
    (begin, end) = mel.windows(spectrogram, [0, 2])
    assert np.all(begin[0, :, :4] == mel.SILENCE)
    assert np.all(begin[0, :, 4:14] == 0)
    assert np.all(end[0, :, 7:] == mel.SILENCE)


def test_windows_of_no_frames_are_none() -> None:
    assert mel.windows(np.zeros((80, 10), np.float32), []).shape == (0, 1, 80, 16)


@given(frame=st.integers(0, 60), fps=st.sampled_from([25.0, 30.0, 24.0]))
@settings(deadline=None, max_examples=30)
def test_a_window_is_final_once_the_look_ahead_is_heard(frame: int, fps: float) -> None:
    samples = speech_like(4 * 16_000)
    known = math.ceil((frame / fps + mel.look_ahead_ms(fps) / 1000) * 16_000)
    heard, whole = mel.mel_spectrogram(samples[:known]), mel.mel_spectrogram(samples)
    assert mel.windows(heard, [frame], fps) == pytest.approx(
        mel.windows(whole, [frame], fps), abs=1e-5
    )


def test_less_look_ahead_is_not_enough() -> None:
    samples = speech_like(16_000)
    known = math.ceil((6 / 25 + mel.LOOK_AHEAD_MS / 1000) * 16_000) - 400
    heard, whole = mel.mel_spectrogram(samples[:known]), mel.mel_spectrogram(samples)
    assert not np.allclose(mel.windows(heard, [6]), mel.windows(whole, [6]), atol=1e-3)


@given(fifth=st.integers(0, 8), extra=st.integers(0, 20))
@settings(deadline=None, max_examples=30)
def test_a_piece_cut_where_columns_and_frames_meet_has_the_windows_of_the_whole(
    fifth: int, extra: int
) -> None:
    samples = speech_like(4 * 16_000)
    cut = 5 * fifth
    frames = [cut + 2 + extra]
    piece = mel.mel_spectrogram(samples[cut * 640 :])
    whole = mel.mel_spectrogram(samples)
    assert mel.windows(piece, [frame - cut for frame in frames]) == pytest.approx(
        mel.windows(whole, frames), abs=1e-5
    )


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1, 1), (640, 1), (641, 2), (16_000, 25)])
def test_frames_cover_the_samples(samples: int, frames: int) -> None:
    assert mel.frame_count(samples) == frames
