"""A plain gRPC client of the `llm` model, which measures what comes back."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from typing_extensions import Self

from tritalk_client import wire
from tritalk_client.errors import TritalkError
from tritalk_client.wire import ChatMessage, Sampling, Usage

_WAIT_S = 60.0


@dataclass(frozen=True)
class Answered:
    """One answer and how long it took, in seconds from its request."""

    text: str
    usage: Usage
    first_s: float
    """To the first text; to the end where there was none."""
    total_s: float


class LlmClient:
    """One gRPC stream to the served model; a context manager, for one request at a time.

    Args:
        grpc_url: `host:port` of the server.
    """

    def __init__(self, grpc_url: str) -> None:
        self._client = triton.InferenceServerClient(grpc_url)
        self._came: queue.Queue[tuple[float, Any, Exception | None]] = queue.Queue()

    def __enter__(self) -> Self:
        """Open the stream."""
        self._client.start_stream(
            lambda result, error: self._came.put((time.perf_counter(), result, error))
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self._client.stop_stream(cancel_requests=True)
        self._client.close()

    def ask(self, messages: Sequence[ChatMessage], sampling: Sampling) -> Answered:
        """One answer, up to its end."""
        began = time.perf_counter()
        self.begin(messages, sampling)
        texts: list[str] = []
        first_at = None
        for at, text, usage in self.pieces():
            if text and first_at is None:
                first_at = at
            texts.append(text)
            if usage is not None:
                return Answered("".join(texts), usage, (first_at or at) - began, at - began)
        raise RuntimeError("the answer ended without its usage")

    def begin(self, messages: Sequence[ChatMessage], sampling: Sampling) -> str:
        """Send a request; returns its id."""
        request_id = secrets.token_hex(8)
        self._send(
            {"MESSAGES": wire.encode(list(messages)), "SAMPLING": wire.encode(sampling)},
            request_id,
        )
        return request_id

    def pieces(self) -> Iterator[tuple[float, str, Usage | None]]:
        """When each response came, its text, and the usage in the last.

        Raises:
            TritalkError: The request failed.
        """
        while True:
            at, result, error = self._came.get(timeout=_WAIT_S)
            if error is not None:
                raise TritalkError.from_wire(str(error))
            text = result.as_numpy("TEXT")[0].decode()
            usage = result.as_numpy("USAGE")[0]
            yield at, text, wire.decode(usage, Usage) if usage else None
            if usage:
                return

    def cancel(self, request_id: str) -> None:
        """Stop a request; its last response and the one to this, without usage, follow."""
        self._send({"CANCEL": request_id.encode()}, secrets.token_hex(8))

    def _send(self, inputs: dict[str, bytes], request_id: str) -> None:
        tensors = []
        for name, data in inputs.items():
            tensor = triton.InferInput(name, [1], "BYTES")
            tensor.set_data_from_numpy(np.array([data], dtype=np.object_))
            tensors.append(tensor)
        self._client.async_stream_infer("llm", tensors, request_id=request_id)
