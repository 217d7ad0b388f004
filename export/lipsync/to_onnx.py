"""ONNX files of the generator and of the mouth closer.

Both are plain opset 17 graphs without custom operators, uint8 pictures in and out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from torch import nn

from export.lipsync.network import MouthNetwork
from export.lipsync.renderer import MouthRenderer
from export.lipsync.shapes import PARAMETERS
from tritalk.face_geometry import CROP_SIZE

CLOSER_SIZE = 512
"""Side of the mouth closer's crop in pixels."""

_OPSET = 17


class Stretch(NamedTuple):
    """What is done to what the network says before it is drawn: gain and bias per parameter."""

    gain: Sequence[float]
    bias: Sequence[float]


class Generator(nn.Module):  # type: ignore[misc]
    """Wav2Lip's tensor contract: mel window and face in, face with its mouth drawn out.

    Args:
        network: The trained network.
        stretch: Its calibration.
        size: Side of the crop in pixels.
    """

    def __init__(self, network: MouthNetwork, stretch: Stretch, size: int = CROP_SIZE) -> None:
        super().__init__()
        self.network = network
        self.renderer = MouthRenderer(size)
        self.register_buffer("gain", torch.tensor(stretch.gain))
        self.register_buffer("bias", torch.tensor(stretch.bias))

    def forward(self, windows: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        """uint8 `[N, size, size, 3]` BGR.

        Args:
            windows: float32 `[N, 1, 80, 16]`.
            faces: uint8 `[N, size, size, 6]`, BGR twice; channels 3–5 are drawn on.
        """
        drawn: torch.Tensor = self.renderer(
            faces[..., 3:], self.network(windows) * self.gain + self.bias
        )
        return drawn


class MouthCloser(nn.Module):  # type: ignore[misc]
    """Draws a face whose mouth is open with its mouth at rest."""

    def __init__(self) -> None:
        super().__init__()
        self.renderer = MouthRenderer(CLOSER_SIZE)

    def forward(self, face: torch.Tensor, upper: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
        """uint8 `[N, 512, 512, 3]` BGR; the arguments are those of `MouthRenderer.forward`."""
        rest = torch.zeros(face.shape[0], len(PARAMETERS))
        closed: torch.Tensor = self.renderer(face, rest, upper, lower)
        return closed


def export_generator(network: MouthNetwork, stretch: Stretch, path: Path) -> None:
    """Write the generator: MEL and FACE in, MOUTH out, any batch."""
    example = (
        torch.zeros(2, 1, 80, 16),
        torch.zeros(2, CROP_SIZE, CROP_SIZE, 6, dtype=torch.uint8),
    )
    _export(Generator(network, stretch), example, ("MEL", "FACE"), "MOUTH", path)


def export_mouth_closer(path: Path) -> None:
    """Write the mouth closer: FACE, UPPER and LOWER in, CLOSED out, any batch."""
    example = (
        torch.zeros(2, CLOSER_SIZE, CLOSER_SIZE, 3, dtype=torch.uint8),
        torch.zeros(2, 3),
        torch.zeros(2, 3),
    )
    _export(MouthCloser(), example, ("FACE", "UPPER", "LOWER"), "CLOSED", path)


def _export(
    module: nn.Module,
    example: tuple[torch.Tensor, ...],
    inputs: tuple[str, ...],
    output: str,
    path: Path,
) -> None:
    with torch.no_grad():
        torch.onnx.export(
            module.eval(),
            example,
            str(path),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={name: {0: "N"} for name in (*inputs, output)},
            opset_version=_OPSET,
            # Folding would store every field of the renderer as a picture of numbers.
            do_constant_folding=False,
            dynamo=False,
        )
    onnx.checker.check_model(str(path), full_check=True)
