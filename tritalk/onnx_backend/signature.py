"""The inputs and outputs of a graph, in Triton's terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from tritalk.onnx_backend.errors import OnnxModelError

# ONNX Runtime's name of a type, Triton's, and numpy's. bfloat16 is missing: numpy has none.
_TYPES: tuple[tuple[str, str, Any], ...] = (
    ("tensor(bool)", "TYPE_BOOL", np.bool_),
    ("tensor(uint8)", "TYPE_UINT8", np.uint8),
    ("tensor(uint16)", "TYPE_UINT16", np.uint16),
    ("tensor(uint32)", "TYPE_UINT32", np.uint32),
    ("tensor(uint64)", "TYPE_UINT64", np.uint64),
    ("tensor(int8)", "TYPE_INT8", np.int8),
    ("tensor(int16)", "TYPE_INT16", np.int16),
    ("tensor(int32)", "TYPE_INT32", np.int32),
    ("tensor(int64)", "TYPE_INT64", np.int64),
    ("tensor(float16)", "TYPE_FP16", np.float16),
    ("tensor(float)", "TYPE_FP32", np.float32),
    ("tensor(double)", "TYPE_FP64", np.float64),
    ("tensor(string)", "TYPE_STRING", np.object_),
)


@dataclass(frozen=True)
class Tensor:
    """One input or output of a graph.

    Attributes:
        name: Its name.
        triton_type: Triton's name of its type, `TYPE_FP32` for example.
        dtype: Its type in numpy; text is object.
        shape: Its sizes, −1 where the graph leaves one open.
        optional: Whether an input has a value of its own in the graph.
    """

    name: str
    triton_type: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    optional: bool = False

    @property
    def text(self) -> bool:
        """Whether it holds text."""
        return self.triton_type == "TYPE_STRING"

    @property
    def has_rows(self) -> bool:
        """Whether its first size is open."""
        return self.shape[:1] == (-1,)

    def misfit(self, array: npt.NDArray[Any]) -> str | None:
        """What is wrong with an array for this tensor, None when nothing is."""
        if array.dtype != self.dtype:
            return f"input {self.name} must be {self.dtype}, got {array.dtype}"
        fits = len(array.shape) == len(self.shape) and all(
            wanted in (-1, got) for wanted, got in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            return (
                f"input {self.name} must have the shape {list(self.shape)}, got {list(array.shape)}"
            )
        return None


@dataclass(frozen=True)
class Signature:
    """All inputs and outputs of a graph, in the graph's order."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    @property
    def batches(self) -> bool:
        """Whether every tensor that must be there has rows, so that requests can share a run."""
        required = (tensor for tensor in self.inputs.values() if not tensor.optional)
        return all(tensor.has_rows for tensor in (*required, *self.outputs.values()))

    @classmethod
    def of(cls, session: onnxruntime.InferenceSession) -> Signature:
        """Read it from a session.

        Raises:
            OnnxModelError: A tensor is of a type that cannot cross the Python backend.
        """
        required = _tensors(session.get_inputs(), optional=False)
        optional = _tensors(session.get_overridable_initializers(), optional=True)
        return cls(
            inputs={**required, **optional},
            outputs=_tensors(session.get_outputs(), optional=False),
        )


def _tensors(nodes: Iterable[Any], *, optional: bool) -> dict[str, Tensor]:
    known = {name: (triton_type, np.dtype(dtype)) for name, triton_type, dtype in _TYPES}
    tensors = {}
    for node in nodes:
        if node.type not in known:
            if optional:
                # Nobody can set it, and nobody has to.
                continue
            raise OnnxModelError(
                f"tensor {node.name} is a {node.type}, which the Python-based onnxruntime backend "
                "cannot serve: cast it in the graph, or use NVIDIA's C++ backend"
            )
        triton_type, dtype = known[node.type]
        shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
        tensors[node.name] = Tensor(node.name, triton_type, dtype, shape, optional)
    return tensors
