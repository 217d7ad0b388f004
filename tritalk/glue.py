"""What every `model.py` does with tensors, so that each stays a page of glue.

tritalk imports no Triton: a `model.py` hands its `triton_python_backend_utils` in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tritalk import metrics, slo
from tritalk.settings import Settings, read_settings
from tritalk_client.errors import ErrorCode, TritalkError

S = TypeVar("S", bound=Settings)

_INVALID = frozenset(
    {
        ErrorCode.BAD_REQUEST,
        ErrorCode.BAD_AUDIO,
        ErrorCode.NO_SPEECH,
        ErrorCode.TOO_LARGE,
        ErrorCode.BAD_IMAGE,
        ErrorCode.NO_FACE,
        ErrorCode.SEVERAL_FACES,
        ErrorCode.UNUSABLE_FACE,
        ErrorCode.UNKNOWN_VOICE,
        ErrorCode.NOTHING_TO_SAY,
    }
)


class Glue:
    """One model's ties to Triton: its folder, settings, metrics, tensors and errors.

    Args:
        pb_utils: Triton's `triton_python_backend_utils` module.
        args: What Triton hands to `initialize()`.
    """

    def __init__(self, pb_utils: Any, args: Mapping[str, str]) -> None:
        self._pb_utils = pb_utils
        self._config: str = args["model_config"]
        self._began = time.monotonic()
        self.model: str = args["model_name"]
        self.folder = Path(args["model_repository"]) / args["model_version"]
        self.batched: bool = json.loads(self._config).get("max_batch_size", 0) > 0
        self.metrics = metrics.Registry(pb_utils.MetricFamily, slo.default())
        self._monitor: metrics.ProcessMonitor | None = None

    def settings(self, kind: type[S]) -> S:
        """The model's settings, from `parameters` of its config.pbtxt.

        Raises:
            SettingsError: A parameter is unknown, missing or wrong.
        """
        return read_settings(kind, self._config)

    def loaded(self, *, machine: bool = False) -> None:
        """Say that the model is ready: records its load time and starts its process gauges.

        Args:
            machine: Whether this model's process also reports the CPU use of the machine.
        """
        seconds = time.monotonic() - self._began
        self.metrics(metrics.MODEL_LOAD, self.model).set(seconds)
        self._monitor = metrics.ProcessMonitor(self.metrics, self.model, machine=machine)

    def close(self) -> None:
        """End what `loaded()` started and drop the metrics; the last call of `finalize()`."""
        if self._monitor is not None:
            self._monitor.stop()
        self.metrics.close()

    def array(self, request: Any, name: str) -> npt.NDArray[Any] | None:
        """A tensor of a request as an array, None when the request does not have it."""
        tensor = self._pb_utils.get_input_tensor_by_name(request, name)
        return None if tensor is None else tensor.as_numpy()

    def payload(self, request: Any, name: str, *, limit: int) -> bytes | None:
        """The bytes of a BYTES tensor of one element, None when the request does not have it.

        Args:
            request: Triton's request.
            name: The tensor.
            limit: Most bytes that are taken.

        Raises:
            TritalkError: TOO_LARGE over the limit, BAD_REQUEST when it is not one element.
        """
        array = self.array(request, name)
        if array is None:
            return None
        if array.size != 1:
            raise TritalkError(
                ErrorCode.BAD_REQUEST,
                f"{name} must hold one element, got {array.size}",
                stage=self.model,
            )
        data: bytes = array.reshape(-1)[0]
        if len(data) > limit:
            raise TritalkError(
                ErrorCode.TOO_LARGE,
                f"{name} has {len(data)} bytes, at most {limit} are taken",
                stage=self.model,
            )
        return data

    def text(self, request: Any, name: str, *, limit: int) -> str | None:
        """The UTF-8 text of a BYTES tensor of one element; see `payload`."""
        data = self.payload(request, name, limit=limit)
        if data is None:
            return None
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise TritalkError(
                ErrorCode.BAD_REQUEST, f"{name} is not UTF-8: {error}", stage=self.model
            ) from error

    def flag(self, request: Any, name: str) -> bool:
        """Whether a tensor of one yes or no (START, END, CANCEL) is there and set."""
        array = self.array(request, name)
        return array is not None and bool(array.reshape(-1)[0])

    def sequence_id(self, request: Any) -> int:
        """The id of the request's sequence, from the control tensor CORRID."""
        array = self.array(request, "CORRID")
        if array is None:
            raise TritalkError(
                ErrorCode.BAD_REQUEST, "the request belongs to no sequence", stage=self.model
            )
        return int(array.reshape(-1)[0])

    def tensor(self, name: str, value: bytes | str | npt.NDArray[Any]) -> Any:
        """A tensor of Triton's from an array, or a BYTES tensor of one element from bytes."""
        if isinstance(value, (bytes, str)):
            data = value.encode() if isinstance(value, str) else value
            array = np.array([data], dtype=np.object_)
            value = array.reshape(1, 1) if self.batched else array
        return self._pb_utils.Tensor(name, value)

    def response(self, **tensors: bytes | str | npt.NDArray[Any]) -> Any:
        """A response with these output tensors."""
        return self._pb_utils.InferenceResponse(
            output_tensors=[self.tensor(name, value) for name, value in tensors.items()]
        )

    def failure(self, error: TritalkError) -> Any:
        """A response that carries an error."""
        if not error.stage:
            error = TritalkError(error.code, error.message, stage=self.model)
        codes = self._pb_utils.TritonError
        if error.code in _INVALID:
            code = codes.INVALID_ARG
        elif error.code is ErrorCode.UNKNOWN_AVATAR:
            code = codes.NOT_FOUND
        elif error.retryable:
            code = codes.UNAVAILABLE
        elif error.code is ErrorCode.CANCELLED:
            code = codes.CANCELLED
        else:
            code = codes.INTERNAL
        return self._pb_utils.InferenceResponse(error=codes(error.to_wire(), code))
