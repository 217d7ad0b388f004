"""Glue of the `asr` model: chunks of sequences in, what is heard out; see `tritalk.asr`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import triton_python_backend_utils as pb_utils

from tritalk.asr.recognizer import Recognizer
from tritalk.asr.settings import AsrSettings
from tritalk.glue import Glue
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

MOST_AUDIO_BYTES = 2**31
"""Triton's own limit; the recognizer's limit is in seconds and counts the whole sequence."""

MOST_OPTION_BYTES = 10_000

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonReply:
    """`tritalk.asr.reply.Reply` over the response sender of one request."""

    def __init__(self, glue: Glue, sender: Any) -> None:
        self._glue = glue
        self._sender = sender

    def send(self, hearing: wire.Hearing, *, last: bool = False) -> None:
        response = self._glue.response(EVENT=wire.encode(hearing))
        self._sender.send(response, flags=FINAL if last else 0)

    def fail(self, error: TritalkError) -> None:
        self._sender.send(self._glue.failure(error), flags=FINAL)

    def close(self) -> None:
        self._sender.send(flags=FINAL)

    def cancelled(self) -> bool:
        return bool(self._sender.is_cancelled())


class TritonPythonModel:
    def initialize(self, args: Mapping[str, str]) -> None:
        self._glue = Glue(pb_utils, args)
        self._recognizer = Recognizer(
            self._glue.folder, self._glue.settings(AsrSettings), self._glue.metrics
        )
        self._recognizer.warm_up()
        self._glue.loaded()

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            reply = TritonReply(self._glue, request.get_response_sender())
            try:
                self._hear(request, reply)
            except TritalkError as error:
                reply.fail(error)

    def finalize(self) -> None:
        self._recognizer.close()
        self._glue.close()

    def _hear(self, request: Any, reply: TritonReply) -> None:
        glue = self._glue
        key = glue.sequence_id(request)
        audio = glue.payload(request, "AUDIO", limit=MOST_AUDIO_BYTES)
        if audio is None:
            raise TritalkError(ErrorCode.BAD_REQUEST, "the request has no AUDIO")
        raw = glue.payload(request, "OPTIONS", limit=MOST_OPTION_BYTES)
        options = None if raw is None else wire.decode(raw, wire.RecognitionOptions)
        self._recognizer.hear(
            key,
            audio,
            options,
            reply,
            start=glue.flag(request, "START"),
            end=glue.flag(request, "END"),
        )
