"""Triton's `onnxruntime` backend in Python: glue between Triton and tritalk.onnx_backend.

A model with `backend: "onnxruntime"` and `1/model.onnx` runs here and on NVIDIA's C++ backend of
the same name without a change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from tritalk.glue import Glue
from tritalk.onnx_backend import (
    InferRequest,
    OnnxModel,
    Outcome,
    RequestError,
    Signature,
    complete,
    load,
)


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        # The dictionary itself is what is sent back; the setters cannot express a reshape.
        config = auto_complete_model_config.as_dict()
        if not (config.get("input") and config.get("output")):
            folder = Path(pb_utils.get_model_dir())
            session, _ = load(folder, json.dumps(config), device_id=None)
            config.update(complete(config, Signature.of(session)))
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        self.glue = Glue(pb_utils, args)
        on_gpu = args["model_instance_kind"] == "GPU"
        session, run_options = load(
            Path(pb_utils.get_model_dir()),
            args["model_config"],
            device_id=int(args["model_instance_device_id"]) if on_gpu else None,
        )
        self.model = OnnxModel(session, json.loads(args["model_config"]), run_options)
        self.glue.loaded()

    def execute(self, requests: list[Any]) -> list[Any]:
        outcomes = self.model.run([_read(request) for request in requests])
        return [_response(outcome) for outcome in outcomes]

    def finalize(self) -> None:
        self.glue.close()


def _read(request: Any) -> InferRequest:
    return InferRequest(
        inputs={tensor.name(): tensor.as_numpy() for tensor in request.inputs()},
        outputs=request.requested_output_names(),
    )


def _response(outcome: Outcome) -> Any:
    if isinstance(outcome, RequestError):
        kind = (
            pb_utils.TritonError.INVALID_ARG if outcome.invalid else pb_utils.TritonError.INTERNAL
        )
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(outcome.message, kind))
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, array) for name, array in outcome.items()]
    )
