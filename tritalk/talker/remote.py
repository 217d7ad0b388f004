"""The stages of a turn as calls to the other models, over gRPC to this server's own endpoint.

Not over BLS: in Triton 24.10 the process of a model that runs several decoupled BLS requests at a
time can lock up for good (its response iterator waits for Python's lock while it holds its own)
and can corrupt Python's memory (it frees responses without Python's lock). gRPC also has what BLS
lacks: a deadline for every call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2_grpc

from tritalk.talker.remote_ear import RemoteEar, blame
from tritalk.talker.stages import Deliver, Speech
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.protocol import (
    InferRequest,
    InferResponse,
    TensorValue,
    call_error,
    channel_options,
    infer_request,
    model_error,
    output_bytes,
    output_int,
)
from tritalk_client.stream import Stream

_CONNECT_S = 5.0
_CANCEL_S = 5.0
_COUNT_S = 2.0


class RemoteStages:
    """`Stages` over gRPC.

    Args:
        server: `host:port` of the endpoint.
        timeouts_s: Deadline of a single-response call, in seconds, by the model's name.
        stream_timeout_s: Deadline of a streamed call: the longest answer.
    """

    def __init__(
        self, server: str, timeouts_s: Mapping[str, float], *, stream_timeout_s: float
    ) -> None:
        self._server = server
        self._timeouts_s = timeouts_s
        self._stream_timeout_s = stream_timeout_s
        self._channel = grpc.insecure_channel(server, options=channel_options(_CONNECT_S))
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def close(self) -> None:
        """Cancel what is under way and close the connection."""
        self._channel.close()

    def avatar(self, avatar_id: str) -> wire.AvatarInfo:
        """See `Stages.avatar`."""
        command = wire.encode(wire.AvatarGet(avatar_id=avatar_id))
        response = self._call("avatar", {"COMMAND": command})
        return wire.decode(output_bytes(response, "AVATAR"), wire.AvatarInfo)

    def listen(
        self, sequence_id: int, options: wire.RecognitionOptions, deliver: Deliver
    ) -> RemoteEar:
        """See `Stages.listen`."""
        stream = Stream(self._stub, ())
        return RemoteEar(
            stream, self._server, sequence_id, options, deliver, timeout_s=self._timeouts_s["asr"]
        )

    def generate(
        self, request_id: str, messages: Sequence[wire.ChatMessage], sampling: wire.Sampling
    ) -> Iterator[str | wire.Usage]:
        """See `Stages.generate`."""
        tensors = {"MESSAGES": wire.encode(list(messages)), "SAMPLING": wire.encode(sampling)}
        request = infer_request("llm", tensors, request_id=request_id, batched=False)
        for response in self._stream(request, self._stream_timeout_s):
            text = output_bytes(response, "TEXT").decode()
            if text:
                yield text
            usage = output_bytes(response, "USAGE")
            if usage:
                yield wire.decode(usage, wire.Usage)

    def read_ahead(self, request_id: str, messages: Sequence[wire.ChatMessage]) -> None:
        """See `Stages.read_ahead`."""
        for _ in self.generate(request_id, messages, wire.Sampling(max_new_tokens=0)):
            pass

    def count_tokens(self, messages: Sequence[wire.ChatMessage]) -> int:
        """See `Stages.count_tokens`."""
        tensors: dict[str, TensorValue] = {
            "MESSAGES": wire.encode(list(messages)),
            "COUNT": True,
        }
        request = infer_request("llm", tensors, batched=False)
        for response in self._stream(request, _COUNT_S):
            return wire.decode(output_bytes(response, "USAGE"), wire.Usage).prompt_tokens
        raise TritalkError(ErrorCode.INTERNAL, "llm does not count tokens", stage="llm")

    def cancel_generation(self, request_id: str) -> None:
        """See `Stages.cancel_generation`."""
        request = infer_request("llm", {"CANCEL": request_id.encode()}, batched=False)
        for _ in self._stream(request, _CANCEL_S):
            pass

    def synthesise(self, text: str, voice: str, speed: float) -> Speech:
        """See `Stages.synthesise`."""
        tensors: dict[str, TensorValue] = {
            "TEXT": text.encode(),
            "VOICE": voice.encode(),
            "SPEED": float(speed),
        }
        response = self._call("tts", tensors)
        return Speech(
            text=text,
            pcm=output_bytes(response, "AUDIO"),
            sample_rate_hz=output_int(response, "SAMPLE_RATE"),
            timing=output_bytes(response, "TIMING"),
        )

    def animate(
        self,
        sequence_id: int,
        options: wire.AnimateOptions,
        speech: Speech | None,
        *,
        start: bool,
        end: bool,
    ) -> Iterator[tuple[wire.Fragment, bytes]]:
        """See `Stages.animate`."""
        tensors: dict[str, TensorValue] = {}
        if start:
            tensors["OPTIONS"] = wire.encode(options)
        if speech is not None:
            tensors["AUDIO"] = speech.pcm
            tensors["SAMPLE_RATE"] = np.int32(speech.sample_rate_hz)
            tensors["TIMING"] = speech.timing
        request = infer_request("animate", tensors, sequence_id=sequence_id, start=start, end=end)
        for response in self._stream(request, self._stream_timeout_s):
            fragment = wire.decode(output_bytes(response, "FRAGMENT"), wire.Fragment)
            yield fragment, output_bytes(response, "MEDIA")

    def cancel_animation(self, sequence_id: int) -> None:
        """See `Stages.cancel_animation`."""
        # With START too it reaches a sequence whose END has been sent already.
        request = infer_request(
            "animate", {"CANCEL": True}, sequence_id=sequence_id, start=True, end=True
        )
        for _ in self._stream(request, _CANCEL_S):
            pass

    def _call(
        self, model: str, tensors: Mapping[str, TensorValue], **sequence: Any
    ) -> InferResponse:
        request = infer_request(model, tensors, **sequence)
        try:
            return self._stub.ModelInfer(request, timeout=self._timeouts_s[model])
        except grpc.RpcError as error:
            raise blame(call_error(error, self._server), model) from error

    def _stream(self, request: InferRequest, timeout_s: float) -> Iterator[InferResponse]:
        """The responses of one request that have tensors."""
        model = request.model_name
        call = self._stub.ModelStreamInfer(iter([request]), timeout=timeout_s)
        try:
            for response in call:
                if response.error_message:
                    raise blame(model_error(response.error_message, self._server), model)
                if response.infer_response.outputs:
                    yield response.infer_response
        except grpc.RpcError as error:
            raise blame(call_error(error, self._server), model) from error
        finally:
            call.cancel()
