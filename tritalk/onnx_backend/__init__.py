"""ONNX models under Triton where its C++ `onnxruntime` backend is not installed.

The logic of `backends/onnxruntime/model.py`: sessions, batches and configurations, without Triton.
"""

from tritalk.onnx_backend.batch import InferRequest, OnnxModel, Outcome, RequestError
from tritalk.onnx_backend.complete import complete
from tritalk.onnx_backend.errors import OnnxModelError
from tritalk.onnx_backend.session import load
from tritalk.onnx_backend.signature import Signature

__all__ = [
    "InferRequest",
    "OnnxModel",
    "OnnxModelError",
    "Outcome",
    "RequestError",
    "Signature",
    "complete",
    "load",
]
