"""A stream to a served model, for tests: requests up, answers sorted by their request."""

from __future__ import annotations

import queue
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.utils import np_to_triton_dtype

from tritalk_client.errors import TritalkError

Value: TypeAlias = bytes | str | int | float | bool
Answer: TypeAlias = dict[str, Any]

_DTYPES = {bool: np.bool_, int: np.int32, float: np.float32}
_WAIT_S = 60.0


class Stream:
    """One gRPC stream; use it as a context manager.

    Args:
        grpc_url: `host:port` of the server.
        batched: Whether the models on it take tensors with a batch axis; `llm` does not.
    """

    def __init__(self, grpc_url: str, *, batched: bool = True) -> None:
        self._batched = batched
        self._client = triton.InferenceServerClient(grpc_url)
        self._arrived: queue.Queue[tuple[Any, Exception | None]] = queue.Queue()
        self._answers: dict[str, list[Answer | TritalkError | None]] = defaultdict(list)

    def __enter__(self) -> Stream:
        self._client.start_stream(lambda result, error: self._arrived.put((result, error)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.stop_stream(cancel_requests=True)
        self._client.close()

    def send(
        self,
        model: str,
        inputs: Mapping[str, Value],
        *,
        sequence_id: int = 0,
        start: bool = False,
        end: bool = False,
    ) -> str:
        """Send one request with tensors of one element; returns its id."""
        request_id = secrets.token_hex(8)
        self._client.async_stream_infer(
            model,
            [self._tensor(name, value) for name, value in inputs.items()],
            request_id=request_id,
            sequence_id=sequence_id,
            sequence_start=start,
            sequence_end=end,
            enable_empty_final_response=True,
        )
        return request_id

    def answers(self, request_id: str) -> Iterator[Answer]:
        """The answers to one request as they come, up to its last.

        Raises:
            TritalkError: The request failed.
        """
        while True:
            while not self._answers[request_id]:
                self._receive(request_id)
            answer = self._answers[request_id].pop(0)
            if isinstance(answer, TritalkError):
                raise answer
            if answer is None:
                return
            yield answer

    def _receive(self, waiting_for: str) -> None:
        result, error = self._arrived.get(timeout=_WAIT_S)
        if error is not None:
            # Triton does not say which request an error belongs to.
            self._answers[waiting_for].append(TritalkError.from_wire(error.message()))
            return
        response = result.get_response()
        outputs = {
            output.name: result.as_numpy(output.name).reshape(-1)[0] for output in response.outputs
        }
        if outputs:
            self._answers[response.id].append(outputs)
        if response.parameters["triton_final_response"].bool_param:
            self._answers[response.id].append(None)

    def _tensor(self, name: str, value: Value) -> triton.InferInput:
        array: npt.NDArray[Any]
        if isinstance(value, (bytes, str)):
            data = value.encode() if isinstance(value, str) else value
            array = np.array([[data]], dtype=np.object_)
        else:
            array = np.array([[value]], dtype=_DTYPES[type(value)])
        if not self._batched:
            array = array.reshape(1)
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        return tensor


def new_sequence_id() -> int:
    """An id that no other sequence has."""
    return secrets.randbits(60) + 1
