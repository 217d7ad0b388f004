"""PCM on the wire and samples in memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tritalk_client.errors import ErrorCode, TritalkError

Samples = npt.NDArray[np.float32]
"""Mono samples in −1…1, float32 `[samples]`."""

_FULL_SCALE = 32768.0


def from_pcm(pcm: bytes) -> Samples:
    """Samples of signed 16-bit little-endian mono PCM.

    Raises:
        TritalkError: BAD_AUDIO when the bytes are not a whole number of samples.
    """
    if len(pcm) % 2:
        raise TritalkError(
            ErrorCode.BAD_AUDIO, f"PCM of 16 bits has an even number of bytes, got {len(pcm)}"
        )
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(_FULL_SCALE)


def to_pcm(samples: Samples) -> bytes:
    """Signed 16-bit little-endian PCM of samples; what is beyond −1…1 is clipped."""
    scaled = np.clip(np.round(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    pcm: bytes = scaled.astype("<i2").tobytes()
    return pcm


def pcm_bytes(seconds: float, sample_rate_hz: int) -> int:
    """Bytes of PCM that last so long."""
    return int(seconds * sample_rate_hz) * 2
