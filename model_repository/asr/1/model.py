"""Glue of the `asr` model: chunks of sequences in, transcripts out; see `tritalk.asr`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import triton_python_backend_utils as pb_utils

from tritalk import metrics
from tritalk.asr.recognizer import Recognizer
from tritalk.asr.settings import AsrSettings
from tritalk.glue import Glue
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

MOST_AUDIO_BYTES = 2**31
"""Triton's own limit; the recognizer's limit is in seconds and counts the whole sequence."""

MOST_OPTION_BYTES = 10_000


class TritonPythonModel:
    def initialize(self, args: Mapping[str, str]) -> None:
        self._glue = Glue(pb_utils, args)
        self._recognizer = Recognizer(self._glue.folder, self._glue.settings(AsrSettings))
        self._recognizer.warm_up()
        self._latency = self._glue.metrics(metrics.ASR_LATENCY)
        self._buffer = self._glue.metrics(metrics.AUDIO_BUFFER)
        self._buffer.set(0)
        self._glue.loaded()

    def execute(self, requests: list[Any]) -> list[Any]:
        began = time.monotonic()
        responses: list[Any] = [None] * len(requests)
        ending: dict[int, int] = {}
        for index, request in enumerate(requests):
            try:
                key, transcript = self._accept(request, began)
            except TritalkError as error:
                responses[index] = self._glue.failure(error)
                continue
            if self._glue.flag(request, "END"):
                ending[key] = index
            else:
                responses[index] = self._glue.response(TRANSCRIPT=wire.encode(transcript))
        outcomes = self._recognizer.finish(list(ending))
        for index, outcome in zip(ending.values(), outcomes, strict=True):
            if isinstance(outcome, TritalkError):
                responses[index] = self._glue.failure(outcome)
            else:
                responses[index] = self._glue.response(TRANSCRIPT=wire.encode(outcome))
                self._latency.observe((time.monotonic() - began) * 1000)
        self._buffer.set(self._recognizer.buffered_s)
        return responses

    def finalize(self) -> None:
        self._glue.close()

    def _accept(self, request: Any, now_s: float) -> tuple[int, wire.Transcript]:
        key = self._glue.sequence_id(request)
        audio = self._glue.payload(request, "AUDIO", limit=MOST_AUDIO_BYTES)
        if audio is None:
            raise TritalkError(ErrorCode.BAD_REQUEST, "the request has no AUDIO")
        raw = self._glue.payload(request, "OPTIONS", limit=MOST_OPTION_BYTES)
        options = None if raw is None else wire.decode(raw, wire.RecognitionOptions)
        start = self._glue.flag(request, "START")
        return key, self._recognizer.accept(key, audio, options, start=start, now_s=now_s)
