"""What a mouth should do during a recording, by Rhubarb, steadied.

Rhubarb changes its mind over noise that nobody hears: labels of the same recording with and without
a hiss of −65 dB correlate by 0.66…0.97 in openness. The mean over several faint hisses is steadier
than any single answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.lipsync import rhubarb, shapes
from tritalk.audio import Samples
from tritalk.mel import SAMPLE_RATE_HZ


def mouth_track(samples: Samples, folder: Path, *, hisses_db: Sequence[float]) -> shapes.FloatArray:
    """The mouth parameters' course, the mean of one answer for each hiss.

    Args:
        samples: Mono samples at 16 kHz.
        folder: Where Rhubarb lies.
        hisses_db: Levels of white noise against full scale, `-inf` for none.

    Returns:
        float32 `[n, 5]` as `shapes.track` gives it, of the samples' length.

    Raises:
        FileNotFoundError: Rhubarb's program is not in the folder.
        RuntimeError: Rhubarb refuses the audio.
    """
    tracks = []
    for seed, level_db in enumerate(hisses_db):
        noise = np.random.default_rng(seed).standard_normal(len(samples)) * 10 ** (level_db / 20)
        labels = rhubarb.mouth_shapes((samples + noise).astype(np.float32), folder)
        tracks.append(shapes.track(labels, len(samples) / SAMPLE_RATE_HZ))
    mean: shapes.FloatArray = np.mean(tracks, axis=0, dtype=np.float32)
    return mean
