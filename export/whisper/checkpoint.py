"""A Whisper checkpoint in memory, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class CheckpointError(ValueError):
    """A checkpoint cannot be read; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Dimensions:
    """The sizes of a Whisper model, named as OpenAI's `ModelDimensions`, but without `n_`."""

    mels: int
    audio_context: int
    """Positions of the encoder, 20 ms each."""
    state: int
    heads: int
    audio_layers: int
    text_layers: int
    text_context: int
    """Positions of the decoder, one per token."""
    vocabulary: int


@dataclass(frozen=True)
class Checkpoint:
    """Sizes and weights.

    Attributes:
        dimensions: The sizes.
        tensors: Weights by the names of OpenAI's state dict, float16 or float32; a linear layer's
            `weight` is `[outputs, inputs]`.
    """

    dimensions: Dimensions
    tensors: Mapping[str, Array]

    def __getitem__(self, name: str) -> npt.NDArray[np.float32]:
        """A weight as float32.

        Raises:
            CheckpointError: The checkpoint has no such weight.
        """
        try:
            return np.asarray(self.tensors[name], dtype=np.float32)
        except KeyError:
            raise CheckpointError(f"the checkpoint has no weight {name}") from None
