"""Closes the open mouth of a portrait, once, so that what is drawn later begins from rest."""

from __future__ import annotations

from pathlib import Path

from tritalk import face_geometry as geometry
from tritalk.avatar.mesh import Mesh
from tritalk.onnx_session import open_session

_SIDE = 512


class MouthCloser:
    """Draws a face with its lips together.

    Args:
        model: `mouth_closer.onnx`: FACE uint8 [1, 512, 512, 3] and the parabolas UPPER and LOWER
            float32 [1, 3] to CLOSED uint8 [1, 512, 512, 3].

    Raises:
        ModelError: The model is missing or broken.
    """

    def __init__(self, model: Path) -> None:
        self._session = open_session(model)

    def __call__(self, portrait: geometry.Image, mesh: Mesh) -> geometry.Image:
        """The portrait with its mouth closed, as a new array."""
        to_crop = geometry.align(mesh.landmarks, _SIDE)
        upper, lower = mesh.lip_curves(to_crop, _SIDE)
        (closed,) = self._session.run(
            ["CLOSED"],
            {
                "FACE": geometry.crop(portrait, to_crop, _SIDE)[None],
                "UPPER": upper[None],
                "LOWER": lower[None],
            },
        )
        result = portrait.copy()
        height, width = portrait.shape[:2]
        geometry.Paster(width, height, to_crop, crop_size=_SIDE).paste(closed[0], result)
        return result
