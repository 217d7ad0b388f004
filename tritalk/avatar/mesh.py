"""The shape of a face: 478 points of MediaPipe's face mesh, and what they say of the lips.

The numbers of the points are MediaPipe's canonical ones (face_landmarks_connections).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from tritalk import face_geometry as geometry
from tritalk.avatar.detector import Face
from tritalk.model_files import ModelError

_SIDE = 256
_MEMBER = "face_landmarks_detector.tflite"

# The square around the face that the mesh is shown, in lengths of the face: around the detector's
# box, where the mesh is surest of itself; then around its own points, as MediaPipe does.
_AROUND_BOX = 1.25
_AROUND_POINTS = 1.5
_REFINEMENTS = 2

_RIGHT_EYE, _LEFT_EYE = (33, 133), (362, 263)
_NOSE = 1
_MOUTH_CORNERS = (78, 308)
_UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
_LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
_LIP_MIDDLES = (13, 14)
_IRISES = (468, 473)
_CHEEKS = (234, 454)
_BROW_AND_CHIN = (10, 152)
_FACE_POINTS = 468

# What a head that looks straight ahead measures between brow and chin, which are not one above the
# other: the median of 24 frontal portraits.
_LEVEL_NOD = 8.5


@dataclass(frozen=True)
class Mesh:
    """The points of one face."""

    points: npt.NDArray[np.float64]
    """[478, 2], in pixels of the picture."""
    confidence: float
    """How sure the mesh is that it lies on a face, 0 to 1."""
    turn: float
    """Degrees that the head is turned to a side; 0 is frontal."""
    nod: float
    """Degrees that the head is raised (below 0) or lowered (above 0); near 0 is level."""

    @property
    def landmarks(self) -> npt.NDArray[np.float64]:
        """[5, 2] in YuNet's order, more exactly than YuNet's; the corners are the inner ones."""
        points = self.points
        eyes = [points[list(corners)].mean(axis=0) for corners in (_RIGHT_EYE, _LEFT_EYE)]
        return np.stack([*eyes, points[_NOSE], *points[list(_MOUTH_CORNERS)]])

    @property
    def tilt(self) -> float:
        """Degrees by which the line of the eyes is off the horizontal, -180 to 180."""
        right, left = self.landmarks[:2]
        return float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))

    @property
    def lip_gap(self) -> float:
        """Distance between the lips' inner edges, in distances between the eyes."""
        upper, lower = self.points[list(_LIP_MIDDLES)]
        right, left = self.points[list(_IRISES)]
        return float(np.linalg.norm(lower - upper) / np.linalg.norm(left - right))

    def inside(self, picture: geometry.Image) -> float:
        """The part of the face, 0 to 1, that does not reach over the picture's edges."""
        height, width = picture.shape[:2]
        points = self.points[:_FACE_POINTS]
        within = (points >= -0.5) & (points < [width - 0.5, height - 0.5])
        return float(within.all(axis=1).mean())

    def lip_curves(
        self, to_crop: geometry.Affine, size: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Parabolas in a crop that have all of the open mouth between them.

        Returns:
            For the upper and the lower lip, float32 [3]: the height c0 + c1 u + c2 u^2 below the
            mouth's corners in fractions of the crop, over u from -1 (its left corner) to 1.
        """
        upper, lower = (
            geometry.fractions(geometry.transform(self.points[list(lip)], to_crop), size)
            for lip in (_UPPER_LIP, _LOWER_LIP)
        )
        return _parabola(upper, outwards=-1), _parabola(lower, outwards=1)


class FaceMesh:
    """MediaPipe's face landmark model; not safe for several threads at once.

    Args:
        task: `face_landmarker.task`, a zip that holds the model.

    Raises:
        ModelError: The file is missing or holds no face landmark model.
    """

    def __init__(self, task: Path) -> None:
        if not task.is_file():
            raise ModelError.of(task, "there is no such file")
        try:
            with zipfile.ZipFile(task) as archive:
                model = archive.read(_MEMBER)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ModelError.of(task, error) from error
        self._interpreter = Interpreter(model_content=model, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        points, presence = self._interpreter.get_output_details()[:2]
        self._points, self._presence = points["index"], presence["index"]

    def __call__(self, picture: geometry.Image, face: Face) -> Mesh:
        """The mesh of a face that was found in a picture (uint8 [H, W, 3] BGR)."""
        to_view = _around_box(face)
        points, presence = self._run(picture, to_view)
        for _ in range(_REFINEMENTS):
            to_view = _around_points(_in_picture(points, to_view))
            points, presence = self._run(picture, to_view)
        return Mesh(
            points=_in_picture(points, to_view),
            confidence=float(1 / (1 + np.exp(-presence))),
            turn=_angle(points, _CHEEKS, axis=0),
            nod=_angle(points, _BROW_AND_CHIN, axis=1) - _LEVEL_NOD,
        )

    def _run(
        self, picture: geometry.Image, to_view: geometry.Affine
    ) -> tuple[npt.NDArray[np.float64], float]:
        view = geometry.crop(picture, to_view, _SIDE)[..., ::-1]
        self._interpreter.set_tensor(self._input, view[None].astype(np.float32) / 255)
        self._interpreter.invoke()
        points = self._interpreter.get_tensor(self._points).reshape(-1, 3).astype(np.float64)
        presence = float(self._interpreter.get_tensor(self._presence).reshape(-1)[0])
        return points - [0.5, 0.5, 0], presence


def _around_box(face: Face) -> geometry.Affine:
    center = np.array([face.x + face.width / 2, face.y + face.height / 2])
    right, left = face.landmarks[:2]
    return _view(center, max(face.width, face.height) * _AROUND_BOX, left - right)


def _around_points(points: npt.NDArray[np.float64]) -> geometry.Affine:
    across = points[_LEFT_EYE[1]] - points[_RIGHT_EYE[0]]
    low, high = points[:_FACE_POINTS].min(axis=0), points[:_FACE_POINTS].max(axis=0)
    return _view((low + high) / 2, float(max(high - low)) * _AROUND_POINTS, across)


def _view(
    center: npt.NDArray[np.float64], side: float, across: npt.NDArray[np.float64]
) -> geometry.Affine:
    """The affine to a view of a square, upright along the line of the eyes."""
    cosine, sine = across / np.linalg.norm(across) * _SIDE / side
    turn = np.array([[cosine, sine], [-sine, cosine]])
    offset = (_SIDE - 1) / 2 - turn @ center
    return np.column_stack([turn, offset])


def _in_picture(
    points: npt.NDArray[np.float64], to_view: geometry.Affine
) -> npt.NDArray[np.float64]:
    return geometry.transform(points[:, :2], cv2.invertAffineTransform(to_view))


def _angle(points: npt.NDArray[np.float64], pair: tuple[int, int], *, axis: int) -> float:
    """Degrees by which a line through the face leaves the picture's plane."""
    line = points[pair[1]] - points[pair[0]]
    return float(np.degrees(np.arctan2(line[2], line[axis])))


def _parabola(places: npt.NDArray[np.float64], *, outwards: int) -> npt.NDArray[np.float32]:
    """The parabola through a lip's inner edge, bulged outwards until none of it is beyond."""
    u = (places[:, 0] - 0.5) / geometry.MOUTH_HALF_WIDTH
    height = places[:, 1] - geometry.MOUTH_Y
    c2, c1, c0 = np.polyfit(u, height, 2)
    beyond = (outwards * (height - np.polyval([c2, c1, c0], u)))[1:-1].max(initial=0.0)
    bulge = outwards * beyond
    return np.array([c0 + bulge, c1, c2 - bulge], np.float32)
