"""Do the lips of a finished video follow its voice? Judged from the file alone.

    python -m benchmarks.lipsync VIDEO.mp4 [--json out/lipsync.json]

MediaPipe's face mesh measures the gap between the lips in every decoded frame; Rhubarb says from
the decoded sound how far a mouth that speaks so is open. Both also had a part in what they judge:
Rhubarb labelled the speech that the default generator learned from, and the mesh finds the face
when an avatar is made. Exit code 1 when a goal is missed, 2 when the video cannot be judged.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import results
from benchmarks.judge import recording, scores
from benchmarks.judge.recording import UnusableVideoError
from benchmarks.judge.surroundings import Change, Surroundings
from export import assets
from export.errors import MissingAssetError
from export.lipsync import labels, shapes
from tritalk import environment
from tritalk.avatar.detector import FaceDetector
from tritalk.avatar.mesh import FaceMesh

# A quarter of a second around the speech shows whether the mouth rests where nobody speaks; longer
# silence would make the correlation look better than the lips are.
_MARGIN_S = 0.25

_HISSES_DB = (float("-inf"), -70.0, -65.0, -60.0)
_RESTING_BELOW = 0.1
_CLOSED_BELOW, _OPEN_ABOVE = 0.08, 0.5
_FACE_CONFIDENCE = 0.6

_LEAST_CORRELATION = 0.5
_MOST_LAG_MS = 60.0
# In a few seconds chance alone strays further than this: then three of its standard errors count.
# Phrases begin and end alike, which lifts the control of a few seconds a little above 0.
_MOST_CONTROL = 0.15
_MOST_CHANCES = 3.0
# Less is closed lips to an eye, and the mesh reads up to 0.05 of beards and smiles.
_MOST_CLOSED_GAP = 0.06
_LEAST_OPEN_GAP = 0.06
# A still background differs from the first frame by codec noise alone: measured on two portraits
# with x264 at qp 20, crf 23 and crf 28, 56 dB and more, and no block over 2.1 levels. What must be
# noticed: a portrait that sways by one pixel (28…34 dB, blocks of 15 levels and more), a spot of
# 32×32 pixels that drifts by 19 levels (46…51 dB, 18 levels).
_LEAST_PSNR_DB = 50.0
# What equal pictures count as: JSON knows no infinity.
_MOST_PSNR_DB = 100.0
_MOST_BLOCK_CHANGE = 4.0


@dataclass(frozen=True)
class Goal:
    """What a measure is held to."""

    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        """Whether a value is good enough; NaN never is."""
        if self.at_least is not None and not value >= self.at_least:
            return False
        return self.at_most is None or value <= self.at_most

    def __str__(self) -> str:
        """For a table."""
        parts = [f"≥ {self.at_least:.3g}"] if self.at_least is not None else []
        parts += [f"≤ {self.at_most:.3g}"] if self.at_most is not None else []
        return " and ".join(parts)


@dataclass(frozen=True)
class Measurement:
    """What was seen and heard of a video."""

    fps: float
    gaps: scores.Course
    """Lip gap of each frame, in distances between the eyes."""
    openness: scores.Course
    """Rhubarb's openness of each frame, 0…1."""
    speaking: npt.NDArray[np.bool_]
    """The frames in which somebody speaks."""
    change: Change


def measure(video: Path, *, models: Path, rhubarb_folder: Path) -> Measurement:
    """Look at every frame of a video and listen to it.

    Args:
        video: H.264 and AAC in MP4, or anything else that FFmpeg decodes.
        models: Folder of `face_detector.onnx` and `face_landmarker.task`.
        rhubarb_folder: Folder of Rhubarb's program.

    Raises:
        UnusableVideoError: Nobody is seen, or nobody speaks.
        FileNotFoundError: A model is not there.
    """
    fps = recording.frame_rate(video)
    detect = FaceDetector(models / "face_detector.onnx", confidence=_FACE_CONFIDENCE)
    mesh_of = FaceMesh(models / "face_landmarker.task")
    frames = recording.frames(video)
    first = next(frames, None)
    if first is None:
        raise UnusableVideoError(f"{video}: no frames")
    faces = detect(first)
    if not faces:
        raise UnusableVideoError(f"{video}: no face in the first frame")
    surroundings = Surroundings(first, mesh_of(first, faces[0]).points)
    gaps = []
    for frame in chain([first], frames):
        # The mesh refines the first frame's box around its own points, so it follows the face.
        gaps.append(mesh_of(frame, faces[0]).lip_gap)
        surroundings.add(frame)
    track = labels.mouth_track(recording.sound(video), rhubarb_folder, hisses_db=_HISSES_DB)
    mouths = shapes.at(track, (np.arange(len(gaps)) + 0.5) / fps).astype(np.float64)
    return Measurement(
        fps,
        np.array(gaps),
        mouths[:, 0],
        mouths.max(1) > _RESTING_BELOW,
        surroundings.change(),
    )


def judge(measured: Measurement) -> dict[str, dict[str, Any]]:
    """The rows of the verdict: value, goal and whether it is met, by name.

    Raises:
        UnusableVideoError: There is too little speech.
    """
    span = _span(measured.speaking, measured.fps)
    gaps, openness, speaking = measured.gaps[span], measured.openness[span], measured.speaking[span]
    try:
        sync = scores.sync(gaps, openness, speaking=speaking, fps=measured.fps)
    except ValueError as error:
        raise UnusableVideoError(str(error)) from error
    most_control = max(_MOST_CONTROL, _MOST_CHANCES * sync.chance)
    rows = {
        "correlation": (sync.correlation, Goal(at_least=_LEAST_CORRELATION)),
        "best_lag_ms": (sync.best_lag_ms, Goal(at_least=-_MOST_LAG_MS, at_most=_MOST_LAG_MS)),
        "control": (sync.control, Goal(at_least=-most_control, at_most=most_control)),
        "gap_closed": (_mean(gaps[openness < _CLOSED_BELOW]), Goal(at_most=_MOST_CLOSED_GAP)),
        "gap_open": (_mean(gaps[openness > _OPEN_ABOVE]), Goal(at_least=_LEAST_OPEN_GAP)),
        "outside_psnr_db": (
            min(measured.change.psnr_db, _MOST_PSNR_DB),
            Goal(at_least=_LEAST_PSNR_DB),
        ),
        "outside_worst_block": (measured.change.worst_block, Goal(at_most=_MOST_BLOCK_CHANGE)),
    }
    verdict: dict[str, dict[str, Any]] = {
        name: {"value": _number(value), "goal": str(goal), "ok": goal.met(value)}
        for name, (value, goal) in rows.items()
    }
    told = {
        "chance": sync.chance,
        "best_correlation": sync.best_correlation,
        "outside_mean": measured.change.mean,
        "outside_max": measured.change.most,
        "outside_area": measured.change.area,
        "frames": len(gaps),
    }
    return verdict | {name: {"value": _number(value)} for name, value in told.items()}


def _span(speaking: npt.NDArray[np.bool_], fps: float) -> slice:
    """The frames from the first in which somebody speaks to the last, with a margin."""
    frames = np.flatnonzero(speaking)
    if not len(frames):
        raise UnusableVideoError("nobody speaks in the video")
    margin = round(_MARGIN_S * fps)
    return slice(max(0, int(frames[0]) - margin), int(frames[-1]) + margin + 1)


def _number(value: float) -> float | None:
    """For JSON; None where there was nothing to measure."""
    return round(value, 3) if math.isfinite(value) else None


def _mean(values: scores.Course) -> float:
    return float(values.mean()) if len(values) else float("nan")


def main() -> int:
    """Judge a video; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lipsync", description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--json", type=Path, help="where to write the verdict")
    parser.add_argument(
        "--models",
        type=Path,
        default=environment.repository_root() / "model_repository" / "avatar" / "1",
        help="folder of face_detector.onnx and face_landmarker.task",
    )
    parser.add_argument("--rhubarb", type=Path, help="folder of Rhubarb's program")
    options = parser.parse_args()
    try:
        folder = options.rhubarb or assets.path("rhubarb")
        rows = judge(measure(options.video, models=options.models, rhubarb_folder=folder))
    except (UnusableVideoError, MissingAssetError, FileNotFoundError) as error:
        print(f"lipsync: {error}", file=sys.stderr)
        return 2
    for name, row in rows.items():
        verdict = ("ok" if row["ok"] else "MISSED") if "ok" in row else ""
        print(f"{name:22}{row['value']!s:>10}  {row.get('goal', ''):22}{verdict}")
    if options.json:
        document = {"video": str(options.video), "rows": rows, **results.provenance()}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.get("ok", True) for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
