"""Animation: pieces of speech in, fragments of one talking video out."""

from __future__ import annotations

import numpy as np
import triton_python_backend_utils as pb_utils

from tritalk.animate.portrait import Portraits
from tritalk.animate.service import AnimateService, Request
from tritalk.animate.settings import AnimateSettings
from tritalk.animate.turn import Media
from tritalk.animate.warm_up import warm_up
from tritalk.glue import Glue
from tritalk.image_store import ImageStore
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_OPTIONS_BYTES = 4096
_TIMING_BYTES = 1_000_000


class TritonPythonModel:
    def initialize(self, args):
        self._glue = Glue(pb_utils, args)
        settings = self._glue.settings(AnimateSettings)
        portraits = Portraits(
            ImageStore(settings.store_url),
            capacity=settings.cached_avatars,
            frames=settings.step_frames,
        )
        self._service = AnimateService(settings, portraits, generate, self._glue.metrics)
        warm_up(settings)
        self._glue.loaded()

    def execute(self, requests):
        for request in requests:
            reply = _Reply(self._glue, request)
            try:
                self._service.handle(self._read(request), reply)
            except TritalkError as error:
                reply.fail(error)

    def finalize(self):
        self._service.close()
        self._glue.close()

    def _read(self, request):
        rate = self._glue.array(request, "SAMPLE_RATE")
        limit = self._service.max_pcm_bytes
        self._glue.payload(request, "TIMING", limit=_TIMING_BYTES)
        return Request(
            sequence_id=self._glue.sequence_id(request),
            start=self._glue.flag(request, "START"),
            end=self._glue.flag(request, "END"),
            cancel=self._glue.flag(request, "CANCEL"),
            pcm=self._glue.payload(request, "AUDIO", limit=limit) or b"",
            sample_rate_hz=None if rate is None else int(rate.item()),
            options=self._glue.payload(request, "OPTIONS", limit=_OPTIONS_BYTES),
        )


def generate(mel, faces):
    """Have `wav2lip` draw mouths; its batches are shared by all turns."""
    call = pb_utils.InferenceRequest(
        model_name="wav2lip",
        inputs=[pb_utils.Tensor("MEL", mel), pb_utils.Tensor("FACE", faces)],
        requested_output_names=["MOUTH"],
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
    )
    try:
        response = call.exec()
    except pb_utils.TritonModelException as error:
        raise TritalkError(
            ErrorCode.UNAVAILABLE,
            f"no mouths without wav2lip, see its state and its log: {error}",
            stage="wav2lip",
        ) from error
    if response.has_error():
        error = TritalkError.from_wire(response.error().message(), default=ErrorCode.UNAVAILABLE)
        raise TritalkError(error.code, error.message, stage="wav2lip")
    mouths: np.ndarray = pb_utils.get_output_tensor_by_name(response, "MOUTH").as_numpy()
    return mouths


class _Reply:
    def __init__(self, glue, request):
        self._glue = glue
        self._sender = request.get_response_sender()

    @property
    def gone(self):
        return self._sender.is_cancelled()

    def send(self, media: Media):
        self._sender.send(
            self._glue.response(MEDIA=media.data, FRAGMENT=wire.encode(media.fragment))
        )

    def done(self):
        self._sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def fail(self, error):
        self._sender.send(
            self._glue.failure(error), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        )
