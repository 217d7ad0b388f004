"""Glue between Triton and `tritalk.llm`."""

from __future__ import annotations

import triton_python_backend_utils as pb_utils

from tritalk.glue import Glue
from tritalk.llm import engines, prompt, requests
from tritalk.llm.dispatcher import Dispatcher
from tritalk.llm.settings import LlmSettings
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    def initialize(self, args):
        self._glue = Glue(pb_utils, args)
        settings = self._glue.settings(LlmSettings)
        self._engine = engines.load(settings, self._glue.folder)
        self._dispatcher = Dispatcher(
            self._glue.metrics,
            self._engine.label,
            places=settings.n_parallel,
            max_queue=settings.max_queue,
            deadline_s=settings.deadline_s,
            kv_tokens=self._engine.kv_tokens,
            delta_interval_s=settings.delta_interval_ms / 1000,
        )
        self._glue.loaded()

    def execute(self, batch):
        for request in batch:
            sender = request.get_response_sender()
            try:
                self._accept(request, sender)
            except TritalkError as error:
                sender.send(self._glue.failure(error), flags=_FINAL)

    def finalize(self):
        self._dispatcher.close()
        self._engine.close()
        self._glue.close()

    def _accept(self, request, sender):
        cancelled_id = self._glue.text(request, "CANCEL", limit=prompt.MAX_ID_BYTES)
        messages = self._glue.payload(request, "MESSAGES", limit=prompt.MAX_MESSAGES_BYTES)
        sampling = self._glue.payload(request, "SAMPLING", limit=prompt.MAX_SAMPLING_BYTES)
        count = self._glue.flag(request, "COUNT")
        if cancelled_id is not None:
            if messages is not None or sampling is not None or count:
                raise TritalkError(
                    ErrorCode.BAD_REQUEST, "CANCEL comes alone, without MESSAGES, SAMPLING, COUNT"
                )
            self._dispatcher.cancel(cancelled_id)
            sender.send(self._glue.response(TEXT="", USAGE=""), flags=_FINAL)
            return
        if messages is None:
            raise TritalkError(ErrorCode.BAD_REQUEST, "MESSAGES is missing")
        kind, work = requests.read(self._engine, messages, sampling, count=count)
        self._dispatcher.submit(request.request_id(), work, _Answer(self._glue, sender), kind=kind)


class _Answer:
    """One request's responses: TEXT in each, USAGE in the last."""

    def __init__(self, glue, sender):
        self._glue = glue
        self._sender = sender

    def delta(self, text):
        self._sender.send(self._glue.response(TEXT=text, USAGE=""))

    def finish(self, usage):
        self._sender.send(self._glue.response(TEXT="", USAGE=wire.encode(usage)), flags=_FINAL)

    def fail(self, error):
        self._sender.send(self._glue.failure(error), flags=_FINAL)

    def abandoned(self):
        return self._sender.is_cancelled()
