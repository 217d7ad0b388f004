"""Triton's gRPC protocol as tritalk uses it: requests, responses and errors, without any I/O.

Shared by the blocking and the asyncio side. The messages are those of the stubs that tritonclient
ships; its `InferenceServerClient` itself is not used, since one carries one stream at a time and
leaves a thread behind with every stream that is cancelled.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import serialize_byte_tensor

from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import MAX_TEXT_CHARS

T = TypeVar("T")

InferRequest: TypeAlias = Any
"""`service_pb2.ModelInferRequest`; protobuf's generated classes have no types."""

InferResponse: TypeAlias = Any
"""`service_pb2.ModelInferResponse`."""

StreamResponse: TypeAlias = Any
"""`service_pb2.ModelStreamInferResponse`."""


@dataclass(frozen=True)
class End:
    """The stream has ended.

    Attributes:
        error: Why, None when the server ended it as it should.
    """

    error: grpc.RpcError | None


TensorValue: TypeAlias = bytes | float | bool | np.int32
"""The one element of an input."""

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_FIRST_RECONNECT_MS = 200
_LONGEST_RECONNECT_MS = 2_000


def channel_options(connect_s: float) -> list[tuple[str, int]]:
    """Settings of a gRPC connection.

    Args:
        connect_s: Longest time that an attempt to connect may take, in seconds.
    """
    return [
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        # Despite its name, gRPC takes it as the deadline of each attempt to connect.
        ("grpc.min_reconnect_backoff_ms", int(connect_s * 1000)),
        # A server that comes back is found soon, however long it was away.
        ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", _LONGEST_RECONNECT_MS),
    ]


def check_server(server: str) -> str:
    """An address as gRPC takes it.

    Raises:
        TritalkError: BAD_REQUEST when it is not `host:port`.
    """
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal() or "/" in server:
        raise TritalkError(
            ErrorCode.BAD_REQUEST,
            f"the server is given as host:port of its gRPC endpoint (localhost:8001), "
            f"not as {server!r}",
        )
    return server


def new_sequence_id() -> int:
    """A sequence id that no other client has by chance: Triton takes 1 to 2^63 − 1."""
    return secrets.randbelow(2**63 - 1) + 1


def infer_request(
    model: str,
    tensors: Mapping[str, TensorValue],
    *,
    request_id: str = "",
    sequence_id: int = 0,
    start: bool = False,
    end: bool = False,
    batched: bool = True,
) -> InferRequest:
    """A request to a model.

    Args:
        model: Its name.
        tensors: One element each: bytes as BYTES, a truth value as BOOL, numpy's int32 as INT32,
            another number as FP32.
        request_id: What its responses are told apart by.
        sequence_id: The sequence it belongs to, 0 when it belongs to none.
        start: Whether it begins the sequence.
        end: Whether it ends the sequence.
        batched: Whether the model batches: its tensors are `[1, 1]` then, else `[1]`.
    """
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    for name, value in tensors.items():
        kind, raw = _raw(value)
        request.inputs.add(name=name, datatype=kind, shape=[1, 1] if batched else [1])
        request.raw_input_contents.append(raw)
    if sequence_id:
        request.parameters["sequence_id"].int64_param = sequence_id
        request.parameters["sequence_start"].bool_param = start
        request.parameters["sequence_end"].bool_param = end
    return request


def output_bytes(response: InferResponse, name: str) -> bytes:
    """The one element of a BYTES output, empty when the response does not have it.

    Raises:
        TritalkError: INTERNAL when the tensor does not hold one element.
    """
    array = _output(response, name)
    if array is None:
        return b""
    data: bytes = array.reshape(-1)[0]
    return data


def output_int(response: InferResponse, name: str) -> int:
    """The one element of an INT32 output.

    Raises:
        TritalkError: INTERNAL when the response does not have it.
    """
    array = _output(response, name)
    if array is None:
        raise TritalkError(ErrorCode.INTERNAL, f"the server's response has no tensor {name}")
    return int(array.reshape(-1)[0])


def from_server(read: Callable[[bytes], T], data: bytes) -> T:
    """Read a message of the server's.

    Raises:
        TritalkError: INTERNAL when this client cannot read it.
    """
    try:
        return read(data)
    except TritalkError as error:
        raise TritalkError(
            ErrorCode.INTERNAL,
            f"the server sent a message that this client does not know, "
            f"use a tritalk-client of the server's version ({error.message})",
        ) from error


def checked_text(text: str) -> str:
    """A text that the server takes.

    Raises:
        TritalkError: BAD_REQUEST when there are no words in it, TOO_LARGE when it is too long.
    """
    if not text.strip():
        raise TritalkError(ErrorCode.BAD_REQUEST, "the text is empty")
    if len(text) > MAX_TEXT_CHARS:
        raise TritalkError(
            ErrorCode.TOO_LARGE,
            f"the text has {len(text)} characters, at most {MAX_TEXT_CHARS} are taken",
        )
    return text


def model_error(text: str, server: str) -> TritalkError:
    """The error behind an error message of a response.

    Args:
        text: The message: an error of ours, or words of Triton's own.
        server: The address, for the message.
    """
    found = TritalkError.find_in(text)
    if found is not None:
        return found
    words = text.lower()
    for phrase, code, advice in _TRITON_ERRORS:
        if phrase in words:
            return TritalkError(code, f"{server}: {advice} ({_one_line(text)})")
    return TritalkError(ErrorCode.INTERNAL, f"{server}: {_one_line(text)}")


def call_error(error: grpc.RpcError, server: str) -> TritalkError:
    """The error behind a gRPC call that failed.

    Args:
        error: What the call raised; it has a status code and details.
        server: The address, for the message.
    """
    code, details = error.code(), error.details() or ""
    known = model_error(details, server)
    if known.code is not ErrorCode.INTERNAL or TritalkError.find_in(details) is not None:
        return known
    if code is grpc.StatusCode.UNAVAILABLE:
        return TritalkError(
            ErrorCode.UNAVAILABLE,
            f"no connection to {server}: see that the server runs and that this is the address "
            f"of its gRPC endpoint ({_one_line(details)})",
        )
    return TritalkError(
        _STATUS_CODES.get(code, ErrorCode.INTERNAL), f"{server}: {_one_line(details) or code.name}"
    )


# Triton sends its own errors on a stream as words without a status.
_TRITON_ERRORS = (
    ("exceeds maximum queue size", ErrorCode.BUSY, "too much work is queued, try again later"),
    ("timeout expired", ErrorCode.TIMEOUT, "the request waited too long in the server's queue"),
    ("is not healthy", ErrorCode.UNAVAILABLE, "a model's process has died and must be restarted"),
    ("unknown model", ErrorCode.UNAVAILABLE, "the model is not loaded"),
    ("not ready", ErrorCode.UNAVAILABLE, "the model is not ready"),
    ("has no available versions", ErrorCode.UNAVAILABLE, "the model is not ready"),
    ("server is stopping", ErrorCode.UNAVAILABLE, "the server is being stopped"),
    (
        "must specify the start flag",
        ErrorCode.UNAVAILABLE,
        "the server has closed this conversation, open a new one",
    ),
)

_STATUS_CODES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorCode.TIMEOUT,
    grpc.StatusCode.CANCELLED: ErrorCode.CANCELLED,
    grpc.StatusCode.NOT_FOUND: ErrorCode.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED: ErrorCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorCode.TOO_LARGE,
    grpc.StatusCode.INVALID_ARGUMENT: ErrorCode.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: ErrorCode.BAD_REQUEST,
    grpc.StatusCode.PERMISSION_DENIED: ErrorCode.BAD_REQUEST,
}


def _raw(value: TensorValue) -> tuple[str, bytes]:
    if isinstance(value, bytes):
        array = np.array([value], dtype=np.object_)
        raw: bytes = serialize_byte_tensor(array).item()
        return "BYTES", raw
    if isinstance(value, bool):
        return "BOOL", struct.pack("?", value)
    if isinstance(value, np.int32):
        return "INT32", struct.pack("<i", value)
    return "FP32", struct.pack("<f", value)


def _output(response: InferResponse, name: str) -> npt.NDArray[Any] | None:
    array: npt.NDArray[Any] | None = InferResult(response).as_numpy(name)
    if array is not None and array.size != 1:
        raise TritalkError(
            ErrorCode.INTERNAL, f"the tensor {name} must hold one element, got {array.size}"
        )
    return array


def _one_line(text: str) -> str:
    return " ".join(text.split())
