"""The mel spectrogram that drives the lips: one implementation for training, serving and judging.

The parameters are Wav2Lip's (its `hparams.py` and `audio.py`), so that its published checkpoints
understand it: 16 kHz, pre-emphasis 0.97, a Hann window of 800 samples every 200 (80 columns a
second), 80 Slaney mel bands from 55 to 7600 Hz, decibels less 20, −100…0 dB mapped to −4…4.

Timing. Video frame i, shown from i / fps to (i + 1) / fps, is driven by the window that begins one
frame earlier, at (i − 1) / fps, and lasts 200 ms: as in Wav2Lip's training (its inference script
begins at i / fps, and its lips lead the voice by a frame). Whoever drives the generator hands
window i to frame i and shifts nothing; the default generator draws what is heard in the middle of
the frame's time, at (i + 0.5) / fps. Before the first and after the last sample there is silence.

Look-ahead. The window of frame i is final once the audio is known up to `LOOK_AHEAD_MS` after the
frame's start (172.5 ms at 25 fps): more audio changes nothing. A piece may be cut out of a longer
recording where mel columns and video frames meet, which at 25 fps is every 5 frames (16 columns);
its windows are those of the whole from one frame and 25 ms after the cut on.

Level. Samples are taken as they are: a gain that depends on the whole utterance cannot be known in
a stream. The default generator is trained for voices whose peaks are at −26…0 dB.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
HOP_SAMPLES = 200
COLUMNS_PER_SECOND = SAMPLE_RATE_HZ // HOP_SAMPLES
BANDS = 80
WINDOW_COLUMNS = 16

SILENCE = -4.0
"""Value of every band where there is no sound."""

_FFT_SAMPLES = 800
_PRE_EMPHASIS = 0.97
_LOWEST_HZ, _HIGHEST_HZ = 55.0, 7600.0
_REFERENCE_DB, _FLOOR_DB, _PEAK = 20.0, -100.0, 4.0
_LEAST_AMPLITUDE = 10 ** (_FLOOR_DB / 20)

# Bounds the memory that a long recording takes.
_COLUMNS_AT_ONCE = 1024

# The last column of the window begins at most 15 columns after the window does, and its Hann window
# reaches half of the FFT beyond its centre; the window begins one frame (40 ms at 25 fps) early.
_REACH_SAMPLES = (WINDOW_COLUMNS - 1) * HOP_SAMPLES + _FFT_SAMPLES // 2


def look_ahead_ms(fps: float = 25.0) -> float:
    """Audio that must be known after the start of a frame for its window to be final, in ms."""
    return _REACH_SAMPLES * 1000.0 / SAMPLE_RATE_HZ - 1000.0 / fps


LOOK_AHEAD_MS = look_ahead_ms(25.0)
"""Look-ahead at 25 fps: 172.5 ms."""


def mel_spectrogram(samples: FloatArray) -> FloatArray:
    """The mel spectrogram of a whole recording.

    Args:
        samples: Mono samples at 16 kHz in −1…1, float32 `[n]`.

    Returns:
        float32 `[80, n // 200 + 1]` in −4…4; column k is centred on sample 200·k. Empty for n = 0.
    """
    if not len(samples):
        return np.zeros((BANDS, 0), np.float32)
    emphasised = np.asarray(samples, np.float32).copy()
    emphasised[1:] -= np.float32(_PRE_EMPHASIS) * samples[:-1]
    padded = np.pad(emphasised, _FFT_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[::HOP_SAMPLES]
    parts = [
        _decibels(frames[start : start + _COLUMNS_AT_ONCE])
        for start in range(0, len(frames), _COLUMNS_AT_ONCE)
    ]
    scaled = 2 * _PEAK * (np.concatenate(parts) - _FLOOR_DB) / -_FLOOR_DB - _PEAK
    return np.ascontiguousarray(np.clip(scaled, -_PEAK, _PEAK).astype(np.float32).T)


def windows(mel: FloatArray, frames: Iterable[int], fps: float = 25.0) -> FloatArray:
    """The windows that drive these video frames.

    Args:
        mel: A spectrogram that begins with the video, float32 `[80, columns]`.
        frames: Numbers of the video frames, from 0.
        fps: Frames per second of the video.

    Returns:
        float32 `[frames, 1, 80, 16]`; columns outside the spectrogram are silence.
    """
    starts = np.array([first_column(frame, fps) for frame in frames], np.int64)
    columns = starts[:, None] + np.arange(WINDOW_COLUMNS)
    inside = (columns >= 0) & (columns < mel.shape[1])
    padded = np.pad(mel, ((0, 0), (0, 1)), constant_values=SILENCE)
    return np.ascontiguousarray(
        padded[:, np.where(inside, columns, -1)].transpose(1, 0, 2)[:, None]
    )


def first_column(frame: int, fps: float = 25.0) -> int:
    """The column of the spectrogram where the window of a video frame begins; may be negative."""
    return math.floor((frame - 1) * COLUMNS_PER_SECOND / fps)


def frame_count(samples: int, fps: float = 25.0) -> int:
    """Video frames that cover so many samples at 16 kHz, the last one perhaps in part."""
    return math.ceil(samples * fps / SAMPLE_RATE_HZ)


def _decibels(frames: FloatArray) -> FloatArray:
    """Level of each band, less the reference: float32 `[frames, 80]`."""
    magnitudes = np.abs(np.fft.rfft(frames * _hann(), axis=1)).astype(np.float32)
    amplitudes = np.maximum(magnitudes @ _filters().T, _LEAST_AMPLITUDE)
    decibels: FloatArray = 20.0 * np.log10(amplitudes) - _REFERENCE_DB
    return decibels


@lru_cache(maxsize=1)
def _hann() -> FloatArray:
    phase = 2 * np.pi * np.arange(_FFT_SAMPLES) / _FFT_SAMPLES
    window: FloatArray = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
    return window


@lru_cache(maxsize=1)
def _filters() -> FloatArray:
    """Slaney's triangles of equal area (Auditory Toolbox, 1998), float32 `[80, 401]`."""
    lowest, highest = _hz_to_mel(_LOWEST_HZ), _hz_to_mel(_HIGHEST_HZ)
    edges: npt.NDArray[np.float64] = _mel_to_hz(np.linspace(lowest, highest, BANDS + 2))
    frequencies = np.linspace(0, SAMPLE_RATE_HZ / 2, _FFT_SAMPLES // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    triangles = np.maximum(0, np.minimum(rising, falling)) * area[:, None]
    filters: FloatArray = triangles.astype(np.float32)
    return filters


# Slaney's scale: linear up to 1 kHz (15 mels), logarithmic above.
_LINEAR_HZ = 200.0 / 3
_KNEE_HZ = 1000.0
_LOG_STEP = math.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _LINEAR_HZ
    return _KNEE_HZ / _LINEAR_HZ + math.log(hz / _KNEE_HZ) / _LOG_STEP


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    knee = _KNEE_HZ / _LINEAR_HZ
    above = _KNEE_HZ * np.exp(_LOG_STEP * (np.maximum(mel, knee) - knee))
    hz: npt.NDArray[np.float64] = np.where(mel < knee, mel * _LINEAR_HZ, above)
    return hz
