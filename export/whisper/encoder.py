"""Authors Whisper's encoder so that it runs at the length of the speech.

Whisper's encoder looks at 30 s, whatever was said. Positions behind the speech hold silence, and
what silence turns into there hardly depends on the speech. So the graph computes the positions of
the speech only; in every layer these also attend to the keys and values of encoded silence, which
are constants of the model, a few for groups of positions: see `export.whisper.silence`. The
decoder's cross-attention gets its keys and values the same way.

The sequences of a batch may differ in length: a sequence attends to its own positions and to the
silence behind them, so that its result does not depend on its neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from export.whisper.checkpoint import Checkpoint
from export.whisper.graph import FLOAT, INT64, Graph, Precision, Shape
from export.whisper.silence import NEVER, Groups, Silence, grouped

Array = npt.NDArray[Any]

_GROUPS = 128
"""Of silence in each layer; more cost time and change no text."""

_GROUPS_OF_FIRST = 400
"""In the encoder's first layer, where positions of silence differ by nothing but their places."""


def author_encoder(
    checkpoint: Checkpoint, *, precision: Precision, silence: Silence | None
) -> onnx.ModelProto:
    """The encoder as an ONNX model.

    Inputs: `mel` float32 `[batch, mels, frames]`, zero behind the frames of a sequence, and
    `lengths` int64 `[batch]`, each sequence's positions (two frames each). Outputs: for each layer
    of the decoder `cross_key_<i>` and `cross_value_<i>`, float32
    `[batch, heads, keys, state / heads]`, and `cross_score_<i>` float32 `[batch, 1, 1, keys]`, what
    is added to the scores of the keys. The groups of silence come first, then the positions.

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
        self._lengths = lengths
        self._own = self._own_scores()
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

    def _own_scores(self) -> str:
        """What is added to the scores of the positions, `[batch, 1, 1, positions]`."""
        graph = self._graph
        indices = graph.constant(np.arange(self._sizes.audio_context).reshape(1, 1, 1, -1))
        indices = graph.slice(indices, graph.integers(0), self._positions, 3)
        lengths = graph.node("Reshape", [self._lengths, graph.integers(-1, 1, 1, 1)])
        nothing, never = graph.constant(np.float32(0)), graph.constant(np.float32(NEVER))
        return graph.node("Where", [graph.node("Less", [indices, lengths]), nothing, never])

    def _scores(self, groups: Groups) -> str:
        """What is added to the scores of the groups and the positions, `[batch, 1, 1, keys]`."""
        graph = self._graph
        counts = graph.node("Gather", [graph.constant(groups.counts), self._lengths])
        counts = graph.node(
            "Cast", [graph.node("Unsqueeze", [counts, graph.integers(1, 2)])], to=FLOAT
        )
        # The logarithm of none is infinite, and the softmax would make nonsense of it.
        never = graph.constant(np.float32(NEVER))
        scores = graph.node("Max", [graph.node("Log", [counts]), never])
        return graph.node("Concat", [scores, self._own], axis=3)

    def _block(self, x: str, layer: int) -> str:
        graph, block = self._graph, f"encoder.blocks.{layer}"
        y = self._layer_norm(x, f"{block}.attn_ln")
        query = self._linear(y, f"{block}.attn.query")
        key = self._linear(y, f"{block}.attn.key", bias=False)
        value = self._linear(y, f"{block}.attn.value")
        inputs = [query, key, value]
        if self._silence is None:
            shape: Shape = ["batch", "positions", self._sizes.state]
            graph.output(key, f"key_{layer}", FLOAT, shape)
            graph.output(value, f"value_{layer}", FLOAT, shape)
        else:
            keys, values = self._silence.keys[layer], self._silence.values[layer]
            groups = grouped(keys, values, _GROUPS if layer else _GROUPS_OF_FIRST)
            inputs = [
                query,
                self._behind(groups.keys, key, axis=1),
                self._behind(groups.values, value, axis=1),
                "",
                "",
                self._for_each_query(self._scores(groups)),
            ]
        y = graph.contrib("MultiHeadAttention", inputs, num_heads=self._sizes.heads)
        x = graph.add(x, self._linear(y, f"{block}.attn.out"))
        y = self._linear(self._layer_norm(x, f"{block}.mlp_ln"), f"{block}.mlp.0")
        return graph.add(x, self._linear(graph.node("Gelu", [y]), f"{block}.mlp.2"))

    def _cross(self, x: str, layer: int) -> None:
        graph, sizes = self._graph, self._sizes
        heads = graph.integers(0, 0, sizes.heads, sizes.state // sizes.heads)
        groups = None
        if self._silence is not None:
            keys, values = self._silence.cross_keys[layer], self._silence.cross_values[layer]
            groups = grouped(keys, values, _GROUPS)
        for name, bias, means in (
            ("key", False, None if groups is None else groups.keys),
            ("value", True, None if groups is None else groups.values),
        ):
            y = self._linear(x, f"decoder.blocks.{layer}.cross_attn.{name}", bias=bias)
            y = graph.node("Transpose", [graph.node("Reshape", [y, heads])], perm=[0, 2, 1, 3])
            if means is not None:
                y = self._behind(means, y, axis=2)
            shape: Shape = ["batch", sizes.heads, "keys", sizes.state // sizes.heads]
            graph.output(y, f"cross_{name}_{layer}", FLOAT, shape)
        scores = self._own if groups is None else self._scores(groups)
        graph.output(scores, f"cross_score_{layer}", FLOAT, ["batch", 1, 1, "keys"])

    def _for_each_query(self, scores: str) -> str:
        """`[batch, 1, positions, keys]`, as the operator wants it."""
        graph = self._graph
        sizes = [graph.integers(1, 1), self._positions, graph.integers(1)]
        return graph.node("Expand", [scores, graph.node("Concat", sizes, axis=0)])

    def _behind(self, means: Array, x: str, *, axis: int) -> str:
        """The means of the groups of silence, then `x`, along an axis."""
        graph = self._graph
        ones = graph.integers(*[1] * (means.ndim - 1))
        batch = graph.node("Concat", [self._batch, ones], axis=0)
        constant = graph.node("Expand", [graph.constant(means), batch])
        return graph.node("Concat", [constant, x], axis=axis)

    def _layer_norm(self, x: str, name: str) -> str:
        weights = self._weights
        return self._graph.layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def _linear(self, x: str, name: str, *, bias: bool = True) -> str:
        weights = self._weights
        return self._graph.linear(
            x, weights[f"{name}.weight"], weights[f"{name}.bias"] if bias else None
        )
