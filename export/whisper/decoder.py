"""Authors Whisper's decoder with a cache of keys and values, one tensor per layer.

ONNX Runtime's block-wise product takes rows by twos and rounds a last odd one otherwise. A sequence
would get other logits alone than with its neighbours, so an odd batch is filled up with a row for
the linear layers, and only for them: attention costs the most.
"""

from __future__ import annotations

import numpy as np
import onnx

from export.whisper.checkpoint import Checkpoint
from export.whisper.graph import FLOAT, INT64, Graph, Precision, Shape


def author_decoder(checkpoint: Checkpoint, *, precision: Precision) -> onnx.ModelProto:
    """The decoder as an ONNX model.

    Inputs: `tokens` int64 `[batch, tokens]`; for each layer `past_key_<i>` and `past_value_<i>`
    float32 `[batch, heads, past, state / heads]` (past may be 0), `cross_key_<i>` and
    `cross_value_<i>` as the encoder puts them out. Outputs: `logits` float32
    `[batch, vocabulary]` of the last token, `present_key_<i>` and `present_value_<i>`, the past and
    these tokens.

    Args:
        checkpoint: Sizes and weights.
        precision: Of the linear layers.
    """
    return _Decoder(checkpoint, precision).author()


class _Decoder:
    def __init__(self, checkpoint: Checkpoint, precision: Precision) -> None:
        self._weights = checkpoint
        self._sizes = checkpoint.dimensions
        self._graph = Graph("whisper_decoder", precision)

    def author(self) -> onnx.ModelProto:
        graph, sizes = self._graph, self._sizes
        tokens = graph.input("tokens", INT64, ["batch", "tokens"])
        layers = range(sizes.text_layers)
        past = [self._cache("past", layer, "past") for layer in layers]
        cross = [self._cache("cross", layer, sizes.audio_context) for layer in layers]
        self._batch = graph.length(tokens, 0)
        self._odd = graph.node("Mod", [self._batch, graph.integers(2)])
        x = self._embedded(self._filled_up(tokens, 2), graph.length(past[0][0], 2))
        for layer in layers:
            x = self._block(x, layer, past[layer], cross[layer])
        last = graph.slice(x, graph.integers(-1), graph.integers(np.iinfo(np.int64).max), 1)
        last = self._layer_norm(graph.node("Squeeze", [last, graph.integers(1)]), "decoder.ln")
        logits = graph.linear(last, self._weights["decoder.token_embedding.weight"])
        graph.output(self._real(logits), "logits", FLOAT, ["batch", sizes.vocabulary])
        return graph.model()

    def _cache(self, name: str, layer: int, length: int | str) -> tuple[str, str]:
        sizes = self._sizes
        shape: Shape = ["batch", sizes.heads, length, sizes.state // sizes.heads]
        key = self._graph.input(f"{name}_key_{layer}", FLOAT, shape)
        return key, self._graph.input(f"{name}_value_{layer}", FLOAT, shape)

    def _embedded(self, tokens: str, past: str) -> str:
        graph = self._graph
        # Looked up, not multiplied: float16 halves the largest table at no cost.
        table = self._weights["decoder.token_embedding.weight"].astype(np.float16)
        x = graph.node("Cast", [graph.node("Gather", [graph.constant(table), tokens])], to=FLOAT)
        positions = graph.constant(self._weights["decoder.positional_embedding"])
        end = graph.add(past, graph.length(tokens, 1))
        return graph.add(x, graph.slice(positions, past, end, 0))

    def _block(self, x: str, layer: int, past: tuple[str, str], cross: tuple[str, str]) -> str:
        graph, block = self._graph, f"decoder.blocks.{layer}"
        y = self._self_attention(self._layer_norm(x, f"{block}.attn_ln"), layer, past)
        x = graph.add(x, self._linear(self._filled_up(y, 3), f"{block}.attn.out"))
        y = self._layer_norm(x, f"{block}.cross_attn_ln")
        query = self._real(self._linear(y, f"{block}.cross_attn.query"))
        y = graph.contrib("MultiHeadAttention", [query, *cross], num_heads=self._sizes.heads)
        x = graph.add(x, self._linear(self._filled_up(y, 3), f"{block}.cross_attn.out"))
        y = self._linear(self._layer_norm(x, f"{block}.mlp_ln"), f"{block}.mlp.0")
        return graph.add(x, self._linear(graph.node("Gelu", [y]), f"{block}.mlp.2"))

    def _self_attention(self, x: str, layer: int, past: tuple[str, str]) -> str:
        graph, sizes, weights = self._graph, self._sizes, self._weights
        name = f"decoder.blocks.{layer}.attn"
        weight = np.concatenate(
            [weights[f"{name}.{part}.weight"] for part in ("query", "key", "value")]
        )
        no_bias = np.zeros(sizes.state, dtype=np.float32)
        bias = np.concatenate(
            [weights[f"{name}.query.bias"], no_bias, weights[f"{name}.value.bias"]]
        )
        packed = self._real(graph.linear(x, weight, bias))
        parts = graph.nodes("Split", [packed], names=["", "", ""], axis=-1, num_outputs=3)
        shape: Shape = ["batch", sizes.heads, "present", sizes.state // sizes.heads]
        names = ["", f"present_key_{layer}", f"present_value_{layer}"]
        for present in names[1:]:
            graph.declare(present, FLOAT, shape)
        return graph.nodes(
            "MultiHeadAttention",
            [*parts, "", "", "", *past],
            names=names,
            domain="com.microsoft",
            num_heads=sizes.heads,
            unidirectional=1,
        )[0]

    def _filled_up(self, x: str, rank: int) -> str:
        """`x` with one more row of zeros when its first axis is odd."""
        graph = self._graph
        before, after = graph.integers(*[0] * rank), graph.integers(*[0] * (rank - 1))
        pads = graph.node("Concat", [before, self._odd, after], axis=0)
        return graph.node("Pad", [x, pads])

    def _real(self, x: str) -> str:
        """`x` without the row that fills it up."""
        return self._graph.slice(x, self._graph.integers(0), self._batch, 0)

    def _layer_norm(self, x: str, name: str) -> str:
        weights = self._weights
        return self._graph.layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def _linear(self, x: str, name: str) -> str:
        weights = self._weights
        return self._graph.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
