"""The network that hears: a window of the mel spectrogram to the shape of a mouth."""

from __future__ import annotations

import torch
from torch import nn

from export.lipsync.shapes import PARAMETERS
from tritalk import mel

_MEL_SCALE = 4.0


class MouthNetwork(nn.Module):  # type: ignore[misc]
    """Five mouth parameters from 200 ms of speech.

    Args:
        channels: Width of the convolutions.
    """

    def __init__(self, channels: int = 96) -> None:
        super().__init__()
        half = channels // 2
        self.convolutions = nn.Sequential(
            nn.Conv1d(mel.BANDS, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(channels, half, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Linear(half * mel.WINDOW_COLUMNS // 2, 64),
            nn.ReLU(),
            nn.Linear(64, len(PARAMETERS)),
        )

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Mouth parameters, not yet bounded.

        Args:
            windows: float32 `[N, 1, 80, 16]`, −4…4.

        Returns:
            float32 `[N, 5]`, in the order of `PARAMETERS`.
        """
        features = self.convolutions(windows[:, 0] / _MEL_SCALE)
        shape: torch.Tensor = self.head(features.flatten(1))
        return shape
