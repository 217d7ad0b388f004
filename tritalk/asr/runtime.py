"""ONNX Runtime as this stage uses it: on the CPU, with threads that leave the cores to others."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
)

from tritalk.asr.model_config import ModelError


def open_session(path: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """Open an ONNX model.

    Args:
        path: The model's file.
        threads: Threads of each operator. They sleep while they have nothing to do: threads that
            spin are faster alone and far slower beside other models on the same cores.

    Raises:
        ModelError: The file is missing or ONNX Runtime does not take it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    except (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile) as error:
        raise ModelError.of(path, error) from error
