"""A configuration completed from the graph, as the C++ `onnxruntime` backend does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tritalk.onnx_backend.errors import OnnxModelError
from tritalk.onnx_backend.signature import Signature, Tensor

_DEFAULT_MAX_BATCH_SIZE = 4
"""Triton's own default, which a Python-based backend is not told of."""


def complete(config: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """The entries of a configuration that it lacks and the graph knows.

    Args:
        config: Triton's configuration of a model.
        signature: The graph's inputs and outputs.

    Returns:
        Entries to put into the configuration; none when it names inputs and outputs itself.

    Raises:
        OnnxModelError: It asks for batches, which the graph cannot do.
    """
    if config.get("input") and config.get("output"):
        return {}
    entries: dict[str, Any] = {}
    max_batch_size = int(config.get("max_batch_size", 0))
    if signature.batches:
        max_batch_size = max_batch_size or _DEFAULT_MAX_BATCH_SIZE
        entries["max_batch_size"] = max_batch_size
        if max_batch_size > 1 and not {"sequence_batching", "dynamic_batching"} & config.keys():
            entries["dynamic_batching"] = {}
    elif max_batch_size > 0:
        raise OnnxModelError(
            "max_batch_size is above 0, but the graph's tensors do not all have an open first size"
        )
    batches = max_batch_size > 0
    if not config.get("input"):
        entries["input"] = _entries(signature.inputs.values(), batches=batches)
    if not config.get("output"):
        entries["output"] = _entries(signature.outputs.values(), batches=batches)
    return entries


def _entries(tensors: Iterable[Tensor], *, batches: bool) -> list[dict[str, Any]]:
    entries = []
    for tensor in tensors:
        if batches and not tensor.has_rows:
            # An optional input that all requests of a batch would have to share.
            continue
        dims = list(tensor.shape[1:] if batches else tensor.shape)
        entry: dict[str, Any] = {"name": tensor.name, "data_type": tensor.triton_type}
        if tensor.optional:
            entry["optional"] = True
        if not dims and batches:
            # Triton has no empty dims; one value a row is [1] outside and nothing inside.
            entry["reshape"] = {"shape": []}
        entries.append({**entry, "dims": dims or [1]})
    return entries
