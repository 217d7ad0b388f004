"""Authors ONNX graphs: the few layers Whisper is made of.

Linear layers come in three precisions. `INT8_ROWS` quantises each row of the activations by its own
scale (ONNX's dynamic quantisation takes one scale for the whole tensor, so that a sequence would be
rounded differently with its neighbours in a batch than alone). `INT8_BLOCKS` is ONNX Runtime's
block-wise weight format, which does the same inside one operator and is faster for few rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
FLOAT = TensorProto.FLOAT
INT64 = TensorProto.INT64
_RUNTIME = "com.microsoft"
_BLOCK = 128
_LEVELS = 127.0

Array = npt.NDArray[Any]
Shape = Sequence[int | str]
"""Sizes of axes; a word names a dynamic one."""


class Precision(Enum):
    """How the weights of linear layers are kept and multiplied."""

    FLOAT32 = "float32"
    INT8_ROWS = "int8_rows"
    """8-bit weights, a scale per output; 8-bit activations, a scale per row. For many rows."""
    INT8_BLOCKS = "int8_blocks"
    """8-bit weights, a scale per block of 128 inputs; activations likewise. For few rows."""


class Graph:
    """A graph under construction; methods add nodes and return the names of their results.

    Args:
        name: The graph's name.
        precision: Of the linear layers.
    """

    def __init__(self, name: str, precision: Precision) -> None:
        self._name = name
        self._precision = precision
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, shape: Shape) -> str:
        """Declare an input."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def declare(self, name: str, kind: int, shape: Shape) -> None:
        """Declare the result of this name as an output."""
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def output(self, source: str, name: str, kind: int, shape: Shape) -> None:
        """Give a result this name and declare it as an output."""
        self.node("Identity", [source], name=name)
        self.declare(name, kind, shape)

    def constant(self, value: npt.ArrayLike) -> str:
        """A constant; small equal ones are stored once."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size < 64 else None
        if key is not None and key in self._known:
            return self._known[key]
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        if key is not None:
            self._known[key] = name
        return name

    def node(
        self,
        kind: str,
        inputs: Iterable[str],
        *,
        name: str = "",
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node of one result."""
        return self.nodes(kind, inputs, names=[name], domain=domain, **attributes)[0]

    def nodes(
        self,
        kind: str,
        inputs: Iterable[str],
        *,
        names: Sequence[str],
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        """Add a node of several results; an empty name is replaced by a new one."""
        results = [name or f"{kind}_{len(self._nodes)}_{index}" for index, name in enumerate(names)]
        self._nodes.append(
            helper.make_node(kind, list(inputs), results, domain=domain, **attributes)
        )
        return results

    def contrib(self, kind: str, inputs: Iterable[str], **attributes: Any) -> str:
        """Add a node of ONNX Runtime's own operators."""
        return self.node(kind, inputs, domain=_RUNTIME, **attributes)

    def add(self, left: str, right: str) -> str:
        """Sum, with broadcasting."""
        return self.node("Add", [left, right])

    def integers(self, *values: int) -> str:
        """A constant int64 vector, as shapes, axes and bounds want it."""
        return self.constant(np.array(values, dtype=np.int64))

    def slice(self, source: str, begin: str, end: str, axis: int) -> str:
        """The part of `source` from `begin` to `end` along an axis; bounds are int64 `[1]`."""
        return self.node("Slice", [source, begin, end, self.integers(axis)])

    def length(self, source: str, axis: int) -> str:
        """The size of an axis, int64 `[1]`."""
        return self.node("Shape", [source], start=axis, end=axis + 1)

    def layer_norm(self, source: str, weight: Array, bias: Array) -> str:
        """Layer normalisation over the last axis, with PyTorch's epsilon."""
        constants = [self.constant(weight), self.constant(bias)]
        return self.node("LayerNormalization", [source, *constants], axis=-1, epsilon=1e-5)

    def linear(self, source: str, weight: Array, bias: Array | None = None) -> str:
        """`source @ weight.T + bias` in the graph's precision.

        Args:
            source: float32 `[..., inputs]`.
            weight: float32 `[outputs, inputs]`.
            bias: float32 `[outputs]`.
        """
        if self._precision is Precision.FLOAT32:
            product = self.node("MatMul", [source, self.constant(weight.T)])
        elif self._precision is Precision.INT8_ROWS:
            product = self._linear_rows(source, weight)
        else:
            product = self._linear_blocks(source, weight)
        return product if bias is None else self.add(product, self.constant(bias))

    def _linear_rows(self, source: str, weight: Array) -> str:
        scales = np.abs(weight).max(axis=1) / _LEVELS
        quantised = np.round(weight / scales[:, None]).astype(np.int8)
        rows = self._quantised_rows(source)
        unit = self.constant(np.float32(1 / _LEVELS))
        product = self.contrib(
            "MatMulIntegerToFloat",
            [
                rows[0],
                self.constant(quantised.T),
                unit,
                self.constant(scales.astype(np.float32)),
                self.constant(np.uint8(128)),
            ],
        )
        return self.node("Mul", [product, rows[1]])

    def _quantised_rows(self, source: str) -> tuple[str, str]:
        """`source` as uint8 around 128, and the largest magnitude of each row."""
        largest = self.node(
            "ReduceMax", [self.node("Abs", [source]), self.integers(-1)], keepdims=1
        )
        # A row of zeros stays zeros.
        largest = self.node("Max", [largest, self.constant(np.float32(1e-9))])
        unit = self.constant(np.float32(1 / _LEVELS))
        levels = self.node(
            "QuantizeLinear",
            [self.node("Div", [source, largest]), unit, self.constant(np.uint8(128))],
        )
        return levels, largest

    def _linear_blocks(self, source: str, weight: Array) -> str:
        outputs, inputs = weight.shape
        blocks = weight.reshape(outputs, inputs // _BLOCK, _BLOCK)
        scales = np.abs(blocks).max(axis=-1) / _LEVELS
        quantised = (np.round(blocks / scales[..., None]) + 128).astype(np.uint8)
        return self.contrib(
            "MatMulNBits",
            [source, self.constant(quantised), self.constant(scales.astype(np.float32))],
            K=inputs,
            N=outputs,
            bits=8,
            block_size=_BLOCK,
            accuracy_level=4,
        )

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, self._constants
        )
        return helper.make_model(
            graph,
            producer_name="tritalk",
            ir_version=10,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(_RUNTIME, 1)],
        )
