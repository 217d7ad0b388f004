"""What makes a face unfit to speak: refused, or warned about, with the measure and its limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from tritalk import face_geometry as geometry
from tritalk.avatar.detector import Face
from tritalk.avatar.mesh import Mesh
from tritalk.avatar.settings import AvatarSettings
from tritalk_client.errors import ErrorCode, TritalkError

Grey: TypeAlias = npt.NDArray[np.float32]

# The aligned face at one small size, so that measures mean the same in every portrait; the part of
# it that is face, not hair or wall, and the middle of the mouth, as rows and columns.
_SIDE = 128
_FACE = (slice(26, 109), slice(32, 96))
_MOUTH = (slice(77, 90), slice(51, 77))


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
    """Warnings about the size, light and sharpness of a face.

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
    grey = _grey(portrait, face.landmarks)[_FACE]
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


def check_mesh(portrait: geometry.Image, mesh: Mesh, settings: AvatarSettings) -> list[str]:
    """Warnings about where a head looks and about its mouth.

    Raises:
        TritalkError: UNUSABLE_FACE beyond a threshold.
    """
    notes = _at_least(
        100 * mesh.confidence,
        100 * settings.mesh_confidence,
        100 * settings.mesh_confidence,
        "the face is covered, cut off, tilted or turned away: its shape is {value:.0f} % certain, "
        "at least {limit:.0f} % {verb}; send a picture with eyes, nose and mouth in full view",
    )
    notes += _at_least(
        100 * mesh.inside(portrait),
        100 * settings.inside,
        100 * settings.inside_warning,
        "the face is cut off: {value:.0f} % of it is in view, at least {limit:.0f} % {verb}; "
        "send a picture that shows the whole face",
    )
    notes += _at_most(
        abs(mesh.tilt),
        settings.tilt,
        settings.tilt_warning,
        "the head is tilted by {value:.0f} degrees, at most {limit:.0f} {verb}; turn the picture",
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
    notes += _at_least(
        mouth_relief(_grey(portrait, mesh.landmarks)),
        settings.mouth_relief,
        settings.mouth_relief_warning,
        "the mouth seems to be covered: its lips stand out by {value:.2f} of the face's contrast, "
        "at least {limit:.2f} {verb}; send a picture with the mouth in view",
    )
    if mesh.lip_gap > settings.lip_gap_warning:
        notes.append(
            f"the mouth was wide open ({mesh.lip_gap:.2f} eye distances, more than "
            f"{settings.lip_gap_warning:.2f}) and has been closed; a picture with closed lips "
            "looks more natural"
        )
    return notes


def sharpness(grey: Grey) -> float:
    """How much of a face's brightness changes from pixel to pixel.

    The variance of the Laplacian over that of the brightness, at `_SIDE` pixels a crop: 3 to 11 for
    sharp portraits, 1 when blurred by 1 % of the face's width, 0.6 by 2 %, 0.2 by 3 %, 0.1 by 6 %.
    """
    edges = cv2.Laplacian(grey, cv2.CV_32F, ksize=3)
    return float(edges.var() / max(float(grey.var()), 1.0))


def mouth_relief(grey: Grey) -> float:
    """How much lips, and what is between them, stand out from each other in an aligned face.

    The deviation of the brightness between the rows of the mouth, over that of the face: 0.34 to
    0.95 for 37 mouths, 0.2 under a blur of 3 % of the face's width, 0 for what hides a mouth.
    """
    rows = grey[_MOUTH].mean(axis=1)
    return float(rows.std() / max(float(grey[_FACE].std()), 1.0))


def _grey(portrait: geometry.Image, landmarks: geometry.Points) -> Grey:
    """The brightness of the aligned face: float32 [_SIDE, _SIDE]."""
    try:
        to_crop = geometry.align(landmarks, _SIDE)
    except ValueError as error:
        raise TritalkError(
            ErrorCode.UNUSABLE_FACE,
            "eyes and mouth of the face lie on one line; send a picture that faces the camera",
        ) from error
    crop = geometry.crop(portrait, to_crop, _SIDE)
    grey: Grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return grey


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
