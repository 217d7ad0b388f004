"""Finds faces with five landmarks each (YuNet, through OpenCV)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tritalk.face_geometry import Image
from tritalk.model_files import ModelError

# YuNet was trained on faces of 10 to 300 pixels: the longest side of what it is shown. Faces that
# fill a portrait are missed at the first size and found at the second.
_SIDES = (640, 320)
_OVERLAP = 0.3


@dataclass(frozen=True)
class Face:
    """A face in a picture, in its pixels."""

    x: float
    y: float
    width: float
    height: float
    landmarks: npt.NDArray[np.float64]
    """[5, 2]: right eye, left eye, nose, right and left corner of the mouth (the person's own)."""
    confidence: float


class FaceDetector:
    """YuNet; not safe for several threads at once.

    Args:
        model: `face_detector.onnx`.
        confidence: Least confidence of a face, 0 to 1.

    Raises:
        ModelError: The model is missing or broken.
    """

    def __init__(self, model: Path, *, confidence: float) -> None:
        if not model.is_file():
            raise ModelError.of(model, "there is no such file")
        try:
            self._detector = cv2.FaceDetectorYN.create(
                str(model), "", (_SIDES[0], _SIDES[0]), confidence, _OVERLAP
            )
        except cv2.error as error:
            raise ModelError.of(model, error) from error

    def __call__(self, picture: Image) -> list[Face]:
        """The faces of a picture (uint8 [H, W, 3] BGR), the widest first."""
        for side in _SIDES:
            faces = self._detect(picture, side)
            if faces:
                return sorted(faces, key=lambda face: face.width, reverse=True)
        return []

    def _detect(self, picture: Image, side: int) -> list[Face]:
        scale = min(1.0, side / max(picture.shape[:2]))
        size = [max(1, round(length * scale)) for length in picture.shape[1::-1]]
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self._detector.setInputSize(size)
        _, rows = self._detector.detect(small)
        if rows is None:
            return []
        zoom = np.array(picture.shape[1::-1]) / size
        return [_face(row.astype(np.float64), zoom) for row in rows]


def _face(row: npt.NDArray[np.float64], zoom: npt.NDArray[Any]) -> Face:
    (x, y), (width, height) = row[:2] * zoom, row[2:4] * zoom
    landmarks = (row[4:14].reshape(5, 2) + 0.5) * zoom - 0.5
    return Face(float(x), float(y), float(width), float(height), landmarks, float(row[14]))
