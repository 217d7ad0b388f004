"""A turn of nobody, so that the first of somebody does not wait for codecs and tables."""

from __future__ import annotations

import numpy as np

from tritalk.animate.portrait import Portrait
from tritalk.animate.settings import AnimateSettings
from tritalk.animate.turn import Meters, Mouths, Turn
from tritalk.audio import Samples
from tritalk.face_geometry import CROP_SIZE, Paster

_LINES = 64
_SAMPLE_RATE_HZ = 24_000


class _Unmeasured:
    def increment(self, value: float) -> None: ...

    def set(self, value: float) -> None: ...

    def observe(self, value: float) -> None: ...


def warm_up(settings: AnimateSettings) -> int:
    """Animate two steps of silence without a generator; returns the bytes of their media."""
    to_crop = np.diag([CROP_SIZE / _LINES] * 2 + [0.0])[:2]
    portrait = Portrait(
        image=np.zeros((_LINES, _LINES, 3), np.uint8),
        paster=Paster(_LINES, _LINES, to_crop),
        faces=np.zeros((settings.step_frames, CROP_SIZE, CROP_SIZE, 6), np.uint8),
    )
    meters = Meters(fps=_Unmeasured(), mel_ms=_Unmeasured())
    turn = Turn(portrait, _SAMPLE_RATE_HZ, _reference, settings=settings, meters=meters)
    try:
        silence = np.zeros(2 * settings.step_frames * _SAMPLE_RATE_HZ // 25, np.float32)
        return sum(len(media.data) for media in turn.speak(silence, True))
    finally:
        turn.close()


def _reference(mel: Samples, face: Mouths) -> Mouths:
    return face[..., 3:]
