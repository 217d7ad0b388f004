"""The mel spectrogram that drives the lips: one implementation for training, serving and judging.

The parameters are Wav2Lip's (its `hparams.py` and `audio.py`), so that its published checkpoints
understand it: 16 kHz, pre-emphasis 0.97, a Hann window of 800 samples every 200 (80 columns a
second), 80 Slaney mel bands from 55 to 7600 Hz, decibels less 20, −100…0 dB mapped to −4…4.

Timing. The window of video frame i begins one video frame before the frame is shown, at
(i − 1) / fps, and lasts 200 ms, as in Wav2Lip's training (its own inference script begins at i / fps
and its lips lead the voice by 40 ms). Given window i for frame i, generators that tritalk trains
show what is heard in the middle of the frame's time, (i + 0.5) / fps. Before the first and after the
last sample there is silence.

Look-ahead. The window of frame i is final once the audio is known up to `LOOK_AHEAD_MS` after the
frame's start; `WindowStream` hands windows out as soon as they are final, the same windows whatever
the pieces in which the audio comes.

Level. Samples are taken as they are: a gain that depends on the whole utterance cannot be known in a
stream. The default generator is trained for voices of −26…0 dB peak.
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
    return _columns(_emphasised(samples, 0.0), len(samples) // HOP_SAMPLES + 1)


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


class WindowStream:
    """The windows of a stream's video frames, handed out as its audio makes them final.

    Args:
        fps: Frames per second of the video.
    """

    def __init__(self, fps: float = 25.0) -> None:
        self._fps = fps
        # Emphasised samples that the next column needs; silence lies before the audio.
        self._tail = np.zeros(_FFT_SAMPLES // 2, np.float32)
        self._previous = 0.0
        self._samples = 0
        self._column = 0
        self._frame = 0
        self._mel = np.zeros((BANDS, 0), np.float32)
        self._mel_start = 0

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples at 16 kHz, of any length.

        Returns:
            The windows that became final, in the order of their frames, float32 `[n, 1, 80, 16]`.
        """
        if not len(samples):
            return self._take(0)
        self._tail = np.concatenate([self._tail, _emphasised(samples, self._previous)])
        self._previous = float(samples[-1])
        self._samples += len(samples)
        self._extend((len(self._tail) - _FFT_SAMPLES) // HOP_SAMPLES + 1)
        ready = 0
        while first_column(self._frame + ready, self._fps) + WINDOW_COLUMNS <= self._column:
            ready += 1
        return self._take(ready)

    def finish(self) -> FloatArray:
        """End the audio: the windows of the remaining frames, whose future is silence."""
        self._tail = np.concatenate([self._tail, np.zeros(_FFT_SAMPLES // 2, np.float32)])
        if self._samples:
            self._extend(self._samples // HOP_SAMPLES + 1 - self._column)
        return self._take(frame_count(self._samples, self._fps) - self._frame)

    def _extend(self, count: int) -> None:
        if count <= 0:
            return
        self._mel = np.concatenate([self._mel, _transform(self._tail, count)], axis=1)
        self._tail = self._tail[count * HOP_SAMPLES :]
        self._column += count

    def _take(self, count: int) -> FloatArray:
        frames = range(self._frame, self._frame + count)
        starts = [first_column(frame, self._fps) - self._mel_start for frame in frames]
        result = np.full((count, 1, BANDS, WINDOW_COLUMNS), SILENCE, np.float32)
        for window, start in zip(result[:, 0], starts, strict=True):
            low, high = max(start, 0), min(start + WINDOW_COLUMNS, self._mel.shape[1])
            if high > low:
                window[:, low - start : high - start] = self._mel[:, low:high]
        self._frame += count
        keep = max(0, first_column(self._frame, self._fps) - self._mel_start)
        self._mel = self._mel[:, keep:]
        self._mel_start += keep
        return result


def _emphasised(samples: FloatArray, previous: float) -> FloatArray:
    before = np.concatenate([np.float32([previous]), samples[:-1]])
    return (samples - np.float32(_PRE_EMPHASIS) * before).astype(np.float32)


def _columns(emphasised: FloatArray, count: int) -> FloatArray:
    half = _FFT_SAMPLES // 2
    return _transform(np.pad(emphasised, half), count)


def _transform(padded: FloatArray, count: int) -> FloatArray:
    """Columns of samples that begin half an FFT before the first column's centre."""
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[::HOP_SAMPLES][:count]
    bands = np.empty((len(frames), BANDS), np.float32)
    for start in range(0, len(frames), _COLUMNS_AT_ONCE):
        block = slice(start, start + _COLUMNS_AT_ONCE)
        magnitudes = np.abs(np.fft.rfft(frames[block] * _hann(), axis=1)).astype(np.float32)
        bands[block] = magnitudes @ _filters().T
    decibels = 20.0 * np.log10(np.maximum(bands, _LEAST_AMPLITUDE)) - _REFERENCE_DB
    scaled = 2 * _PEAK * (decibels - _FLOOR_DB) / -_FLOOR_DB - _PEAK
    return np.clip(scaled, -_PEAK, _PEAK).astype(np.float32).T


@lru_cache(maxsize=1)
def _hann() -> FloatArray:
    phase = 2 * np.pi * np.arange(_FFT_SAMPLES) / _FFT_SAMPLES
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


@lru_cache(maxsize=1)
def _filters() -> FloatArray:
    """Slaney's triangles of equal area (Auditory Toolbox, 1998), float32 `[80, 401]`."""
    edges = _mel_to_hz(np.linspace(_hz_to_mel(_LOWEST_HZ), _hz_to_mel(_HIGHEST_HZ), BANDS + 2))
    frequencies = np.linspace(0, SAMPLE_RATE_HZ / 2, _FFT_SAMPLES // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    triangles = np.maximum(0, np.minimum(rising, falling)) * area[:, None]
    return triangles.astype(np.float32)


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
    return np.where(mel < knee, mel * _LINEAR_HZ, above)
