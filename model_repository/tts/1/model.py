"""Glue between Triton and `tritalk.tts`."""

from __future__ import annotations

import numpy as np
import triton_python_backend_utils as pb_utils

from tritalk.glue import Glue
from tritalk.tts import engine
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
        voices = engine.load(settings, self._glue.folder)
        self._service = SpeechService(voices, settings, self._glue.metrics)
        self._glue.loaded()

    def execute(self, requests):
        for request in requests:
            # Each is answered as soon as it is spoken, not with the last of its batch.
            sender = request.get_response_sender()
            try:
                response = self._speak(request)
            except TritalkError as error:
                response = self._glue.failure(error)
            sender.send(response, flags=_FINAL)

    def finalize(self):
        self._glue.close()

    def _speak(self, request):
        text = self._glue.text(request, "TEXT", limit=_MAX_TEXT_BYTES)
        voice = self._glue.text(request, "VOICE", limit=_MAX_VOICE_BYTES)
        speed = self._glue.array(request, "SPEED")
        speech = self._service.speak(
            text or "",
            DEFAULT_VOICE if voice is None else voice,
            1.0 if speed is None else float(speed.reshape(-1)[0]),
        )
        return self._glue.response(
            AUDIO=speech.pcm,
            SAMPLE_RATE=np.array([[speech.sample_rate_hz]], np.int32),
            TIMING=wire.encode(speech.timing),
        )
