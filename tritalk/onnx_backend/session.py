"""A session of ONNX Runtime, made as a model's configuration says.

Parameters and their meaning are those of Triton's C++ `onnxruntime` backend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import onnxruntime
from pydantic import Field

from tritalk.onnx_backend.errors import OnnxModelError
from tritalk.onnx_session import ONNX_RUNTIME_ERRORS, reason
from tritalk.settings import Settings, read_settings

_DEFAULT_FILE = "model.onnx"
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_CONVOLUTION_SEARCH = {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"}
_ARENA_GROWTH = {"0": "kNextPowerOfTwo", "1": "kSameAsRequested"}


class OnnxSettings(Settings):
    """`parameters` of a model's configuration."""

    intra_op_thread_count: int = Field(default=0, ge=0)
    """Threads inside one operator; 0 is one a core."""
    inter_op_thread_count: int = Field(default=0, ge=0)
    """Threads across operators, in the parallel execution mode."""
    execution_mode: int = Field(default=0, ge=0, le=1)
    """0 runs operators one after another, 1 in parallel."""
    enable_mem_arena: bool = True
    enable_mem_pattern: bool = True
    device_allocator: str | None = Field(
        default=None, alias="session.use_device_allocator_for_initializers"
    )
    arena_shrinkage: str | None = Field(default=None, alias="memory.enable_memory_arena_shrinkage")
    """Devices whose arena shrinks after each run, `cpu:0` for example."""
    share_session_between_instances: bool = False
    """Taken and without effect: instances are processes here."""
    cudnn_conv_algo_search: Literal["0", "1", "2"] | None = None
    gpu_mem_limit: int | None = Field(default=None, gt=0)
    """Bytes."""
    arena_extend_strategy: Literal["0", "1"] | None = None
    do_copy_in_default_stream: bool | None = None

    def session_options(self) -> onnxruntime.SessionOptions:
        """ONNX Runtime's options for these settings."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.intra_op_thread_count
        options.inter_op_num_threads = self.inter_op_thread_count
        options.execution_mode = (
            onnxruntime.ExecutionMode.ORT_PARALLEL
            if self.execution_mode
            else onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        )
        options.enable_cpu_mem_arena = self.enable_mem_arena
        options.enable_mem_pattern = self.enable_mem_pattern
        # Threads that spin between two runs take the cores of the other models' processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        if self.device_allocator is not None:
            options.add_session_config_entry(
                "session.use_device_allocator_for_initializers", self.device_allocator
            )
        return options

    def run_options(self) -> onnxruntime.RunOptions:
        """ONNX Runtime's options of each run for these settings."""
        options = onnxruntime.RunOptions()
        if self.arena_shrinkage is not None:
            options.add_run_config_entry(
                "memory.enable_memory_arena_shrinkage", self.arena_shrinkage
            )
        return options

    def cuda_options(self) -> dict[str, str]:
        """The CUDA provider's options for these settings, without the device."""
        options = {}
        if self.cudnn_conv_algo_search is not None:
            options["cudnn_conv_algo_search"] = _CONVOLUTION_SEARCH[self.cudnn_conv_algo_search]
        if self.gpu_mem_limit is not None:
            options["gpu_mem_limit"] = str(self.gpu_mem_limit)
        if self.arena_extend_strategy is not None:
            options["arena_extend_strategy"] = _ARENA_GROWTH[self.arena_extend_strategy]
        if self.do_copy_in_default_stream is not None:
            options["do_copy_in_default_stream"] = str(int(self.do_copy_in_default_stream))
        return options


def load(
    folder: Path, model_config: str, *, device_id: int | None
) -> tuple[onnxruntime.InferenceSession, onnxruntime.RunOptions]:
    """Load a model as its configuration says.

    Args:
        folder: The folder of the model's version.
        model_config: Triton's configuration of the model, JSON.
        device_id: The GPU to run on; None is the CPU.

    Returns:
        The session, and the options of each run.

    Raises:
        SettingsError: A parameter is unknown or wrong.
        OnnxModelError: The file is missing or broken, or the configuration asks for what is not
            there.
    """
    config: dict[str, Any] = json.loads(model_config)
    settings = read_settings(OnnxSettings, model_config)
    options = settings.session_options()
    optimization = config.get("optimization", {})
    level = int(optimization.get("graph", {}).get("level", 0))
    if level not in _LEVELS:
        raise OnnxModelError(f"optimization.graph.level must be one of {list(_LEVELS)}: {level}")
    options.graph_optimization_level = _LEVELS[level]
    accelerators = optimization.get("execution_accelerators", {})
    cuda = {**settings.cuda_options(), **_cuda_parameters(accelerators)}
    providers: list[Any] = [_CPU]
    if device_id is not None:
        providers.insert(0, (_CUDA, {**cuda, "device_id": str(device_id)}))
        if _CUDA not in onnxruntime.get_available_providers():
            raise OnnxModelError("KIND_GPU needs CUDA: pip install onnxruntime-gpu, or KIND_CPU")
    path = _file(folder, config.get("default_model_filename", ""))
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except ONNX_RUNTIME_ERRORS as error:
        raise OnnxModelError(f"{path}: {reason(error)}") from error
    # ONNX Runtime goes on with the CPU, and says so in its log only.
    if device_id is not None and _CUDA not in session.get_providers():
        raise OnnxModelError("CUDA does not start: see ONNX Runtime's message in the log")
    return session, settings.run_options()


def _file(folder: Path, name: str) -> Path:
    path = folder / (name or _DEFAULT_FILE)
    if path.is_dir():
        path /= _DEFAULT_FILE
    if not path.is_file():
        raise OnnxModelError(f"{path} does not exist")
    return path


def _cuda_parameters(accelerators: Mapping[str, Any]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for accelerator in accelerators.get("gpu_execution_accelerator", ()):
        if accelerator["name"] != "cuda":
            raise _not_here(accelerator["name"])
        parameters |= accelerator.get("parameters", {})
    for accelerator in accelerators.get("cpu_execution_accelerator", ()):
        raise _not_here(accelerator["name"])
    return parameters


def _not_here(name: str) -> OnnxModelError:
    return OnnxModelError(
        f"optimization.execution_accelerators: {name} needs NVIDIA's C++ onnxruntime backend"
    )
