"""Requests that Triton hands over together, run together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from tritalk.onnx_backend.errors import OnnxModelError
from tritalk.onnx_backend.signature import Signature, Tensor
from tritalk.onnx_session import ONNX_RUNTIME_ERRORS, reason

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class InferRequest:
    """One request.

    Attributes:
        inputs: Arrays by the names of the graph's inputs; text as object arrays of bytes.
        outputs: Names of the outputs that are wanted.
    """

    inputs: Arrays
    outputs: Collection[str]


@dataclass(frozen=True)
class RequestError:
    """Why a request has no answer.

    Attributes:
        message: One line.
        invalid: Whether the request is to blame; else ONNX Runtime failed.
    """

    message: str
    invalid: bool


Outcome: TypeAlias = Arrays | RequestError


class OnnxModel:
    """A loaded graph under one configuration.

    Args:
        session: The graph.
        config: Triton's configuration of the model.
        run_options: ONNX Runtime's options of each run.

    Raises:
        OnnxModelError: The configuration does not fit the graph.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        config: Mapping[str, Any],
        run_options: onnxruntime.RunOptions | None = None,
    ) -> None:
        self._session = session
        self._run_options = run_options
        self._signature = Signature.of(session)
        self._batches = config.get("max_batch_size", 0) > 0
        _check(self._signature, config, batches=self._batches)

    def run(self, requests: Sequence[InferRequest]) -> list[Outcome]:
        """Answer requests, in their order; those that fit together share a run.

        An array of an answer may be a view of the whole run's output.
        """
        outcomes: dict[int, Outcome] = {}
        groups: dict[object, list[tuple[int, InferRequest]]] = {}
        for index, request in enumerate(requests):
            inputs = self._prepared(request.inputs)
            if isinstance(inputs, RequestError):
                outcomes[index] = inputs
                continue
            key = _shapes(inputs) if self._batches else index
            groups.setdefault(key, []).append((index, InferRequest(inputs, request.outputs)))
        for group in groups.values():
            answers = self._run_group([request for _, request in group])
            outcomes.update(zip((index for index, _ in group), answers, strict=True))
        return [outcomes[index] for index in range(len(requests))]

    def _prepared(self, inputs: Arrays) -> Arrays | RequestError:
        """The arrays as the graph wants them, or what is wrong with them."""
        prepared = {}
        for name, array in inputs.items():
            tensor = self._signature.inputs.get(name)
            if tensor is None:
                return RequestError(f"there is no input {name}", invalid=True)
            # Triton has no scalars; the configuration of one says [1].
            fitted = array.reshape(()) if not tensor.shape and array.size == 1 else array
            if problem := tensor.misfit(fitted):
                return RequestError(problem, invalid=True)
            if tensor.text:
                try:
                    fitted = _decoded(fitted)
                except UnicodeDecodeError as error:
                    return RequestError(f"input {name} is not UTF-8: {error}", invalid=True)
            prepared[name] = fitted
        missing = [
            name
            for name, tensor in self._signature.inputs.items()
            if name not in prepared and not tensor.optional
        ]
        if missing:
            return RequestError(f"input {', '.join(missing)} is missing", invalid=True)
        if self._batches and len({array.shape[0] for array in prepared.values()}) > 1:
            return RequestError("all inputs must have the same batch size", invalid=True)
        return prepared

    def _run_group(self, requests: Sequence[InferRequest]) -> list[Outcome]:
        wanted = {name for request in requests for name in request.outputs}
        names = [name for name in self._signature.outputs if name in wanted]
        try:
            arrays = self._session.run(
                names, _joined([request.inputs for request in requests]), self._run_options
            )
        except ONNX_RUNTIME_ERRORS as error:
            if len(requests) == 1:
                return [RequestError(reason(error), invalid=False)]
            # The values of one request may be to blame, and the others have done nothing.
            return [answer for request in requests for answer in self._run_group([request])]
        outputs = {
            name: self._finished(self._signature.outputs[name], array)
            for name, array in zip(names, arrays, strict=True)
        }
        return self._split(requests, outputs)

    def _finished(self, tensor: Tensor, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        finished = array.reshape(1) if array.ndim == 0 else array
        return _encoded(finished) if tensor.text else finished

    def _split(self, requests: Sequence[InferRequest], outputs: Arrays) -> list[Outcome]:
        """Give each request its part of the outputs, along the first axis."""
        if not self._batches:
            return [_picked(outputs, requests[0].outputs)]
        sizes = [next(iter(request.inputs.values())).shape[0] for request in requests]
        ends = np.cumsum(sizes).tolist()
        for name, array in outputs.items():
            if array.shape[0] != ends[-1]:
                error = RequestError(
                    f"output {name} has {array.shape[0]} rows for a batch of {ends[-1]}: the "
                    "graph does not batch along its first axis",
                    invalid=False,
                )
                return [error for _ in requests]
        return [
            _picked({name: array[end - size : end] for name, array in outputs.items()}, wanted)
            for size, end, wanted in zip(
                sizes, ends, (request.outputs for request in requests), strict=True
            )
        ]


def _check(signature: Signature, config: Mapping[str, Any], *, batches: bool) -> None:
    """See that a configuration fits a graph.

    Raises:
        OnnxModelError: It does not; names the tensor.
    """
    if batches and not signature.batches:
        raise OnnxModelError(
            "max_batch_size is above 0, but the graph's tensors do not all have an open first size"
        )
    if config.get("batch_input") or config.get("batch_output"):
        raise OnnxModelError("batch_input and batch_output need NVIDIA's C++ onnxruntime backend")
    sequence = config.get("sequence_batching", {})
    if sequence.get("state"):
        raise OnnxModelError("sequence_batching.state needs NVIDIA's C++ onnxruntime backend")
    controls = {control["name"] for control in sequence.get("control_input", ())}
    _check_tensors("input", config.get("input", ()), signature.inputs, batches=batches)
    _check_tensors("output", config.get("output", ()), signature.outputs, batches=batches)
    configured = {tensor["name"] for tensor in config.get("input", ())} | controls
    for name, tensor in signature.inputs.items():
        if name not in configured and not tensor.optional:
            raise OnnxModelError(f"input {name} of the graph is missing in config.pbtxt")
    for name in controls - signature.inputs.keys():
        raise OnnxModelError(f"the graph has no input {name} for the sequence control")


def _check_tensors(
    kind: str,
    configured: Iterable[Mapping[str, Any]],
    graph: Mapping[str, Tensor],
    *,
    batches: bool,
) -> None:
    for entry in configured:
        name = entry["name"]
        if name not in graph:
            raise OnnxModelError(f"the graph has no {kind} {name}: it has {', '.join(graph)}")
        tensor = graph[name]
        if entry["data_type"] != tensor.triton_type:
            raise OnnxModelError(
                f"{kind} {name} is {tensor.triton_type} in the graph and "
                f"{entry['data_type']} in config.pbtxt"
            )
        dims = entry["reshape"].get("shape", ()) if "reshape" in entry else entry["dims"]
        shape = ((-1,) if batches else ()) + tuple(int(size) for size in dims)
        scalar = not tensor.shape and shape == (1,)
        rows_fit = tensor.has_rows or not batches
        if not scalar and not (rows_fit and _may_fit(tensor.shape, shape)):
            raise OnnxModelError(
                f"{kind} {name} has the shape {list(tensor.shape)} in the graph and "
                f"{list(shape)} in config.pbtxt"
            )


def _may_fit(graph: tuple[int, ...], configured: tuple[int, ...]) -> bool:
    return len(graph) == len(configured) and all(
        a == b or -1 in (a, b) for a, b in zip(graph, configured, strict=True)
    )


def _shapes(inputs: Arrays) -> object:
    return tuple(sorted((name, array.shape[1:]) for name, array in inputs.items()))


def _joined(inputs: Sequence[Arrays]) -> Arrays:
    if len(inputs) == 1:
        return inputs[0]
    return {name: np.concatenate([arrays[name] for arrays in inputs]) for name in inputs[0]}


def _picked(outputs: Arrays, names: Collection[str]) -> Arrays:
    return {name: array for name, array in outputs.items() if name in names}


def _decoded(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return _texts([item.decode() for item in array.reshape(-1)], array.shape)


def _encoded(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return _texts([item.encode() for item in array.reshape(-1)], array.shape)


def _texts(items: Sequence[object], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    array = np.empty(len(items), dtype=np.object_)
    array[:] = items
    return array.reshape(shape)
