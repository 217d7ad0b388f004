"""Settings of the language model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tritalk.settings import Settings


class LlmSettings(Settings):
    """Parameters of `model_repository/llm/config.pbtxt`."""

    engine: Literal["llama_cpp"] = "llama_cpp"
    model_label: str = ""
    """The label `model` of the metrics; empty takes the name in the weights."""

    n_ctx: int = Field(default=2048, ge=256)
    """Tokens of one conversation: its prompt and its answer."""
    n_parallel: int = Field(default=4, ge=1, le=64)
    """Answers generated at the same time."""
    max_queue: int = Field(default=16, ge=0)
    """Requests that may wait for a free place; one more is refused as busy."""
    deadline_s: float = Field(default=30.0, gt=0)
    """Longest time from a request's arrival to its last token."""

    threads: int = Field(default=1, ge=1)
    """Threads that generate one token."""
    batch_threads: int = Field(default=1, ge=1)
    """Threads that work on a prompt, or on the tokens of several answers at once."""
    prompt_batch: int = Field(default=64, ge=32)
    """Tokens of a prompt between two chances to cancel it or to serve the other answers."""
    cache_ram_mib: int = Field(default=128, ge=0)
    """Memory for prompts of conversations that lost their place to another, in MiB."""
    gpu_layers: int = Field(default=0, ge=-1)
    """Layers that are kept on the GPU; -1 is all that fit."""
