"""Errors of models, and of ONNX Runtime."""

from __future__ import annotations

import re

from onnxruntime.capi import onnxruntime_pybind11_state as _state

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


class OnnxModelError(ValueError):
    """A model cannot be served; the message says what is wrong with its file or configuration."""


def reason(error: Exception) -> str:
    """One line of an error of ONNX Runtime's, without its code."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    return " ".join(text.split())
