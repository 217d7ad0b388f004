"""Makes an avatar of a portrait file: decoded, measured, judged, its mouth closed, aligned."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tritalk import face_geometry as geometry
from tritalk.avatar import checks
from tritalk.avatar.decode import decode
from tritalk.avatar.detector import Face, FaceDetector
from tritalk.avatar.mesh import FaceMesh, Mesh
from tritalk.avatar.mouth import MouthCloser
from tritalk.avatar.settings import AvatarSettings
from tritalk.image_store import PreparedAvatar, avatar_id
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

# Widest video of a given height, width over height.
_WIDEST = 16 / 9

_TURNS = {
    "90 degrees clockwise": cv2.ROTATE_90_CLOCKWISE,
    "90 degrees counter-clockwise": cv2.ROTATE_90_COUNTERCLOCKWISE,
    "upside down": cv2.ROTATE_180,
}


class AvatarMaker:
    """Prepares portraits; not safe for several threads at once.

    Args:
        folder: Holds `face_detector.onnx`, `face_landmarker.task` and `mouth_closer.onnx`.
        settings: Limits and thresholds.

    Raises:
        ModelError: A model is missing or broken.
    """

    def __init__(self, folder: Path, settings: AvatarSettings) -> None:
        self._settings = settings
        self._detect = FaceDetector(
            folder / "face_detector.onnx", confidence=settings.face_confidence
        )
        self._mesh = FaceMesh(folder / "face_landmarker.task")
        self._close_mouth = MouthCloser(folder / "mouth_closer.onnx")

    def prepare(self, image: bytes) -> PreparedAvatar:
        """Make an avatar of an image file.

        Raises:
            TritalkError: BAD_IMAGE, TOO_LARGE, NO_FACE, SEVERAL_FACES or UNUSABLE_FACE, with the
                measure and the limit.
        """
        settings = self._settings
        picture = decode(image, max_pixels=round(settings.max_megapixels * 1e6))
        portrait = fit(picture.pixels, settings.max_lines)
        height, width = portrait.shape[:2]
        warnings = list(picture.warnings)
        if height < settings.few_lines:
            warnings.append(
                f"the portrait has {height} lines, at least {settings.few_lines} look good; "
                "send a larger picture"
            )

        face, notes = checks.choose(self._find(portrait), settings)
        warnings += notes + checks.check_face(portrait, face, settings)
        mesh = self._mesh(portrait, face)
        warnings += checks.check_mesh(portrait, mesh, settings)

        if mesh.lip_gap > settings.lip_gap:
            portrait = self._close_mouth(portrait, mesh)
            mesh = self._mesh(portrait, face)
            if mesh.lip_gap > settings.lip_gap:
                warnings.append(
                    f"the mouth could be closed only to {mesh.lip_gap:.2f} eye distances "
                    f"({settings.lip_gap:.2f} is closed); a picture with closed lips looks better"
                )
        to_crop = _aligned(mesh)
        return PreparedAvatar(
            info=wire.AvatarInfo(
                avatar_id=avatar_id(image),
                width=width,
                height=height,
                face=_box(face, width, height),
                warnings=tuple(warnings),
            ),
            portrait=portrait,
            face=geometry.crop(portrait, to_crop),
            to_crop=to_crop,
        )

    def warm_up(self) -> None:
        """Run every network once, so that the first portrait does not pay for it."""
        blank = np.full((256, 256, 3), 128, np.uint8)
        landmarks = np.array([[100.0, 100], [156, 100], [128, 130], [108, 160], [148, 160]])
        face = Face(64, 48, 128, 160, landmarks, 1.0)
        self._detect(blank)
        self._close_mouth(blank, self._mesh(blank, face))

    def _find(self, portrait: geometry.Image) -> list[Face]:
        """The faces of a portrait; says so when they would be found in the turned picture."""
        faces = self._detect(portrait)
        if faces:
            return faces
        for turn, code in _TURNS.items():
            if self._detect(cv2.rotate(portrait, code)):
                raise TritalkError(
                    ErrorCode.NO_FACE,
                    f"the portrait does not stand upright; turn it {turn}",
                )
        return []


def fit(picture: geometry.Image, max_lines: int) -> geometry.Image:
    """A picture as the video will show it: scaled down to `max_lines`, both sides even.

    Args:
        picture: uint8 [H, W, 3].
        max_lines: Most lines of the result; it is at most 16:9 times as wide as that.

    Raises:
        TritalkError: BAD_IMAGE when the picture is too thin to be a video.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, max_lines / height, max_lines * _WIDEST / width)
    if scale < 1:
        size = (round(width * scale / 2) * 2, round(height * scale / 2) * 2)
        if min(size) >= _THINNEST:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        height, width = size[1], size[0]
    if min(height, width) < _THINNEST:
        raise TritalkError(
            ErrorCode.BAD_IMAGE,
            f"the image is {width} by {height} pixels in the video, at least {_THINNEST} by "
            f"{_THINNEST} are needed; send a larger picture",
        )
    # A line lost is sharper than a picture resampled.
    return picture[: height // 2 * 2, : width // 2 * 2].copy()


_THINNEST = 64


def _aligned(mesh: Mesh) -> geometry.Affine:
    try:
        return geometry.align(mesh.landmarks)
    except ValueError as error:
        raise TritalkError(
            ErrorCode.UNUSABLE_FACE, f"{error}; send a picture that faces the camera"
        ) from error


def _box(face: Face, width: int, height: int) -> wire.FaceBox:
    """The detector's box in whole pixels, as far as it lies in the portrait."""
    left, top = max(0, round(face.x)), max(0, round(face.y))
    right = min(width, round(face.x + face.width))
    bottom = min(height, round(face.y + face.height))
    return wire.FaceBox(x=left, y=top, width=right - left, height=bottom - top)
