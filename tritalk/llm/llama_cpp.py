"""GGUF models on llama.cpp, inside this process."""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import xllamacpp

from tritalk.llm import gguf
from tritalk.llm.engine import Emit, EngineError, Stopped
from tritalk.llm.settings import LlmSettings
from tritalk.llm.slots import Slots
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import ChatMessage, Sampling, Usage

WEIGHTS = "model.gguf"

_LOG_ERRORS = 1
# llama.cpp takes this seed as "draw one".
_RANDOM_SEED = 0xFFFFFFFF
_ERROR_CODES = {
    "exceed_context_size_error": ErrorCode.TOO_LARGE,
    "invalid_request_error": ErrorCode.BAD_REQUEST,
    "unavailable_error": ErrorCode.UNAVAILABLE,
}


class LlamaCpp:
    """llama.cpp's server, used as a library: continuous batching, prefix cache, cancellation.

    The server insists on an HTTP listener; it gets a Unix socket in a folder of this user's own
    and a random key, so that nothing of it is on the network.

    Args:
        settings: The model's settings.
        folder: Holds `model.gguf`.

    Raises:
        EngineError: The weights are missing or broken, or `n_ctx` is more than they can do.
    """

    def __init__(self, settings: LlmSettings, folder: Path) -> None:
        path = folder / WEIGHTS
        info = gguf.read(path)
        if info.context_tokens and settings.n_ctx > info.context_tokens:
            raise EngineError(
                f"n_ctx is {settings.n_ctx}, but {path} was trained for {info.context_tokens} "
                "tokens: lower n_ctx"
            )
        self.label = settings.model_label or info.name
        self._n_ctx = settings.n_ctx
        self._control_tokens = _any_of(info.control_tokens)
        self._key = secrets.token_hex(16)
        self._folder = tempfile.TemporaryDirectory(prefix="tritalk-llm-")
        self._socket = Path(self._folder.name) / "llm.sock"
        self._slots = Slots(self._socket, self._key, Path(self._folder.name))
        try:
            self._server = xllamacpp.Server(self._parameters(settings, path))
        except RuntimeError as error:
            self._folder.cleanup()
            raise EngineError(
                f"llama.cpp cannot load {path}: {error} Its log above says why; a broken file is "
                "replaced by: python -m export get default"
            ) from error
        address = self._server.listening_address
        if address != f"unix://{self._socket}":
            self.close()
            raise EngineError(f"llama.cpp listens on {address} in place of its private socket")
        # The first request would otherwise pay for the chat template and the thread pools.
        self._answer(
            [ChatMessage("user", "Hello!")], Sampling(max_new_tokens=2), _ignore, lambda: False
        )

    def generate(
        self, messages: Sequence[ChatMessage], sampling: Sampling, emit: Emit, stopped: Stopped
    ) -> Usage:
        """See `Engine.generate`."""
        usage = self._answer(messages, sampling, emit, stopped)
        if usage.cached_tokens * 2 < usage.prompt_tokens:
            self._slots.share_latest()
        return usage

    def kv_tokens(self) -> int:
        """See `Engine.kv_tokens`."""
        return self._slots.tokens()

    def close(self) -> None:
        """See `Engine.close`."""
        self._slots.close()
        del self._server
        self._folder.cleanup()

    def _answer(
        self, messages: Sequence[ChatMessage], sampling: Sampling, emit: Emit, stopped: Stopped
    ) -> Usage:
        answer = Answer(emit, stopped, self._n_ctx)
        chat = [
            {"role": message.role, "content": self._plain(message.content)} for message in messages
        ]
        self._server.handle_chat_completions(
            {
                "messages": chat,
                "max_tokens": sampling.max_new_tokens,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "repeat_penalty": sampling.repeat_penalty,
                "seed": sampling.seed % _RANDOM_SEED,
                "stop": list(sampling.stop),
                "cache_prompt": True,
                "stream": True,
                "stream_options": {"include_usage": True},
                # A chunk after every part of the prompt is a chance to cancel.
                "return_progress": True,
                "timings_per_token": True,
            },
            answer.take,
        )
        return answer.usage()

    def _plain(self, text: str) -> str:
        """The text without control tokens: what a user says must not end his turn.

        Taking one out may put the halves of another together, so it is done until none is left.
        """
        while (cleaned := self._control_tokens.sub("", text)) != text:
            text = cleaned
        return text

    def _parameters(self, settings: LlmSettings, path: Path) -> Any:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = settings.n_ctx * settings.n_parallel
        parameters.n_parallel = settings.n_parallel
        parameters.n_batch = parameters.n_ubatch = settings.prompt_batch
        parameters.n_gpu_layers = settings.gpu_layers
        parameters.fit_params = False
        parameters.cache_ram_mib = settings.cache_ram_mib
        parameters.cpuparams.n_threads = settings.threads
        parameters.cpuparams_batch.n_threads = settings.batch_threads
        # Threads that spin while they wait take the cores from the other models.
        parameters.cpuparams.poll = parameters.cpuparams_batch.poll = 0
        parameters.hostnames = [str(self._socket)]
        parameters.slot_save_path = f"{self._folder.name}/"
        parameters.api_keys = [self._key]
        # One that shares prompts, one that reads what the places hold.
        parameters.n_threads_http = 2
        parameters.ui = False
        parameters.verbosity = _LOG_ERRORS
        return parameters


class Answer:
    """Reads the chunks of one streamed chat completion."""

    def __init__(self, emit: Emit, stopped: Stopped, n_ctx: int) -> None:
        self._emit = emit
        self._stopped = stopped
        self._n_ctx = n_ctx
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._completion_tokens = 0
        self._reason: Literal["stop", "length", "cancelled"] | None = None
        self._error: Exception | None = None

    def take(self, chunk: dict[str, Any]) -> bool:
        """Take one chunk; true ends the generation."""
        try:
            return self._read(chunk)
        except Exception as error:
            # llama.cpp would swallow it and end the stream; `usage` raises it again.
            self._error = error
            return True

    def usage(self) -> Usage:
        """What the answer cost, once the stream has ended; raises what ended it early."""
        if self._error is not None:
            raise self._error
        if self._reason is None:
            raise TritalkError(ErrorCode.INTERNAL, "llama.cpp ended an answer without a reason")
        return Usage(
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            finish_reason=self._reason,
            cached_tokens=self._cached_tokens,
        )

    def _read(self, chunk: dict[str, Any]) -> bool:
        if "error" in chunk:
            raise self._typed(chunk["error"])
        if timings := chunk.get("timings"):
            self._cached_tokens = timings["cache_n"]
            self._prompt_tokens = timings["cache_n"] + timings["prompt_n"]
            self._completion_tokens = timings["predicted_n"]
        for choice in chunk["choices"]:
            if choice["finish_reason"] is not None:
                self._reason = "stop" if choice["finish_reason"] == "stop" else "length"
            if text := choice["delta"].get("content"):
                self._emit(text)
        if self._reason is None and self._stopped():
            self._reason = "cancelled"
            return True
        return False

    def _typed(self, error: dict[str, Any]) -> TritalkError:
        code = _ERROR_CODES.get(error["type"], ErrorCode.INTERNAL)
        if code is ErrorCode.TOO_LARGE:
            return TritalkError(
                code,
                f"the messages have {error['n_prompt_tokens']} tokens, but prompt and answer "
                f"share {self._n_ctx}: shorten the messages, or raise n_ctx",
            )
        return TritalkError(code, f"llama.cpp: {error['message']}")


def _any_of(texts: frozenset[str]) -> re.Pattern[str]:
    if not texts:
        return re.compile("(?!)")
    return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)))


def _ignore(_: str) -> None:
    return None
