"""One small request per model, to see that it answers: READY is what Triton says of dead ones too.

A new model of tritalk gets its line in `_REQUESTS`. What is asked is cheap and leaves
nothing behind; where a real answer would need a portrait, the typed refusal of an avatar that
does not exist is the answer, since only a model that lives and reads its input gives it.
"""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.grpc.model_config_pb2 import DataType
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

from tritalk.audio import pcm_bytes
from tritalk.server.errors import ServerError
from tritalk.server.log import brief
from tritalk.server.repository import Model
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

Value: TypeAlias = npt.NDArray[Any] | bytes | str

DEAD = "is not healthy"
"""What Triton says for a model whose process is gone."""
_NO_SUCH_AVATAR = "smoke-test"
_POLL_S = 0.1
_FINAL = "triton_final_response"


@dataclass(frozen=True)
class SmokeRequest:
    """What to ask of a model.

    Attributes:
        inputs: The input tensors, without the batch axis; text and bytes are one BYTES element.
        refusals: Errors that are as good as an answer; None is any that a live model gives.
    """

    inputs: dict[str, Value]
    refusals: frozenset[ErrorCode] | None = frozenset()


def _asr(_: Model) -> SmokeRequest:
    silence = bytes(pcm_bytes(0.3, wire.INPUT_SAMPLE_RATE_HZ))
    return SmokeRequest(
        {"AUDIO": silence, "OPTIONS": wire.encode(wire.RecognitionOptions())},
        frozenset({ErrorCode.NO_SPEECH}),
    )


def _llm(_: Model) -> SmokeRequest:
    return SmokeRequest(
        {
            "MESSAGES": wire.encode([wire.ChatMessage(role="user", content="Hello")]),
            "SAMPLING": wire.encode(wire.Sampling(max_new_tokens=1)),
        }
    )


def _tts(_: Model) -> SmokeRequest:
    return SmokeRequest({"TEXT": "Hello."})


def _avatar(_: Model) -> SmokeRequest:
    return SmokeRequest({"COMMAND": wire.encode(wire.AvatarList())})


def _animate(_: Model) -> SmokeRequest:
    return SmokeRequest(
        {
            "AUDIO": bytes(pcm_bytes(0.1, wire.INPUT_SAMPLE_RATE_HZ)),
            "SAMPLE_RATE": np.array([wire.INPUT_SAMPLE_RATE_HZ], np.int32),
            "OPTIONS": wire.encode(wire.AnimateOptions(avatar_id=_NO_SUCH_AVATAR)),
        },
        frozenset({ErrorCode.UNKNOWN_AVATAR}),
    )


def _narrate(model: Model) -> SmokeRequest:
    inputs: dict[str, Value] = {
        "TEXT": "Hello.",
        "VOICE": "",
        "SPEED": np.array([1.0], np.float32),
        "OPTIONS": wire.encode(wire.AnimateOptions(avatar_id=_NO_SUCH_AVATAR)),
    }
    return SmokeRequest(
        {tensor.name: inputs[tensor.name] for tensor in model.config.input if not tensor.optional},
        frozenset({ErrorCode.UNKNOWN_AVATAR}),
    )


def _talker(_: Model) -> SmokeRequest:
    return SmokeRequest(
        {"REQUEST": wire.encode(wire.Configure(avatar_id=_NO_SUCH_AVATAR))},
        frozenset({ErrorCode.UNKNOWN_AVATAR}),
    )


def _wav2lip(model: Model) -> SmokeRequest:
    return SmokeRequest(_zeros(model))


_REQUESTS: dict[str, Callable[[Model], SmokeRequest]] = {
    "asr": _asr,
    "llm": _llm,
    "tts": _tts,
    "avatar": _avatar,
    "animate": _animate,
    "narrate": _narrate,
    "talker": _talker,
    "wav2lip": _wav2lip,
}


def smoke_request(model: Model) -> SmokeRequest:
    """What to ask of a model; one that is not tritalk's gets zeros, and may refuse them."""
    make = _REQUESTS.get(model.name)
    return make(model) if make else SmokeRequest(_zeros(model), refusals=None)


def _zeros(model: Model) -> dict[str, Value]:
    """Zeros, or empty text, in every tensor that must be given, and in one at least."""
    inputs: dict[str, Value] = {}
    for tensor in model.config.input:
        if tensor.optional and inputs:
            continue
        name = DataType.Name(tensor.data_type).removeprefix("TYPE_")
        kind = triton_to_np_dtype("BYTES" if name == "STRING" else name)
        shape = [max(1, size) for size in tensor.dims]
        inputs[tensor.name] = np.full(shape, b"" if kind is np.object_ else 0, kind)
    return inputs


def ask(
    grpc_url: str, model: Model, *, timeout_s: float, cancelled: Callable[[], bool]
) -> float | None:
    """Send a model its smoke request and wait for the end of its answer.

    Args:
        grpc_url: The server's `host:port`.
        model: The model; its configuration says whether tensors have a batch axis.
        timeout_s: Longest time for the whole answer.
        cancelled: Asked again and again; the wait ends when it says yes.

    Returns:
        Seconds until the model had answered, None when the wait was cancelled.

    Raises:
        ServerError: It did not answer in time, or answered with an error that is no refusal.
    """
    request = smoke_request(model)
    began = time.monotonic()
    answers: queue.Queue[tuple[Any, InferenceServerException | None]] = queue.Queue()
    client = triton.InferenceServerClient(grpc_url)
    try:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer(
            model.name,
            _tensors(model, request),
            sequence_id=secrets.randbits(62) + 1 if _takes_sequences(model) else 0,
            sequence_start=True,
            sequence_end=True,
            enable_empty_final_response=True,
        )
        while not cancelled():
            try:
                result, error = answers.get(timeout=_POLL_S)
            except queue.Empty:
                if time.monotonic() - began > timeout_s:
                    raise ServerError(
                        f"{model.name} does not answer: nothing in {timeout_s:.0f} s"
                    ) from None
                continue
            if error is not None:
                _accept(model, request, error)
                return time.monotonic() - began
            if result.get_response().parameters[_FINAL].bool_param:
                return time.monotonic() - began
        return None
    except InferenceServerException as error:
        raise ServerError(f"{model.name} does not answer: {error.message()}") from error
    finally:
        client.stop_stream(cancel_requests=True)
        client.close()


def _accept(model: Model, request: SmokeRequest, error: InferenceServerException) -> None:
    answer = TritalkError.from_wire(error.message())
    if request.refusals is None:
        answered = DEAD not in answer.message
    else:
        answered = answer.code in request.refusals
    if not answered:
        raise ServerError(f"{model.name} does not answer: {brief(str(answer))}")


def _takes_sequences(model: Model) -> bool:
    # The steps of an ensemble may be sequences, which its own configuration does not say.
    return model.ensemble or bool(model.config.HasField("sequence_batching"))


def _tensors(model: Model, request: SmokeRequest) -> list[triton.InferInput]:
    tensors = []
    for name, value in request.inputs.items():
        if isinstance(value, (bytes, str)):
            data = value.encode() if isinstance(value, str) else value
            array: npt.NDArray[Any] = np.array([data], dtype=np.object_)
        else:
            array = value
        if model.config.max_batch_size > 0:
            array = array[np.newaxis]
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors
