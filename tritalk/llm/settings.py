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
    n_parallel: int = Field(default=16, ge=1, le=64)
    """Conversations that are kept in the cache, and answers generated at the same time; each takes
    the memory of `n_ctx` tokens."""
    instances: int = Field(default=2, ge=1, le=16)
    """Copies of the engine, among which the conversations are divided; the cores that the language
    model may use, by `threads`. On a GPU, 1."""
    max_queue: int = Field(default=16, ge=0)
    """Requests that may wait for a free place; one more is refused as busy."""
    deadline_s: float = Field(default=30.0, gt=0)
    """Longest time from a request's arrival to its last token."""

    threads: int = Field(default=1, ge=1)
    """Threads of an instance that generate one token."""
    batch_threads: int = Field(default=1, ge=1)
    """Threads of an instance that work on a prompt, or on the tokens of several answers at once."""
    prompt_batch: int = Field(default=16, ge=8)
    """Tokens of a prompt between two chances to cancel it or to serve the other answers."""
    cache_ram_mib: int = Field(default=512, ge=0)
    """Most memory for what conversations had read that lost their place to another, in MiB."""
    delta_interval_ms: int = Field(default=100, ge=0, le=1000)
    """Least time between two responses of an answer, after its first clause, that hold no clause
    mark; 0 sends every piece of text alone."""
    flash_attention: bool = False
    """On a GPU, true. On a CPU it is the slower, the longer a conversation is."""
    key_type: Literal["f16", "q8_0"] = "q8_0"
    """How keys are kept in the cache; q8_0 takes half the memory and is read faster by a CPU."""
    gpu_layers: int = Field(default=0, ge=-1)
    """Layers that are kept on the GPU; -1 is all that fit."""

    @property
    def places_each(self) -> int:
        """Conversations of one instance."""
        return -(-self.n_parallel // self.instances)
