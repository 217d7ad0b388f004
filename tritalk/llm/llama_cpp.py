"""GGUF models on llama.cpp, inside this process."""

from __future__ import annotations

import http.client
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xllamacpp

from tritalk.llm import gguf
from tritalk.llm.answer import Answer
from tritalk.llm.chat_format import ChatFormat
from tritalk.llm.engine import Emit, EngineError, Stopped
from tritalk.llm.places import Chat, Place, Places, State
from tritalk.llm.private_server import PrivateServer
from tritalk.llm.settings import LlmSettings
from tritalk.llm.sharing import Sharing
from tritalk_client.wire import ChatMessage, Sampling, Usage

WEIGHTS = "model.gguf"
FLASH_ATTENTION = {
    False: xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED,
    True: xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED,
}
KEY_TYPES = {
    "f16": xllamacpp.ggml_type.GGML_TYPE_F16,
    "q8_0": xllamacpp.ggml_type.GGML_TYPE_Q8_0,
}

_LOG_ERRORS = 1
# llama.cpp takes this seed as "draw one".
_RANDOM_SEED = 0xFFFFFFFF
_KV_READ_S = 0.5
# A longer prompt is a whole conversation, which no other begins like.
_LONGEST_SHARED_TOKENS = 600
_HELLO = [ChatMessage("user", "Hello!")]
_CANCELLED = Usage(prompt_tokens=0, completion_tokens=0, finish_reason="cancelled")


class LlamaCpp:
    """llama.cpp's server, used as a library: continuous batching, prefix cache, cancellation.

    Chats are spread over instances, each of which has its own threads and places. They share the
    file of the weights and nothing else: what one reads does not hold up the answers of the other,
    and on a busy machine none waits for another's thread, as the threads of one instance do.

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
        self._folder = tempfile.TemporaryDirectory(prefix="tritalk-llm-")
        try:
            self._instances = _start(settings, path, Path(self._folder.name))
        except EngineError:
            self._folder.cleanup()
            raise
        self._format = ChatFormat(self._instances[0], info.control_tokens)
        self._places = Places(settings.instances, settings.places_each)
        self._sharing = Sharing(self._instances, self._places, Path(self._folder.name))
        self._tokens = [0] * settings.instances
        # The first request would otherwise pay for the chat template and the thread pools.
        for instance in self._instances:
            answer = Answer(_ignore, _never, self._n_ctx)
            instance.chat(self._chat_body(_HELLO, Sampling(max_new_tokens=2)), answer.take)
            answer.usage()

    def generate(
        self, messages: Sequence[ChatMessage], sampling: Sampling, emit: Emit, stopped: Stopped
    ) -> Usage:
        """See `Engine.generate`."""
        place = self._places.take(Chat.of(messages), stopped)
        if place is None:
            return _CANCELLED
        said: list[str] = []
        usage: Usage | None = None

        def say(text: str) -> None:
            said.append(text)
            emit(text)

        try:
            answer = Answer(say, stopped, self._n_ctx)
            body = {**self._chat_body(messages, sampling), "id_slot": place.slot}
            self._instances[place.instance].chat(body, answer.take)
            usage = answer.usage()
        finally:
            heard = list(messages)
            # After a cancelled answer the chat may go on with another question.
            if usage is not None and usage.finish_reason != "cancelled":
                heard.append(ChatMessage("assistant", "".join(said)))
            self._leave(place, heard, usage)
        return usage

    def read(self, messages: Sequence[ChatMessage], stopped: Stopped) -> Usage:
        """See `Engine.read`."""
        prompt = self._format.beginning(messages)
        place = self._places.take(Chat.of(messages), stopped, state=State.YIELDING)
        if place is None:
            return _CANCELLED
        usage: Usage | None = None
        try:
            answer = Answer(_ignore, stopped, self._n_ctx)
            body = {**_STREAM, "prompt": prompt, "n_predict": 0, "id_slot": place.slot}
            self._instances[place.instance].complete(body, answer.take)
            usage = answer.usage()
        finally:
            self._leave(place, messages, usage)
        # llama.cpp makes one token, whatever it is told.
        return Usage(usage.prompt_tokens, 0, usage.finish_reason, usage.cached_tokens)

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """See `Engine.count_tokens`."""
        return self._format.count_tokens(messages)

    def kv_tokens(self) -> int:
        """See `Engine.kv_tokens`."""
        for number, instance in enumerate(self._instances):
            try:
                slots = instance.ask("GET", "/slots", timeout_s=_KV_READ_S)
            except (OSError, http.client.HTTPException):
                # Too busy to say: the last known number stays.
                continue
            self._tokens[number] = sum(int(slot.get("n_prompt_tokens", 0)) for slot in slots)
        return sum(self._tokens)

    def close(self) -> None:
        """See `Engine.close`."""
        self._sharing.close()
        for instance in self._instances:
            instance.close()
        self._folder.cleanup()

    def _chat_body(self, messages: Sequence[ChatMessage], sampling: Sampling) -> dict[str, Any]:
        return {
            **_STREAM,
            "messages": self._format.chat(messages),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "repeat_penalty": sampling.repeat_penalty,
            "seed": sampling.seed % _RANDOM_SEED,
            "stop": list(sampling.stop),
        }

    def _leave(self, place: Place, messages: Sequence[ChatMessage], usage: Usage | None) -> None:
        """Give a place back, or have what was read there copied first, where others may need it."""
        chat = Chat.of(messages)
        if (
            usage is not None
            and usage.finish_reason != "cancelled"
            and usage.cached_tokens * 2 < usage.prompt_tokens <= _LONGEST_SHARED_TOKENS
        ):
            self._sharing.share(place, chat)
        else:
            self._places.give_back(place, chat)


_STREAM: dict[str, Any] = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "cache_prompt": True,
    # A chunk after every part of the prompt is a chance to cancel.
    "return_progress": True,
    "timings_per_token": True,
}


def _start(settings: LlmSettings, path: Path, folder: Path) -> list[PrivateServer]:
    """Start every instance.

    Raises:
        EngineError: llama.cpp cannot load the weights.
    """
    instances: list[PrivateServer] = []
    key = secrets.token_hex(16)
    try:
        for number in range(settings.instances):
            parameters = _parameters(settings, path, folder)
            instances.append(PrivateServer(parameters, folder / f"{number}.sock", key))
    except RuntimeError as error:
        for instance in instances:
            instance.close()
        if isinstance(error, EngineError):
            raise
        raise EngineError(
            f"llama.cpp cannot load {path}: {error} Its log above says why; a broken file is "
            "replaced by: python -m export get default"
        ) from error
    return instances


def _parameters(settings: LlmSettings, path: Path, folder: Path) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = settings.n_ctx * settings.places_each
    parameters.n_parallel = settings.places_each
    # Answers come first in a batch; a prompt must find room behind them.
    batch = max(settings.prompt_batch, 2 * settings.places_each)
    parameters.n_batch = parameters.n_ubatch = batch
    parameters.flash_attn_type = FLASH_ATTENTION[settings.flash_attention]
    parameters.cache_type_k = KEY_TYPES[settings.key_type]
    parameters.n_gpu_layers = settings.gpu_layers
    parameters.fit_params = False
    parameters.cache_ram_mib = settings.cache_ram_mib // settings.instances
    parameters.cpuparams.n_threads = settings.threads
    parameters.cpuparams_batch.n_threads = settings.batch_threads
    # Threads that spin while they wait take the cores from the other models.
    parameters.cpuparams.poll = parameters.cpuparams_batch.poll = 0
    parameters.slot_save_path = f"{folder}/"
    parameters.verbosity = _LOG_ERRORS
    return parameters


def _ignore(_: str) -> None:
    return None


def _never() -> bool:
    return False
