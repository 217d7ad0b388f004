"""The training set on disk: clips of speech and what a mouth does during them.

python -m export.lipsync.corpus FOLDER makes it; what is already there is kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from export import assets
from export.lipsync import labels, speech
from tritalk.mel import SAMPLE_RATE_HZ

_HISSES_DB = (float("-inf"), -65.0)


def main() -> None:
    """Synthesise and label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rhubarb", type=Path, help="folder of Rhubarb's program")
    parser.add_argument("--hibari-minutes", type=float, default=18.0)
    parser.add_argument("--flite-minutes", type=float, default=3.5, help="of each of four voices")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rhubarb = options.rhubarb or assets.path("rhubarb")
    options.folder.mkdir(parents=True, exist_ok=True)
    spoken_s = 0.0
    for clip in speech.clips(
        seed=options.seed,
        hibari_minutes=options.hibari_minutes,
        flite_minutes=options.flite_minutes,
    ):
        spoken_s += len(clip.samples) / SAMPLE_RATE_HZ
        path = options.folder / f"{clip.name}.npz"
        if not path.exists():
            track = labels.mouth_track(clip.samples, rhubarb, hisses_db=_HISSES_DB)
            partial = path.with_suffix(".part.npz")
            np.savez(partial, samples=clip.samples, track=track)
            partial.replace(path)
        print(f"{clip.name}: {spoken_s / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main()
