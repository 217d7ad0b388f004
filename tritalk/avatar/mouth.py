"""Closes the open mouth of a portrait, once, so that what is drawn later begins from rest."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from tritalk import face_geometry as geometry
from tritalk.avatar.mesh import Mesh

_SIDE = 512


class MouthCloser:
    """Draws a face with its lips together.

    Args:
        model: `mouth_closer.onnx`: FACE uint8 [1, 512, 512, 3] and the parabolas UPPER and LOWER
            float32 [1, 3] to CLOSED uint8 [1, 512, 512, 3].

    Raises:
        FileNotFoundError: The model is not there.
    """

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise FileNotFoundError(f"{model} is missing; run python -m export get default")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )

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
