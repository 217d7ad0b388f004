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
from export.whisper.silence import NEVER


def author_decoder(checkpoint: Checkpoint, *, precision: Precision) -> onnx.ModelProto:
    """The decoder as an ONNX model.

    Inputs: `tokens` int64 `[batch, tokens]`; `padding` int64 `[batch]`, how many of the past and of
    these tokens, from the first, are none of the sequence's; `scored` int64 `[1]`, how many tokens,
    from the last, are to have logits; for each layer `past_key_<i>` and `past_value_<i>` float32
    `[batch, heads, past, state / heads]` (past may be 0); `cross_key_<i>`, `cross_value_<i>` and
    `cross_score_<i>` as the encoder puts them out. Outputs: `logits` float32
    `[batch, scored, vocabulary]`, `present_key_<i>` and `present_value_<i>`, the past and these
    tokens.

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
        padding = graph.input("padding", INT64, ["batch"])
        scored = graph.input("scored", INT64, [1])
        past = [self._cache("past", layer, "past") for layer in layers]
        cross = [self._cache("cross", layer, "keys") for layer in layers]
        scores = [
            graph.input(f"cross_score_{layer}", FLOAT, ["batch", 1, 1, "keys"]) for layer in layers
        ]
        self._batch = graph.length(tokens, 0)
        self._odd = graph.node("Mod", [self._batch, graph.integers(2)])
        self._tokens = graph.length(tokens, 1)
        sizes_of_scores = [graph.integers(1, 1), self._tokens, graph.integers(1)]
        each_token = graph.node("Concat", sizes_of_scores, axis=0)
        scores = [graph.node("Expand", [score, each_token]) for score in scores]
        x = self._embedded(tokens, padding, graph.length(past[0][0], 2))
        for layer in layers:
            x = self._block(x, layer, past[layer], [*cross[layer], "", "", scores[layer]])
        first = graph.node("Sub", [self._tokens, scored])
        last = self._layer_norm(graph.slice(x, first, self._tokens, 1), "decoder.ln")
        logits = graph.linear(last, self._weights["decoder.token_embedding.weight"])
        graph.output(self._real(logits), "logits", FLOAT, ["batch", "scored", sizes.vocabulary])
        return graph.model()

    def _cache(self, name: str, layer: int, length: int | str) -> tuple[str, str]:
        sizes = self._sizes
        shape: Shape = ["batch", sizes.heads, length, sizes.state // sizes.heads]
        key = self._graph.input(f"{name}_key_{layer}", FLOAT, shape)
        return key, self._graph.input(f"{name}_value_{layer}", FLOAT, shape)

    def _embedded(self, tokens: str, padding: str, past: str) -> str:
        graph, context = self._graph, self._sizes.text_context
        # Looked up, not multiplied: float16 halves the largest table at no cost.
        table = self._weights["decoder.token_embedding.weight"].astype(np.float16)
        tokens = self._filled_up(tokens, 2)
        x = graph.node("Cast", [graph.node("Gather", [graph.constant(table), tokens])], to=FLOAT)
        end = graph.add(past, self._tokens)
        indices = graph.slice(graph.constant(np.arange(context)), graph.integers(0), end, 0)
        padding = graph.node("Unsqueeze", [padding, graph.integers(1)])
        self._bias = self._scores(indices, padding, past, end)
        places = graph.slice(indices, past, end, 0)
        places = graph.node("Max", [graph.node("Sub", [places, padding]), graph.integers(0)])
        positions = graph.constant(self._weights["decoder.positional_embedding"])
        return graph.add(x, graph.node("Gather", [positions, self._filled_up(places, 2)]))

    def _scores(self, indices: str, padding: str, past: str, end: str) -> str:
        """What is added to each token's scores of the tokens, `[batch, 1, tokens, present]`.

        Nothing for itself and those before it, and so little that it counts for nothing for those
        behind it and the padding.
        """
        graph = self._graph
        queries = graph.node("Unsqueeze", [graph.slice(indices, past, end, 0), graph.integers(1)])
        behind = graph.node("Greater", [indices, queries])
        outside = graph.node("Less", [indices, padding])
        outside = graph.node("Unsqueeze", [outside, graph.integers(1)])
        barred = graph.node("Unsqueeze", [graph.node("Or", [behind, outside]), graph.integers(1)])
        return graph.node(
            "Where", [barred, graph.constant(np.float32(NEVER)), graph.constant(np.float32(0))]
        )

    def _block(self, x: str, layer: int, past: tuple[str, str], cross: list[str]) -> str:
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
            [*parts, "", "", self._bias, *past],
            names=names,
            domain="com.microsoft",
            num_heads=sizes.heads,
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
