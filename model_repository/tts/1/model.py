"""Glue between Triton and `tritalk.tts`."""

from __future__ import annotations

import numpy as np
import triton_python_backend_utils as pb_utils

from tritalk.glue import Glue
from tritalk.tts import engines
from tritalk.tts.lane import LongLane
from tritalk.tts.service import DEFAULT_VOICE, SpeechService
from tritalk.tts.settings import TtsSettings
from tritalk_client import wire
from tritalk_client.errors import TritalkError

_FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
_MAX_TEXT_BYTES = 4 * wire.MAX_TEXT_CHARS
_MAX_VOICE_BYTES = 256


class TritonPythonModel:
    def initialize(self, args):
        self._glue = Glue(pb_utils, args)
        settings = self._glue.settings(TtsSettings)
        voices = engines.load(settings, self._glue.folder)
        self._service = SpeechService(voices, settings, self._glue.metrics)
        self._long_lane = LongLane(settings.max_long)
        self._glue.loaded()

    def execute(self, requests):
        for request in requests:
            # Each is answered as soon as it is spoken, not with the last of its batch.
            sender = request.get_response_sender()
            try:
                self._accept(request, sender)
            except TritalkError as error:
                self._send(sender, error)

    def finalize(self):
        self._service.close()
        self._long_lane.close()
        self._glue.close()

    def _accept(self, request, sender):
        text = self._glue.text(request, "TEXT", limit=_MAX_TEXT_BYTES) or ""
        voice = self._glue.text(request, "VOICE", limit=_MAX_VOICE_BYTES) or DEFAULT_VOICE
        speed = self._glue.array(request, "SPEED")

        def speak():
            return self._service.speak(text, voice, 1.0 if speed is None else float(speed.item()))

        if self._service.is_long(text):
            self._long_lane.submit(speak, lambda outcome: self._send(sender, outcome))
        else:
            self._send(sender, speak())

    def _send(self, sender, outcome):
        if isinstance(outcome, TritalkError):
            response = self._glue.failure(outcome)
        else:
            response = self._glue.response(
                AUDIO=outcome.pcm,
                SAMPLE_RATE=np.array([[outcome.sample_rate_hz]], np.int32),
                TIMING=wire.encode(outcome.timing),
            )
        sender.send(response, flags=_FINAL)
