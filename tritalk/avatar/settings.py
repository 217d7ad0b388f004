"""Settings of the `avatar` model: what is taken, what is refused, what is only warned about."""

from __future__ import annotations

from pydantic import Field

from tritalk.settings import Settings


class AvatarSettings(Settings):
    """Parameters of model_repository/avatar/config.pbtxt.

    A measure with two thresholds is refused beyond the first and warned about beyond the second.
    """

    store_url: str = ""
    """Where avatars are kept: a folder or an fsspec URL; empty for the state folder."""
    max_megapixels: float = Field(16.0, gt=0, le=80)
    """Largest picture, in millions of pixels; larger ones are refused by their header."""
    max_lines: int = Field(1080, ge=256, le=2160)
    """Most lines of the video; taller portraits are scaled down."""
    few_lines: int = Field(256, ge=0)
    """Portraits with fewer lines are warned about."""

    face_confidence: float = Field(0.7, gt=0, lt=1)
    """Least confidence of the detector that a face is one."""
    second_face: float = Field(0.5, gt=0, le=1)
    """A second face at least this much as wide as the largest is refused."""
    face_width: float = Field(40.0, gt=0)
    """Least width of the face, in pixels of the prepared portrait."""
    face_width_warning: float = Field(80.0, gt=0)
    mesh_confidence: float = Field(0.9, gt=0, lt=1)
    """Least confidence of the face mesh, which a covered or turned face lowers."""
    inside: float = Field(0.88, ge=0, le=1)
    """Least part of the face that is in the picture."""
    inside_warning: float = Field(0.98, ge=0, le=1)
    turn: float = Field(35.0, gt=0)
    """Most degrees that the head is turned to a side."""
    turn_warning: float = Field(20.0, gt=0)
    nod: float = Field(30.0, gt=0)
    """Most degrees that the head is raised or lowered."""
    nod_warning: float = Field(18.0, gt=0)
    tilt: float = Field(40.0, gt=0)
    """Most degrees that the head is tilted towards a shoulder."""
    tilt_warning: float = Field(20.0, gt=0)
    brightness: float = Field(45.0, ge=0)
    """Least brightness (0-255) of the lit part of the face, its 90th percentile."""
    brightness_warning: float = Field(75.0, ge=0)
    contrast: float = Field(12.0, ge=0)
    """Least difference between the 90th and the 10th percentile of the face's brightness."""
    sharpness: float = Field(0.2, ge=0)
    """Least sharpness of the face; see `tritalk.avatar.checks.sharpness`."""
    sharpness_warning: float = Field(0.8, ge=0)
    mouth_relief: float = Field(0.08, ge=0)
    """Least contrast of the mouth, which what covers it lowers; see `checks.mouth_relief`."""
    mouth_relief_warning: float = Field(0.18, ge=0)

    lip_gap: float = Field(0.02, gt=0)
    """Lips that part by more than this, in eye distances, are closed."""
    lip_gap_warning: float = Field(0.3, gt=0)
