"""ONNX Runtime as every stage uses it: on the CPU, with threads that leave the cores to others."""

from __future__ import annotations

import re
from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from tritalk.model_files import ModelError

# ONNX Runtime's exceptions have no common base but Exception.
ONNX_RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    _state.EngineError,
    _state.EPFail,
    _state.Fail,
    _state.InvalidArgument,
    _state.InvalidGraph,
    _state.InvalidProtobuf,
    _state.NoModel,
    _state.NoSuchFile,
    _state.NotImplemented,
    _state.RuntimeException,
    RuntimeError,
    ValueError,
)


def open_session(path: Path, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open an ONNX model.

    Args:
        path: The model's file.
        threads: Threads of each operator. They sleep while they have nothing to do: threads that
            spin are faster alone and far slower beside other models on the same cores.

    Raises:
        ModelError: The file is missing or ONNX Runtime does not take it.
    """
    if not path.is_file():
        raise ModelError.of(path, "there is no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    except ONNX_RUNTIME_ERRORS as error:
        raise ModelError.of(path, reason(error)) from error


def reason(error: Exception) -> str:
    """One line of an error of ONNX Runtime's, without its code."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    return " ".join(text.split())
