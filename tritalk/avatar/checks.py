"""What makes a face unfit to speak: refused, or warned about, with the measure and its limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from tritalk import face_geometry as geometry
from tritalk.avatar.detector import Face
from tritalk.avatar.mesh import Mesh
from tritalk.avatar.settings import AvatarSettings
from tritalk_client.errors import ErrorCode, TritalkError

# The aligned face at one small size, so that measures mean the same in every portrait; and the
# part of it that is face, not hair or wall, in fractions.
_SIDE = 128
_FACE_ROWS = (0.20, 0.85)
_FACE_COLUMNS = (0.25, 0.75)


def choose(faces: Sequence[Face], settings: AvatarSettings) -> tuple[Face, list[str]]:
    """The one face of a portrait, and warnings about smaller ones.

    Args:
        faces: What was found, the widest first.
        settings: The thresholds.

    Raises:
        TritalkError: NO_FACE, or SEVERAL_FACES when a second one is comparable.
    """
    if not faces:
        raise TritalkError(
            ErrorCode.NO_FACE,
            "no face was found; send a portrait with the whole face upright and facing the camera",
        )
    largest, *others = faces
    if not others:
        return largest, []
    ratio = others[0].width / largest.width
    if ratio >= settings.second_face:
        comparable = [face for face in faces if face.width >= settings.second_face * largest.width]
        places = ", ".join(_place(face) for face in sorted(comparable, key=lambda face: face.x))
        raise TritalkError(
            ErrorCode.SEVERAL_FACES,
            f"the portrait shows {len(comparable)} faces ({places}), the second {ratio:.0%} as "
            f"wide as the first, ignored only below {settings.second_face:.0%}; "
            "crop it to one person",
        )
    return largest, [
        f"{len(others)} smaller face(s) in the background are ignored, the largest {ratio:.0%} as "
        f"wide as the main one (from {settings.second_face:.0%} on the portrait is refused)"
    ]


def check_face(portrait: geometry.Image, face: Face, settings: AvatarSettings) -> list[str]:
    """Warnings about the size, tilt, light and sharpness of a face.

    Raises:
        TritalkError: UNUSABLE_FACE beyond a threshold.
    """
    notes = _at_least(
        face.width,
        settings.face_width,
        settings.face_width_warning,
        "the face is {value:.0f} pixels wide, at least {limit:.0f} {verb}; "
        "send a larger picture or crop it closer",
    )
    notes += _at_most(
        abs(face.tilt),
        settings.tilt,
        settings.tilt_warning,
        "the head is tilted by {value:.0f} degrees, at most {limit:.0f} {verb}; turn the picture",
    )
    grey = _grey(portrait, face)
    dark, lit = np.percentile(grey, [10, 90])
    notes += _at_least(
        float(lit),
        settings.brightness,
        settings.brightness_warning,
        "the face is too dark: brightness {value:.0f} of 255, at least {limit:.0f} {verb}; "
        "send a better lit picture",
    )
    notes += _at_least(
        float(lit - dark),
        settings.contrast,
        settings.contrast,
        "the face has too little contrast: {value:.0f} of 255, at least {limit:.0f} {verb}; "
        "send a picture that is neither fogged nor overexposed",
    )
    notes += _at_least(
        sharpness(grey),
        settings.sharpness,
        settings.sharpness_warning,
        "the face is blurred: sharpness {value:.2f}, at least {limit:.2f} {verb}; "
        "send a sharper picture",
    )
    return notes


def check_mesh(mesh: Mesh, settings: AvatarSettings) -> list[str]:
    """Warnings about where a head looks and how far its mouth is open.

    Raises:
        TritalkError: UNUSABLE_FACE beyond a threshold.
    """
    notes = _at_least(
        100 * mesh.confidence,
        100 * settings.mesh_confidence,
        100 * settings.mesh_confidence,
        "the face is covered, cut off or turned away: its shape is {value:.0f} % certain, at least "
        "{limit:.0f} % {verb}; send a picture with eyes, nose and mouth in full view",
    )
    notes += _at_most(
        abs(mesh.turn),
        settings.turn,
        settings.turn_warning,
        "the head is turned to the side by {value:.0f} degrees, at most {limit:.0f} {verb}; "
        "send a picture that faces the camera",
    )
    notes += _at_most(
        abs(mesh.nod),
        settings.nod,
        settings.nod_warning,
        "the head is raised or lowered by {value:.0f} degrees, at most {limit:.0f} {verb}; "
        "send a picture taken at the height of the eyes",
    )
    if mesh.lip_gap > settings.lip_gap_warning:
        notes.append(
            f"the mouth was wide open ({mesh.lip_gap:.2f} eye distances, more than "
            f"{settings.lip_gap_warning:.2f}) and has been closed; a picture with closed lips "
            "looks more natural"
        )
    return notes


def sharpness(grey: np.typing.NDArray[np.float32]) -> float:
    """How much of a face's brightness changes from pixel to pixel.

    The variance of the Laplacian over that of the brightness, at `_SIDE` pixels a crop: about 2 for
    a sharp portrait, 0.6 when blurred by 1 % of the face's width, 0.25 by 2 %, 0.15 by 5 %.
    """
    edges = cv2.Laplacian(grey, cv2.CV_32F, ksize=3)
    return float(edges.var() / max(float(grey.var()), 1.0))


def _grey(portrait: geometry.Image, face: Face) -> np.typing.NDArray[np.float32]:
    try:
        to_crop = geometry.align(face.landmarks, _SIDE)
    except ValueError as error:
        raise TritalkError(
            ErrorCode.UNUSABLE_FACE,
            "eyes and mouth of the face lie on one line; send a picture that faces the camera",
        ) from error
    rows, columns = (
        slice(*(round(edge * _SIDE) for edge in edges)) for edges in (_FACE_ROWS, _FACE_COLUMNS)
    )
    crop = geometry.crop(portrait, to_crop, _SIDE)
    grey: np.typing.NDArray[np.float32] = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return grey[rows, columns]


def _at_least(value: float, refused: float, warned: float, text: str) -> list[str]:
    return _judge(value, refused, warned, text, beyond=lambda limit: value < limit)


def _at_most(value: float, refused: float, warned: float, text: str) -> list[str]:
    return _judge(value, refused, warned, text, beyond=lambda limit: value > limit)


def _judge(
    value: float, refused: float, warned: float, text: str, *, beyond: Callable[[float], bool]
) -> list[str]:
    if beyond(refused):
        message = text.format(value=value, limit=refused, verb="are taken")
        raise TritalkError(ErrorCode.UNUSABLE_FACE, message)
    if beyond(warned):
        return [text.format(value=value, limit=warned, verb="look good")]
    return []


def _place(face: Face) -> str:
    return f"{face.width:.0f} pixels wide at {face.x:.0f}, {face.y:.0f}"
