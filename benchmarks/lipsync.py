"""Do the lips of a finished video follow its voice? Judged by models that had no part in making it.

    python -m benchmarks.lipsync VIDEO.mp4 [--json out/lipsync.json]

MediaPipe's face mesh measures the gap between the lips in every decoded frame; Rhubarb says from
the decoded sound how far a mouth that speaks so is open. Exit code 1 when a goal is missed, 2 when
the video cannot be judged.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.judge import recording, scores
from benchmarks.judge.recording import UnusableVideoError
from benchmarks.judge.surroundings import Change, Surroundings
from export import assets
from export.lipsync import rhubarb, shapes
from tritalk import environment
from tritalk.avatar.detector import FaceDetector
from tritalk.avatar.mesh import FaceMesh

# A quarter of a second around the speech shows whether the mouth rests where nobody speaks; longer
# silence would make the correlation look better than the lips are.
_MARGIN_S = 0.25

_CLOSED_BELOW, _OPEN_ABOVE = 0.08, 0.5
_FACE_CONFIDENCE = 0.6

_LEAST_CORRELATION = 0.5
_MOST_LAG_MS = 60.0
_MOST_CONTROL = 0.15
# Less is closed lips to an eye, and the mesh reads up to 0.05 of beards and smiles.
_MOST_CLOSED_GAP = 0.06
_LEAST_OPEN_GAP = 0.08
# A still background differs from the first frame by codec noise alone. x264 at a viewer's quality
# leaves 42 dB and more between two frames of a still picture, and no block of 16×16 pixels with a
# mean difference over 6 levels; a head that moves by one pixel leaves under 35 dB.
_LEAST_PSNR_DB = 38.0
_MOST_BLOCK_CHANGE = 8.0


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
        parts = [f"≥ {self.at_least:g}"] if self.at_least is not None else []
        parts += [f"≤ {self.at_most:g}"] if self.at_most is not None else []
        return " and ".join(parts)


@dataclass(frozen=True)
class Measurement:
    """What was seen and heard of a video."""

    fps: float
    gaps: scores.Course
    """Lip gap of each frame, in distances between the eyes."""
    openness: scores.Course
    """Rhubarb's openness of each frame, 0…1."""
    spoken: slice
    """The frames from the first sound of speech to the last, with a margin."""
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
    labels = rhubarb.mouth_shapes(recording.sound(video), rhubarb_folder)
    openness = shapes.at(shapes.track(labels, len(gaps) / fps), (np.arange(len(gaps)) + 0.5) / fps)[
        :, 0
    ].astype(np.float64)
    return Measurement(
        fps, np.array(gaps), openness, _spoken(labels, fps, len(gaps)), surroundings.change()
    )


def judge(measured: Measurement) -> dict[str, dict[str, Any]]:
    """The rows of the verdict: value, goal and whether it is met, by name.

    Raises:
        UnusableVideoError: There is too little speech.
    """
    gaps, openness = measured.gaps[measured.spoken], measured.openness[measured.spoken]
    try:
        sync = scores.sync(gaps, openness, fps=measured.fps)
    except ValueError as error:
        raise UnusableVideoError(str(error)) from error
    rows = {
        "correlation": (sync.correlation, Goal(at_least=_LEAST_CORRELATION)),
        "best_lag_ms": (sync.best_lag_ms, Goal(at_least=-_MOST_LAG_MS, at_most=_MOST_LAG_MS)),
        "control": (sync.control, Goal(at_least=-_MOST_CONTROL, at_most=_MOST_CONTROL)),
        "gap_closed": (_mean(gaps[openness < _CLOSED_BELOW]), Goal(at_most=_MOST_CLOSED_GAP)),
        "gap_open": (_mean(gaps[openness > _OPEN_ABOVE]), Goal(at_least=_LEAST_OPEN_GAP)),
        "outside_psnr_db": (measured.change.psnr_db, Goal(at_least=_LEAST_PSNR_DB)),
        "outside_worst_block": (measured.change.worst_block, Goal(at_most=_MOST_BLOCK_CHANGE)),
    }
    verdict: dict[str, dict[str, Any]] = {
        name: {"value": round(value, 3), "goal": str(goal), "ok": goal.met(value)}
        for name, (value, goal) in rows.items()
    }
    told = {
        "best_correlation": sync.best_correlation,
        "outside_mean": measured.change.mean,
        "outside_max": measured.change.most,
        "outside_area": measured.change.area,
        "frames": len(gaps),
    }
    return verdict | {name: {"value": round(value, 3)} for name, value in told.items()}


def _spoken(labels: list[rhubarb.MouthShape], fps: float, frames: int) -> slice:
    starts = [shape.start_s for shape in labels if shape.name != "X"]
    if not starts:
        raise UnusableVideoError("nobody speaks in the video")
    ends = [shape.start_s for shape in labels if shape.start_s > starts[-1]]
    last = min(ends, default=frames / fps)
    return slice(
        max(0, round((starts[0] - _MARGIN_S) * fps)), min(frames, round((last + _MARGIN_S) * fps))
    )


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
    folder = options.rhubarb or assets.path("rhubarb")
    try:
        rows = judge(measure(options.video, models=options.models, rhubarb_folder=folder))
    except UnusableVideoError as error:
        print(f"lipsync: {error}", file=sys.stderr)
        return 2
    for name, row in rows.items():
        verdict = ("ok" if row["ok"] else "MISSED") if "ok" in row else ""
        print(f"{name:22}{row['value']:>10}  {row.get('goal', ''):22}{verdict}")
    if options.json:
        document = {"video": str(options.video), "rows": rows, **results.provenance()}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.get("ok", True) for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
