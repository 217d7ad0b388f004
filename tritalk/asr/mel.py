"""Whisper's log-mel spectrogram.

The same arithmetic as openai-whisper's `log_mel_spectrogram` with `librosa.filters.mel`: 25 ms
windows every 10 ms, power, Slaney's mel filters, log10 limited to 8 decades below the loudest
point, then `(x + 4) / 4`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from tritalk.audio import Samples

Mel = npt.NDArray[np.float32]
"""Log-mel spectrogram, float32 `[mels, frames]`."""

SAMPLE_RATE_HZ = 16_000
WINDOW = 400
HOP = 160
"""Samples from one frame to the next."""

_SMALLEST_POWER = 1e-10
_DECADES = 8.0

_FRAMES = 16
"""Frames whose bands are computed together: numpy's BLAS starts threads for larger products, which
then wait for more work in a busy loop."""


def log_mel(samples: Samples, *, mels: int) -> Mel:
    """The spectrogram of a clip, one frame per 10 ms.

    The level of silence in it is its smallest value, as long as the clip holds a frame of silence.

    Args:
        samples: At `SAMPLE_RATE_HZ`, more than half a window.
        mels: Number of mel bands.
    """
    padded = np.pad(samples, WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(samples) // HOP]
    power = np.abs(np.fft.rfft(frames * _window(), axis=-1)).astype(np.float32) ** 2
    bands = [
        mel_filters(mels) @ power[begin : begin + _FRAMES].T
        for begin in range(0, len(power), _FRAMES)
    ]
    spectrum = np.log10(np.maximum(np.concatenate(bands, axis=1), _SMALLEST_POWER))
    limited = np.maximum(spectrum, spectrum.max() - _DECADES)
    mel: Mel = ((limited + 4.0) / 4.0).astype(np.float32)
    return mel


@cache
def _window() -> npt.NDArray[np.float32]:
    """The periodic Hann window."""
    phase = 2 * np.pi * np.arange(WINDOW) / WINDOW
    return np.asarray(0.5 - 0.5 * np.cos(phase), dtype=np.float32)


@cache
def mel_filters(mels: int) -> npt.NDArray[np.float32]:
    """Slaney's triangular filters of equal area, float32 `[mels, WINDOW / 2 + 1]`.

    Source: librosa, `filters.mel(sr=16000, n_fft=400, n_mels=mels)`.
    """
    bins = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE_HZ)
    edges = _hertz(np.linspace(_mel(0.0), _mel(SAMPLE_RATE_HZ / 2), mels + 2))
    widths = np.diff(edges)
    ramps = edges[:, None] - bins
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    area = 2.0 / (edges[2:] - edges[:-2])
    return np.asarray(triangles.astype(np.float32) * area[:, None], dtype=np.float32)


# Slaney's scale: linear up to 1000 Hz (15 mel), logarithmic above.
_LINEAR_HZ = 200.0 / 3
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0


def _mel(hertz: float) -> float:
    if hertz < _KNEE_HZ:
        return hertz / _LINEAR_HZ
    return float(_KNEE_MEL + np.log(hertz / _KNEE_HZ) / _LOG_STEP)


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logarithmic = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _LINEAR_HZ, logarithmic)
