"""Noise suppression by the library `webrtc-noise-gain`, which is installed where it is wanted."""

from __future__ import annotations

import importlib
from typing import Any

from tritalk.asr.conditioning import FRAME
from tritalk.audio import Samples, from_pcm, to_pcm
from tritalk.settings import SettingsError

STRONGEST = 4


class WebRtcNoiseFilter:
    """WebRTC's noise suppression for one sequence.

    Args:
        level: 1 to `STRONGEST`.

    Raises:
        SettingsError: The library is not installed.
    """

    def __init__(self, level: int) -> None:
        self._processor: Any = _library().AudioProcessor(0, level)

    def clean(self, frame: Samples) -> Samples:
        """See `tritalk.asr.conditioning.NoiseFilter`."""
        return from_pcm(self._processor.Process10ms(to_pcm(frame)).audio)[:FRAME]


def check(level: int) -> None:
    """Whether noise can be suppressed at this level.

    Raises:
        SettingsError: The library that it takes is not installed.
    """
    if level:
        _library()


def _library() -> Any:
    try:
        return importlib.import_module("webrtc_noise_gain")
    except ImportError as error:
        raise SettingsError(
            "noise_suppression needs the library webrtc-noise-gain: install it with "
            "`pip install 'tritalk[noise]'`, or set noise_suppression to 0"
        ) from error
