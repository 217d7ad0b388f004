"""The stages of a turn as calls into the other models of this Triton (business logic scripting)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tritalk.talker.stages import Speech
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_SECOND_US = 1_000_000


class BlsStages:
    """`Stages` over Triton's in-process requests.

    Args:
        pb_utils: Triton's `triton_python_backend_utils` module.
        timeouts_s: Queueing deadline of each model's requests, in seconds, by the model's name.
    """

    def __init__(self, pb_utils: Any, timeouts_s: dict[str, float]) -> None:
        self._pb_utils = pb_utils
        self._timeouts_s = timeouts_s

    def avatar(self, avatar_id: str) -> wire.AvatarInfo:
        """See `Stages.avatar`."""
        command = wire.encode(wire.AvatarGet(avatar_id=avatar_id))
        response = self._call("avatar", {"COMMAND": command}, ["AVATAR"])
        return wire.decode(self._bytes(response, "AVATAR", "avatar"), wire.AvatarInfo)

    def recognise(
        self,
        sequence_id: int,
        pcm: bytes,
        options: wire.RecognitionOptions,
        *,
        start: bool,
        end: bool,
    ) -> wire.Transcript:
        """See `Stages.recognise`."""
        response = self._call(
            "asr",
            {"AUDIO": pcm, "OPTIONS": wire.encode(options)},
            ["TRANSCRIPT"],
            correlation_id=sequence_id,
            flags=self._flags(start=start, end=end),
        )
        return wire.decode(self._bytes(response, "TRANSCRIPT", "asr"), wire.Transcript)

    def generate(
        self, request_id: str, messages: Sequence[wire.ChatMessage], sampling: wire.Sampling
    ) -> Iterator[str | wire.Usage]:
        """See `Stages.generate`."""
        inputs = {"MESSAGES": wire.encode(list(messages)), "SAMPLING": wire.encode(sampling)}
        for response in self._stream("llm", inputs, ["TEXT", "USAGE"], request_id=request_id):
            text = self._bytes(response, "TEXT", "llm").decode()
            if text:
                yield text
            usage = self._bytes(response, "USAGE", "llm")
            if usage:
                yield wire.decode(usage, wire.Usage)

    def cancel_generation(self, request_id: str) -> None:
        """See `Stages.cancel_generation`."""
        for _ in self._stream("llm", {"CANCEL": request_id.encode()}, ["TEXT", "USAGE"]):
            pass

    def synthesise(self, text: str, voice: str, speed: float) -> Speech:
        """See `Stages.synthesise`."""
        inputs: dict[str, bytes | npt.NDArray[Any]] = {
            "TEXT": text.encode(),
            "VOICE": voice.encode(),
            "SPEED": np.array([[speed]], dtype=np.float32),
        }
        response = self._call("tts", inputs, ["AUDIO", "SAMPLE_RATE", "TIMING"])
        rate = self._array(response, "SAMPLE_RATE", "tts")
        return Speech(
            text=text,
            pcm=self._bytes(response, "AUDIO", "tts"),
            sample_rate_hz=int(rate.reshape(-1)[0]),
            timing=self._bytes(response, "TIMING", "tts"),
        )

    def animate(
        self, sequence_id: int, avatar_id: str, speech: Speech | None, *, start: bool, end: bool
    ) -> Iterator[tuple[wire.Fragment, bytes]]:
        """See `Stages.animate`."""
        inputs: dict[str, bytes | npt.NDArray[Any]] = {}
        if start:
            inputs["OPTIONS"] = wire.encode(wire.AnimateOptions(avatar_id=avatar_id))
        if speech is not None:
            inputs["AUDIO"] = speech.pcm
            inputs["SAMPLE_RATE"] = np.array([[speech.sample_rate_hz]], dtype=np.int32)
            inputs["TIMING"] = speech.timing
        responses = self._stream(
            "animate",
            inputs,
            ["MEDIA", "FRAGMENT"],
            correlation_id=sequence_id,
            flags=self._flags(start=start, end=end),
        )
        for response in responses:
            media = self._bytes(response, "MEDIA", "animate")
            fragment = self._bytes(response, "FRAGMENT", "animate")
            yield wire.decode(fragment, wire.Fragment), media

    def cancel_animation(self, sequence_id: int) -> None:
        """See `Stages.cancel_animation`."""
        responses = self._stream(
            "animate",
            {"CANCEL": np.array([[True]])},
            ["MEDIA", "FRAGMENT"],
            correlation_id=sequence_id,
            flags=self._flags(start=False, end=True),
        )
        for _ in responses:
            pass

    def _flags(self, *, start: bool, end: bool) -> int:
        flags = 0
        if start:
            flags |= self._pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START
        if end:
            flags |= self._pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END
        return flags

    def _request(
        self,
        model: str,
        inputs: Mapping[str, bytes | npt.NDArray[Any]],
        outputs: list[str],
        **options: Any,
    ) -> Any:
        tensors = []
        for name, value in inputs.items():
            if isinstance(value, bytes):
                array = np.array([value], dtype=np.object_)
                # Only llm is served without a batch axis.
                value = array if model == "llm" else array.reshape(1, 1)
            tensors.append(self._pb_utils.Tensor(name, value))
        return self._pb_utils.InferenceRequest(
            model_name=model,
            inputs=tensors,
            requested_output_names=outputs,
            timeout=int(self._timeouts_s[model] * _SECOND_US),
            **options,
        )

    def _call(
        self,
        model: str,
        inputs: Mapping[str, bytes | npt.NDArray[Any]],
        outputs: list[str],
        **options: Any,
    ) -> Any:
        response = self._request(model, inputs, outputs, **options).exec()
        self._raise_error(response, model)
        return response

    def _stream(
        self,
        model: str,
        inputs: Mapping[str, bytes | npt.NDArray[Any]],
        outputs: list[str],
        **options: Any,
    ) -> Iterator[Any]:
        request = self._request(model, inputs, outputs, **options)
        for response in request.exec(decoupled=True):
            self._raise_error(response, model)
            # The response that only carries the final flag has no tensors.
            if response.output_tensors():
                yield response

    def _raise_error(self, response: Any, model: str) -> None:
        if not response.has_error():
            return
        error = TritalkError.from_wire(response.error().message(), default=ErrorCode.UNAVAILABLE)
        raise TritalkError(error.code, error.message, stage=error.stage or model)

    def _array(self, response: Any, name: str, model: str) -> npt.NDArray[Any]:
        tensor = self._pb_utils.get_output_tensor_by_name(response, name)
        if tensor is None:
            raise TritalkError(
                ErrorCode.INTERNAL, f"the response has no tensor {name}", stage=model
            )
        array: npt.NDArray[Any] = tensor.as_numpy()
        return array

    def _bytes(self, response: Any, name: str, model: str) -> bytes:
        data: bytes = self._array(response, name, model).reshape(-1)[0]
        return data
