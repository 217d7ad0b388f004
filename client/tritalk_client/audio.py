"""Questions as the server wants them: PCM, signed 16-bit little-endian, mono, 16 kHz."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import INPUT_SAMPLE_RATE_HZ, MAX_AUDIO_S

Samples: TypeAlias = npt.NDArray[Any]
"""Audio as an array: `[samples]` or `[samples, channels]`, float in −1…1 or int16."""

Recording: TypeAlias = str | os.PathLike[str] | Samples
"""A recorded question: the path of a sound file, or samples."""

_BYTES_PER_SAMPLE = 2
_FULL_SCALE = 32768.0
_SAMPLE_RATES_HZ = range(4_000, 768_001)
# Loud recordings go a little beyond 1 and are clipped; far beyond are integers cast to float.
_PLAUSIBLE_PEAK = 4.0


def read_recording(
    recording: Recording,
    *,
    sample_rate_hz: int | None = None,
    longest_s: float = MAX_AUDIO_S,
) -> bytes:
    """The PCM of a whole question.

    Args:
        recording: A file of any format that libsndfile reads (WAV, FLAC, OGG, MP3, …), or samples.
        sample_rate_hz: Sample rate of the samples in hertz; a file knows its own.
        longest_s: Longest recording that is taken, in seconds.

    Returns:
        PCM, signed 16-bit little-endian, mono, 16 kHz.

    Raises:
        TritalkError: BAD_AUDIO when the recording cannot be read, is empty or holds a sample that
            is not a number, TOO_LARGE when it is longer than `longest_s`, BAD_REQUEST when the
            sample rate is missing or given twice.
    """
    if isinstance(recording, np.ndarray):
        if sample_rate_hz is None:
            raise TritalkError(ErrorCode.BAD_REQUEST, "samples need their sample_rate_hz")
        return _pcm(recording, sample_rate_hz, "the samples", longest_s)
    if sample_rate_hz is not None:
        raise TritalkError(
            ErrorCode.BAD_REQUEST, "a sound file knows its own rate: leave sample_rate_hz out"
        )
    samples, rate = _read_file(Path(recording), longest_s)
    return _pcm(samples, rate, str(recording), longest_s)


def chunk_pcm(chunk: Samples | bytes) -> bytes:
    """The PCM of one chunk of live speech.

    Args:
        chunk: Mono samples at 16 kHz (float in −1…1 or int16), or PCM already.

    Raises:
        TritalkError: BAD_AUDIO or TOO_LARGE, as `read_recording`.
    """
    if not isinstance(chunk, bytes):
        return _pcm(chunk, INPUT_SAMPLE_RATE_HZ, "the chunk", MAX_AUDIO_S)
    if not chunk or len(chunk) % _BYTES_PER_SAMPLE:
        raise TritalkError(
            ErrorCode.BAD_AUDIO,
            f"PCM of 16 bits has an even number of bytes, at least 2; got {len(chunk)}",
        )
    _check_duration(duration_s(chunk), "the chunk", MAX_AUDIO_S)
    return chunk


def cut(pcm: bytes, *, chunk_s: float) -> list[bytes]:
    """Cut 16 kHz PCM into chunks of `chunk_s` seconds; the last one may be shorter."""
    size = int(chunk_s * INPUT_SAMPLE_RATE_HZ) * _BYTES_PER_SAMPLE
    return [pcm[start : start + size] for start in range(0, len(pcm), size)]


def duration_s(pcm: bytes) -> float:
    """Seconds of 16 kHz PCM."""
    return len(pcm) / _BYTES_PER_SAMPLE / INPUT_SAMPLE_RATE_HZ


def _read_file(path: Path, longest_s: float) -> tuple[Samples, int]:
    try:
        with soundfile.SoundFile(path) as file:
            rate: int = file.samplerate
            # One frame more than allowed is enough to know that it is too long.
            samples: Samples = file.read(
                frames=int(longest_s * rate) + 1, dtype="float32", always_2d=True
            )
    except (OSError, soundfile.SoundFileError) as error:
        reason = str(error) if path.is_file() else "there is no such file"
        raise TritalkError(
            ErrorCode.BAD_AUDIO, f"cannot read {path} as a sound file: {reason}"
        ) from error
    return samples, rate


def _pcm(samples: Samples, rate_hz: int, name: str, longest_s: float) -> bytes:
    if samples.ndim not in (1, 2) or (
        samples.ndim == 2 and samples.shape[1] > samples.shape[0] > 0
    ):
        raise TritalkError(
            ErrorCode.BAD_AUDIO,
            f"{name}: shape must be [samples] or [samples, channels], got {list(samples.shape)}",
        )
    if samples.size == 0:
        raise TritalkError(ErrorCode.BAD_AUDIO, f"{name}: there is no audio in it")
    if rate_hz not in _SAMPLE_RATES_HZ:
        raise TritalkError(
            ErrorCode.BAD_AUDIO,
            f"{name}: the sample rate must be {_SAMPLE_RATES_HZ.start} to "
            f"{_SAMPLE_RATES_HZ.stop - 1} Hz, got {rate_hz}",
        )
    _check_duration(len(samples) / rate_hz, name, longest_s)
    mono = _floats(samples, name)
    if rate_hz != INPUT_SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, INPUT_SAMPLE_RATE_HZ)
    scaled = np.clip(np.round(mono * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    pcm: bytes = scaled.astype("<i2").tobytes()
    if not pcm:
        raise TritalkError(ErrorCode.BAD_AUDIO, f"{name}: too short to hold a sample at 16 kHz")
    return pcm


def _floats(samples: Samples, name: str) -> npt.NDArray[np.float32]:
    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) / np.float32(_FULL_SCALE)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise TritalkError(
            ErrorCode.BAD_AUDIO, f"{name}: dtype must be int16 or float, got {samples.dtype}"
        )
    if not np.isfinite(samples).all():
        raise TritalkError(ErrorCode.BAD_AUDIO, f"{name}: a sample is not a finite number")
    peak = float(np.abs(samples).max())
    if peak > _PLAUSIBLE_PEAK:
        raise TritalkError(
            ErrorCode.BAD_AUDIO,
            f"{name}: float samples lie in -1…1, the loudest is {peak:g}; scale them, "
            "or give int16",
        )
    mono = samples.mean(axis=1) if samples.ndim == 2 else samples
    return mono.astype(np.float32)


def _check_duration(seconds: float, name: str, longest_s: float) -> None:
    if seconds > longest_s:
        raise TritalkError(
            ErrorCode.TOO_LARGE, f"{name}: longer than {longest_s:g} s, cut it into questions"
        )
