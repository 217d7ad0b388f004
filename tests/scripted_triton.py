"""A gRPC server that speaks Triton's protocol and plays the part of the models from a script."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_BYTES_PER_S = 32_000
_END_SILENCE_BYTES = _BYTES_PER_S * 3 // 10
_INTERRUPT_BYTES = _BYTES_PER_S * 3 // 10
READY = ("asr", "llm", "tts", "avatar", "wav2lip", "animate", "talker", "narrate")
_WAIT_S = 10.0
# Longer than any test waits, so that only the end of a call cuts it short.
_FOREVER_S = 600.0
_TICK_S = 0.05


@dataclass(frozen=True)
class Pause:
    """Say nothing until the question is interrupted or the stream ends, or for so long."""

    seconds: float = _FOREVER_S


class Freeze:
    """Say and hear nothing until the call is over."""


@dataclass(frozen=True)
class Words:
    """An error message on the stream, in Triton's words or ours."""

    text: str


@dataclass(frozen=True)
class Abort:
    """The call fails with a status of gRPC's."""

    code: grpc.StatusCode
    details: str


class Hangup:
    """The stream ends as if all were well."""


Step: TypeAlias = wire.Event | tuple[wire.Media, bytes] | Pause | Freeze | Words | Abort | Hangup


@dataclass(frozen=True)
class Received:
    """One request of a conversation."""

    message: wire.Request
    audio: bytes
    sequence_id: int
    start: bool
    end: bool


@dataclass
class ScriptedTriton:
    """The server and what it has seen.

    Attributes:
        answer: The steps that a question (its text, or its PCM) is answered with.
        hear: The words of a hands-free utterance. Speech is what is not zero; 0.3 s of zeros end
            an utterance, 0.3 s of speech interrupt an answer.
        sessions: The sessions that can be gone on with.
        refused: Portraits that are not known.
        cached: How many answers the cache holds.
        models: The replies of models that are called without a conversation: tensors, an error,
            or a list of either for a model that streams.
        ready: The models that are ready.
        open_streams: Conversations and narrations that are under way.
        received: What came up the conversations, in the order of arrival.
        calls: Tensors of the other models' requests, by the model's name.
        sequences: The sequence ids of those requests, 0 where there is none.
        metadata: The headers of those requests.
    """

    answer: Callable[[str | bytes], Iterable[Step]] = field(default=lambda question: ())
    hear: Callable[[bytes], str] = field(default=lambda speech: "How are you?")
    models: dict[str, Any] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=lambda: {"nobody"})
    cached: int = 0
    ready: tuple[str, ...] = READY
    received: list[Received] = field(default_factory=list)
    calls: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    sequences: list[int] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    open_streams: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    address: str = ""

    def __enter__(self) -> ScriptedTriton:
        self._pool = futures.ThreadPoolExecutor(32)
        self._server = grpc.server(self._pool)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(self), self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.address = f"127.0.0.1:{port}"
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._pool.shutdown()

    def stop(self) -> None:
        """Break off everything."""
        self._server.stop(0).wait(_WAIT_S)

    def restart(self) -> None:
        """Serve at the same address again."""
        self._server = grpc.server(self._pool)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(self), self._server)
        self._server.add_insecure_port(self.address)
        self._server.start()

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait for a condition on what has been seen."""
        with self.changed:
            return self.changed.wait_for(condition, _WAIT_S)

    def messages(self, kind: type[Any]) -> list[Any]:
        """What came up the conversations of one kind."""
        return [one.message for one in self.received if isinstance(one.message, kind)]

    def change(self, act: Callable[[], None]) -> None:
        with self.changed:
            act()
            self.changed.notify_all()


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, triton: ScriptedTriton) -> None:
        self._triton = triton

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerMetadataResponse(name="triton", version="2.51.0")

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=request.name in self._triton.ready)

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name not in self._triton.ready:
            context.abort(
                grpc.StatusCode.UNAVAILABLE,
                f"Request for unknown model: '{request.name}' has no available versions",
            )
        return service_pb2.ModelMetadataResponse(name=request.name, versions=["1"])

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        reply = self._call(request, context)
        if isinstance(reply, TritalkError):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, reply.to_wire())
        if isinstance(reply, Abort):
            context.abort(reply.code, reply.details)
        if isinstance(reply, Pause):
            _wait(context, reply.seconds)
            return service_pb2.ModelInferResponse()
        return _response(**reply)

    def ModelStreamInfer(self, requests: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        triton = self._triton
        triton.change(lambda: setattr(triton, "open_streams", triton.open_streams + 1))
        try:
            first = next(requests, None)
            if first is None:
                return
            if first.model_name == "talker":
                yield from _Conversation(triton, requests, context).run(first)
            else:
                yield from self._stream(first, context)
        finally:
            triton.change(lambda: setattr(triton, "open_streams", triton.open_streams - 1))

    def _stream(self, request: Any, context: Any) -> Iterator[Any]:
        for step in self._call(request, context):
            if isinstance(step, TritalkError):
                yield service_pb2.ModelStreamInferResponse(error_message=step.to_wire())
            elif isinstance(step, Pause):
                _wait(context, step.seconds)
            else:
                yield service_pb2.ModelStreamInferResponse(infer_response=_response(**step))

    def _call(self, request: Any, context: Any) -> Any:
        triton = self._triton
        tensors = _tensors(request)
        headers = dict(context.invocation_metadata())
        triton.change(lambda: triton.calls.setdefault(request.model_name, []).append(tensors))
        triton.change(lambda: triton.metadata.append(headers))
        sequence_id = request.parameters["sequence_id"].int64_param
        triton.change(lambda: triton.sequences.append(sequence_id))
        if request.model_name not in triton.ready:
            return Abort(
                grpc.StatusCode.UNAVAILABLE,
                f"Request for unknown model: '{request.model_name}' is not found",
            )
        return triton.models[request.model_name]


class _Conversation:
    """The model `talker`, one stream of it."""

    def __init__(self, triton: ScriptedTriton, requests: Any, context: Any) -> None:
        self._triton = triton
        self._requests = requests
        self._context = context
        self._responses: queue.Queue[Any] = queue.Queue()
        self._over = threading.Event()
        self._interrupted = threading.Event()
        self._session_id = ""
        self._speech = b""
        self._ear = _Ear()
        self._answers: list[threading.Thread] = []
        context.add_callback(self._stop)

    def run(self, first: Any) -> Iterator[Any]:
        listener = threading.Thread(target=self._listen, args=(first,), daemon=True)
        listener.start()
        while True:
            response = self._responses.get(timeout=_FOREVER_S * 2)
            if response is None or isinstance(response, Hangup):
                return
            if isinstance(response, Abort):
                self._context.abort(response.code, response.details)
            yield response

    def _stop(self) -> None:
        self._over.set()
        self._interrupted.set()

    def _listen(self, first: Any) -> None:
        try:
            self._take(first)
            for request in self._requests:
                self._take(request)
        except grpc.RpcError:
            self._stop()
        for answer in self._answers:
            answer.join(_FOREVER_S)
        self._responses.put(None)

    def _take(self, request: Any) -> None:
        triton = self._triton
        tensors = _tensors(request)
        parameters = request.parameters
        received = Received(
            message=wire.decode_request(tensors["REQUEST"]),
            audio=tensors.get("AUDIO", b""),
            sequence_id=parameters["sequence_id"].int64_param,
            start=parameters["sequence_start"].bool_param,
            end=parameters["sequence_end"].bool_param,
        )
        triton.change(lambda: triton.received.append(received))
        message = received.message
        if "talker" not in triton.ready:
            self._error("Request for unknown model: 'talker' is not found", request.id)
        elif isinstance(message, wire.Configure):
            self._configure(message, request.id)
        elif isinstance(message, wire.ForgetAnswers):
            self._event(wire.AnswersForgotten(triton.cached), b"", request.id)
        elif isinstance(message, wire.Audio) and message.hands_free:
            self._hear(received.audio, request.id)
        elif isinstance(message, wire.Audio):
            self._speech += received.audio
            if message.end_of_speech:
                speech, self._speech = self._speech, b""
                self._begin(speech, request.id)
        elif isinstance(message, wire.Ask | wire.Say):
            self._begin(message.text, request.id)
        else:
            self._interrupted.set()

    def _configure(self, message: wire.Configure, request_id: str) -> None:
        if message.avatar_id == "silent":
            return
        if message.avatar_id in self._triton.refused:
            error = TritalkError(
                ErrorCode.UNKNOWN_AVATAR, f"there is no avatar {message.avatar_id}", stage="avatar"
            )
            self._error(error.to_wire(), request_id)
            return
        sessions = self._triton.sessions
        resumed = message.session_id in sessions
        if not self._session_id:
            self._session_id = message.session_id if resumed else secrets.token_hex(8)
            sessions.add(self._session_id)
        event = wire.Started(
            message.avatar_id or "", "heart", "en", self._session_id, resumed, 2 if resumed else 0
        )
        self._event(event, b"", request_id)

    def _hear(self, chunk: bytes, request_id: str) -> None:
        ear = self._ear
        begins = not ear.speech
        ended = ear.take(chunk)
        words = self._triton.hear(ear.speech) if ear.speech else ""
        speech_s = len(ear.speech) / _BYTES_PER_S
        if begins and ear.speech:
            self._event(wire.Speaking(ear.utterance, speech_s), b"", request_id)
        if ended:
            said = wire.Transcript(
                words, True, speech_s, "en", ear.utterance, words, since_speech_ms=300.0
            )
            ear.forget()
            self._event(said, b"", request_id)
            self._begin(words, "")
        elif ear.speech:
            first = words.partition(" ")[0]
            partial = wire.Transcript(words, False, speech_s, "en", ear.utterance, first)
            self._event(partial, b"", request_id)
            if len(ear.speech) >= _INTERRUPT_BYTES:
                self._interrupted.set()

    def _begin(self, question: str | bytes, request_id: str) -> None:
        self._interrupted.set()
        self._interrupted = threading.Event()
        before = self._answers[-1] if self._answers else None
        answer = threading.Thread(
            target=self._answer, args=(question, request_id, self._interrupted, before), daemon=True
        )
        self._answers.append(answer)
        answer.start()

    def _answer(
        self,
        question: str | bytes,
        request_id: str,
        interrupted: threading.Event,
        before: threading.Thread | None,
    ) -> None:
        if before is not None:
            before.join(_FOREVER_S)
        for step in self._triton.answer(question):
            if isinstance(step, Pause):
                self._pause(step.seconds, interrupted)
            elif isinstance(step, Freeze):
                _wait(self._context, _FOREVER_S)
            elif isinstance(step, Words):
                self._error(step.text, request_id)
            elif isinstance(step, Abort | Hangup):
                self._responses.put(step)
            elif isinstance(step, tuple):
                self._event(*step, request_id)
            else:
                self._event(step, b"", request_id)

    def _pause(self, seconds: float, interrupted: threading.Event) -> None:
        until_s = time.monotonic() + seconds
        while not self._over.is_set() and (left_s := until_s - time.monotonic()) > 0:
            if interrupted.wait(min(left_s, _TICK_S)):
                return

    def _event(self, event: wire.Event, media: bytes, request_id: str) -> None:
        response = _response(EVENT=wire.encode(event), MEDIA=media)
        response.id = request_id
        self._responses.put(service_pb2.ModelStreamInferResponse(infer_response=response))

    def _error(self, text: str, request_id: str) -> None:
        self._responses.put(
            service_pb2.ModelStreamInferResponse(
                error_message=text,
                infer_response=service_pb2.ModelInferResponse(id=request_id),
            )
        )


class _Ear:
    """The speech of one hands-free user."""

    def __init__(self) -> None:
        self.utterance = 0
        self.speech = b""
        self._quiet_bytes = 0

    def take(self, chunk: bytes) -> bool:
        """Whether this chunk ends an utterance."""
        if any(chunk):
            self.speech += chunk
            self._quiet_bytes = 0
        else:
            self._quiet_bytes += len(chunk)
        return bool(self.speech) and self._quiet_bytes >= _END_SILENCE_BYTES

    def forget(self) -> None:
        """The next utterance begins."""
        self.utterance += 1
        self.speech = b""


def _wait(context: Any, seconds: float) -> None:
    over = threading.Event()
    if context.add_callback(over.set):
        over.wait(seconds)


def _response(**tensors: bytes | np.ndarray[Any, Any]) -> Any:
    response = service_pb2.ModelInferResponse()
    for name, value in tensors.items():
        if isinstance(value, bytes):
            raw = serialize_byte_tensor(np.array([value], dtype=np.object_)).item()
            response.outputs.add(name=name, datatype="BYTES", shape=[1, 1])
        else:
            raw = value.astype(np.int32).tobytes()
            response.outputs.add(name=name, datatype="INT32", shape=[1, 1])
        response.raw_output_contents.append(raw)
    return response


def _tensors(request: Any) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        if list(tensor.shape) != [1, 1]:
            raise ValueError(f"{tensor.name} has shape {list(tensor.shape)}")
        if tensor.datatype == "BYTES":
            tensors[tensor.name] = deserialize_bytes_tensor(raw)[0]
        elif tensor.datatype == "BOOL":
            tensors[tensor.name] = bool(raw[0])
        else:
            tensors[tensor.name] = float(np.frombuffer(raw, np.float32)[0])
    return tensors
