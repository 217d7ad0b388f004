"""The conversation: glue between Triton and tritalk.talker."""

from __future__ import annotations

import threading
from typing import Any

import triton_python_backend_utils as pb_utils

from tritalk import environment
from tritalk.glue import Glue
from tritalk.talker.remote import RemoteStages
from tritalk.talker.sessions import Sessions
from tritalk.talker.settings import TalkerSettings
from tritalk_client import wire
from tritalk_client.errors import TritalkError

MAX_REQUEST_BYTES = 64 * 1024
MAX_CHUNK_BYTES = int(wire.MAX_AUDIO_S * wire.INPUT_SAMPLE_RATE_HZ) * 2 + 2


class TritonReply:
    """`tritalk.talker.reply.Reply` over the response sender of one request."""

    def __init__(self, glue: Glue, sender: Any) -> None:
        self._glue = glue
        self._sender = sender
        self._lock = threading.Lock()
        self._closed = False

    def send(self, event: wire.Event, media: bytes = b"") -> None:
        response = self._glue.response(EVENT=wire.encode(event), MEDIA=media)
        with self._lock:
            if not self._closed:
                self._sender.send(response)

    def refuse(self, error: TritalkError) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._sender.send(
                    self._glue.failure(error), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
                )

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def cancelled(self) -> bool:
        # A sender that has sent its last is not to be asked: Triton has freed what it looks at.
        with self._lock:
            return not self._closed and bool(self._sender.is_cancelled())


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self.glue = Glue(pb_utils, args)
        settings = self.glue.settings(TalkerSettings)
        timeouts_s = {
            "avatar": settings.animate_timeout_s,
            "asr": settings.asr_timeout_s,
            "tts": settings.tts_timeout_s,
        }
        self.stages = RemoteStages(
            settings.grpc_url or environment.grpc_url(),
            timeouts_s,
            stream_timeout_s=settings.answer_timeout_s,
        )
        self.sessions = Sessions(self.stages, settings, self.glue.metrics)
        self.glue.loaded(machine=True)

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            reply = TritonReply(self.glue, request.get_response_sender())
            try:
                self._submit(request, reply)
            except TritalkError as error:
                reply.refuse(error)

    def _submit(self, request: Any, reply: TritonReply) -> None:
        glue = self.glue
        message = wire.decode_request(
            glue.payload(request, "REQUEST", limit=MAX_REQUEST_BYTES) or b""
        )
        audio = glue.payload(request, "AUDIO", limit=MAX_CHUNK_BYTES) or b""
        self.sessions.submit(
            glue.sequence_id(request),
            message,
            audio,
            reply,
            start=glue.flag(request, "START"),
            end=glue.flag(request, "END"),
        )

    def finalize(self) -> None:
        self.sessions.close()
        self.stages.close()
        self.glue.close()
