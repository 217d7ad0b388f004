"""Authors Whisper's encoder so that it runs at the length of the speech.

Whisper's encoder looks at 30 s, whatever was said. Positions behind the speech hold silence, and
what silence turns into there hardly depends on the speech. So the graph computes the positions of
the speech only; in every layer these also attend to the keys and values of encoded silence behind
them, which are constants of the model. The decoder's cross-attention gets its keys and values the
same way: the speech's own, then those of silence, `audio_context` positions in all.

The sequences of a batch may differ in length: behind each one's own positions its keys and values
are those of silence, so that a sequence's result does not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from export.whisper.checkpoint import Checkpoint
from export.whisper.graph import FLOAT, INT64, Graph, Precision, Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Silence:
    """What 30 s of silence turn into, float16.

    Attributes:
        keys: Of the encoder's layers, each `[1, audio_context, state]`.
        values: Likewise.
        cross_keys: Of the decoder's layers, each `[1, heads, audio_context, state / heads]`.
        cross_values: Likewise.
    """

    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    cross_keys: tuple[Array, ...]
    cross_values: tuple[Array, ...]


def author_encoder(
    checkpoint: Checkpoint, *, precision: Precision, silence: Silence | None
) -> onnx.ModelProto:
    """The encoder as an ONNX model.

    Inputs: `mel` float32 `[batch, mels, frames]`, zero behind the frames of a sequence, and
    `lengths` int64 `[batch]`, each sequence's positions (two frames each). Outputs: for each layer
    of the decoder `cross_key_<i>` and `cross_value_<i>`, float32
    `[batch, heads, audio_context, state / heads]`.

    Args:
        checkpoint: Sizes and weights.
        precision: Of the linear layers.
        silence: Encoded silence. Without it the model takes exactly `audio_context` positions and
            also puts out `key_<i>` and `value_<i>` of its own layers: it is the one to encode
            silence with.
    """
    return _Encoder(checkpoint, precision, silence).author()


class _Encoder:
    def __init__(
        self, checkpoint: Checkpoint, precision: Precision, silence: Silence | None
    ) -> None:
        self._weights = checkpoint
        self._sizes = checkpoint.dimensions
        self._silence = silence
        self._graph = Graph("whisper_encoder", precision)

    def author(self) -> onnx.ModelProto:
        graph, sizes = self._graph, self._sizes
        mel = graph.input("mel", FLOAT, ["batch", sizes.mels, "frames"])
        lengths = graph.input("lengths", INT64, ["batch"])
        x = self._convolution(self._convolution(mel, 1), 2)
        x = graph.node("Transpose", [x], perm=[0, 2, 1])
        self._batch = graph.length(x, 0)
        self._positions = graph.length(x, 1)
        self._own = self._mask(lengths)
        embedding = graph.constant(self._weights["encoder.positional_embedding"])
        x = graph.add(x, graph.slice(embedding, graph.integers(0), self._positions, 0))
        for layer in range(sizes.audio_layers):
            x = self._block(x, layer)
        x = self._layer_norm(x, "encoder.ln_post")
        for layer in range(sizes.text_layers):
            self._cross(x, layer)
        return graph.model()

    def _convolution(self, x: str, number: int) -> str:
        weight = self._graph.constant(self._weights[f"encoder.conv{number}.weight"])
        bias = self._graph.constant(self._weights[f"encoder.conv{number}.bias"])
        x = self._graph.node("Conv", [x, weight, bias], pads=[1, 1], strides=[number])
        return self._graph.node("Gelu", [x])

    def _mask(self, lengths: str) -> str:
        """Which positions are each sequence's own, bool `[batch, positions, 1]`."""
        graph = self._graph
        indices = graph.constant(np.arange(self._sizes.audio_context).reshape(1, -1, 1))
        indices = graph.slice(indices, graph.integers(0), self._positions, 1)
        lengths = graph.node("Reshape", [lengths, graph.integers(-1, 1, 1)])
        return graph.node("Less", [indices, lengths])

    def _block(self, x: str, layer: int) -> str:
        graph, block = self._graph, f"encoder.blocks.{layer}"
        y = self._layer_norm(x, f"{block}.attn_ln")
        query = self._linear(y, f"{block}.attn.query")
        key = self._linear(y, f"{block}.attn.key", bias=False)
        value = self._linear(y, f"{block}.attn.value")
        if self._silence is None:
            shape: Shape = ["batch", "positions", self._sizes.state]
            graph.output(key, f"key_{layer}", FLOAT, shape)
            graph.output(value, f"value_{layer}", FLOAT, shape)
        else:
            key = self._followed_by_silence(key, self._silence.keys[layer], self._own, axis=1)
            value = self._followed_by_silence(value, self._silence.values[layer], self._own, axis=1)
        y = graph.contrib("MultiHeadAttention", [query, key, value], num_heads=self._sizes.heads)
        x = graph.add(x, self._linear(y, f"{block}.attn.out"))
        y = self._linear(self._layer_norm(x, f"{block}.mlp_ln"), f"{block}.mlp.0")
        return graph.add(x, self._linear(graph.node("Gelu", [y]), f"{block}.mlp.2"))

    def _cross(self, x: str, layer: int) -> None:
        graph, sizes = self._graph, self._sizes
        heads = graph.integers(0, 0, sizes.heads, sizes.state // sizes.heads)
        own = graph.node("Unsqueeze", [self._own, graph.integers(1)])
        silence = self._silence
        for name, bias, constants in (
            ("key", False, silence and silence.cross_keys),
            ("value", True, silence and silence.cross_values),
        ):
            y = self._linear(x, f"decoder.blocks.{layer}.cross_attn.{name}", bias=bias)
            y = graph.node("Transpose", [graph.node("Reshape", [y, heads])], perm=[0, 2, 1, 3])
            if constants:
                y = self._followed_by_silence(y, constants[layer], own, axis=2)
            shape: Shape = ["batch", sizes.heads, sizes.audio_context, sizes.state // sizes.heads]
            graph.output(y, f"cross_{name}_{layer}", FLOAT, shape)

    def _followed_by_silence(self, x: str, silence: Array, own: str, *, axis: int) -> str:
        """`x` where it is a sequence's own, silence elsewhere and up to the full context."""
        graph = self._graph
        constant = graph.constant(silence)

        def part(begin: str, end: str) -> str:
            return graph.node("Cast", [graph.slice(constant, begin, end, axis)], to=FLOAT)

        zero, context = graph.integers(0), graph.integers(self._sizes.audio_context)
        x = graph.node("Where", [own, x, part(zero, self._positions)])
        ones = graph.integers(*[1] * (silence.ndim - 1))
        batch = graph.node("Concat", [self._batch, ones], axis=0)
        rest = graph.node("Expand", [part(self._positions, context), batch])
        return graph.node("Concat", [x, rest], axis=axis)

    def _layer_norm(self, x: str, name: str) -> str:
        weights = self._weights
        return self._graph.layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def _linear(self, x: str, name: str, *, bias: bool = True) -> str:
        weights = self._weights
        return self._graph.linear(
            x, weights[f"{name}.weight"], weights[f"{name}.bias"] if bias else None
        )
