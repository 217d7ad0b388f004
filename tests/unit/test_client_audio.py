from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tritalk_client.audio import chunk_pcm, cut, duration_s, read_recording
from tritalk_client.errors import ErrorCode, TritalkError


def tone(rate_hz: int, seconds: float = 0.5, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate_hz * seconds)) / rate_hz)


def samples_of(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.float64) / 32768


def loudest_hertz(pcm: bytes) -> float:
    spectrum = np.abs(np.fft.rfft(samples_of(pcm)))
    return float(np.argmax(spectrum) * 16_000 / (len(pcm) // 2))


def refusal(action: object, *arguments: object, **options: object) -> ErrorCode:
    with pytest.raises(TritalkError) as caught:
        action(*arguments, **options)  # type: ignore[operator]
    return caught.value.code


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_a_recording_of_any_rate_becomes_16_khz_of_the_same_sound(rate_hz: int) -> None:
    pcm = read_recording(tone(rate_hz), sample_rate_hz=rate_hz)

    assert duration_s(pcm) == pytest.approx(0.5, abs=0.001)
    assert loudest_hertz(pcm) == pytest.approx(440, abs=4)


@pytest.mark.parametrize(("suffix", "channels"), [("wav", 1), ("wav", 2), ("flac", 1), ("ogg", 2)])
def test_a_file_of_any_format_becomes_mono_pcm(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"question.{suffix}"
    soundfile.write(path, np.stack([tone(44_100)] * channels, axis=1), 44_100)

    pcm = read_recording(str(path))

    assert duration_s(pcm) == pytest.approx(0.5, abs=0.01)
    assert loudest_hertz(pcm) == pytest.approx(440, abs=4)
    assert np.abs(samples_of(pcm)).max() == pytest.approx(0.5, abs=0.05)


def test_int16_at_16_khz_goes_through_unchanged() -> None:
    samples = np.array([0, 1, -1, 32767, -32768, 1234], dtype=np.int16)

    assert read_recording(samples, sample_rate_hz=16_000) == samples.astype("<i2").tobytes()


def test_a_little_beyond_full_scale_is_clipped() -> None:
    pcm = read_recording(np.array([1.5, -1.5, 0.0]), sample_rate_hz=16_000)

    assert list(np.frombuffer(pcm, "<i2")) == [32767, -32768, 0]


@pytest.mark.parametrize(
    ("samples", "rate_hz", "code"),
    [
        (np.array([]), 16_000, ErrorCode.BAD_AUDIO),
        (np.array([0.0, np.nan]), 16_000, ErrorCode.BAD_AUDIO),
        (np.array([0.0, np.inf]), 16_000, ErrorCode.BAD_AUDIO),
        (np.array([0.0, 12_000.0]), 16_000, ErrorCode.BAD_AUDIO),
        (np.zeros(100, dtype=np.uint8), 16_000, ErrorCode.BAD_AUDIO),
        (np.zeros((2, 3, 4)), 16_000, ErrorCode.BAD_AUDIO),
        (np.zeros((2, 16_000)), 16_000, ErrorCode.BAD_AUDIO),
        (np.zeros(100), 0, ErrorCode.BAD_AUDIO),
        (np.zeros(100), -1, ErrorCode.BAD_AUDIO),
        (np.zeros(100), 10**9, ErrorCode.BAD_AUDIO),
        (np.zeros(100), None, ErrorCode.BAD_REQUEST),
        (np.zeros(60 * 8_000 + 1), 8_000, ErrorCode.TOO_LARGE),
    ],
)
def test_samples_that_are_no_question_are_refused(
    samples: np.ndarray, rate_hz: int | None, code: ErrorCode
) -> None:
    assert refusal(read_recording, samples, sample_rate_hz=rate_hz) is code


def test_a_file_that_is_no_sound_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.wav"
    path.write_text("not a sound")

    with pytest.raises(TritalkError, match=r"notes\.wav") as caught:
        read_recording(path)

    assert caught.value.code is ErrorCode.BAD_AUDIO


def test_a_missing_file_is_refused_as_missing(tmp_path: Path) -> None:
    with pytest.raises(TritalkError, match="no such file"):
        read_recording(tmp_path / "absent.wav")


def test_an_empty_file_of_sound_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)

    assert refusal(read_recording, tmp_path / "empty.wav") is ErrorCode.BAD_AUDIO


def test_a_file_of_ten_minutes_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(600 * 8_000), 8_000)

    assert refusal(read_recording, tmp_path / "long.wav") is ErrorCode.TOO_LARGE


def test_the_rate_of_a_file_is_not_given_twice(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(16_000), 16_000)

    code = refusal(read_recording, tmp_path / "tone.wav", sample_rate_hz=8_000)

    assert code is ErrorCode.BAD_REQUEST


def test_a_chunk_is_pcm_or_samples() -> None:
    samples = np.array([1, 2, 3], dtype=np.int16)

    assert chunk_pcm(samples) == chunk_pcm(samples.astype("<i2").tobytes())


@pytest.mark.parametrize("chunk", [b"", b"odd"])
def test_bytes_that_are_no_samples_are_refused(chunk: bytes) -> None:
    assert refusal(chunk_pcm, chunk) is ErrorCode.BAD_AUDIO


def test_chunks_hold_all_of_the_pcm_in_order() -> None:
    pcm = bytes(range(256)) * 30

    chunks = cut(pcm, chunk_s=0.1)

    assert b"".join(chunks) == pcm
    assert [len(chunk) for chunk in chunks] == [3200, 3200, 1280]
