"""The language model: what serving costs, how many it serves, and how soon it begins.

`python -m benchmarks.llm` measures the served model against the bare library and against the same
engine in this process. All of them are loaded at the same time and take turns, round by round, so
that a busy machine is as busy for each; the figures are medians of the rounds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
import xllamacpp
from rich.console import Console

from benchmarks import results
from benchmarks.llm_client import LlmClient
from benchmarks.measures import Measure, reporter
from tritalk import environment
from tritalk.llm.llama_cpp import FLASH_ATTENTION, KEY_TYPES, WEIGHTS, LlamaCpp
from tritalk.llm.settings import LlmSettings
from tritalk.server import Server, ServerOptions
from tritalk_client.wire import ChatMessage, Sampling, Usage

STREAMS = 4
ROUNDS = 5
TURNS = 10
CONVERSATIONS = 5
CANCELS = 20

_TOKENS = 96
_SPEAK = Sampling(max_new_tokens=_TOKENS, repeat_penalty=1.0)
_LONG = Sampling(max_new_tokens=400, repeat_penalty=1.0)
_REPLY = Sampling(max_new_tokens=24, repeat_penalty=1.0)
_ONE = Sampling(max_new_tokens=1)
_READ = Sampling(max_new_tokens=0)
_SYSTEM = ChatMessage(
    "system",
    "You are the guide of a small museum of clocks. You answer in one or two friendly sentences.",
)
_ASIDES = "Please tell me more of the clock in room number"
_HEARD = (
    "Good morning. My grandfather had a tall old clock in the hall of his house by the sea, and it "
    "struck every hour though nobody ever wound it, which I remember well from when I was"
)

Speak = Callable[[Sequence[ChatMessage]], int]
"""Generates an answer of `_TOKENS` tokens; returns how many it made."""


def measure(console: Console) -> dict[str, Measure]:
    """Measure everything; starts a server with the model `llm` alone."""
    folder = environment.repository_root() / "model_repository" / "llm" / "1"
    found: dict[str, Measure] = {}
    say = reporter(console, found)
    with ExitStack() as stack:
        options = ServerOptions(models=("llm",), http_port=0, grpc_port=0, metrics_port=0)
        server = stack.enter_context(Server(options))
        bare = stack.enter_context(_Bare(folder / WEIGHTS))
        engine = LlamaCpp(LlmSettings(), folder)
        stack.callback(engine.close)
        clients = [stack.enter_context(LlmClient(server.grpc_url)) for _ in range(STREAMS)]
        say(**throughput(bare.speak, _in_process(engine), [_served(client) for client in clients]))
        say(**growing_conversation(clients[0]))
        say(**reading_ahead(clients[0]))
        say(**cancelling(clients[0]))
    return found


def throughput(bare: Speak, engine: Speak, served: Sequence[Speak]) -> dict[str, Measure]:
    """Tokens per second of one stream and of several."""
    alone: dict[str, list[float]] = {"bare": [], "engine": [], "served": []}
    together: dict[str, list[float]] = {"engine": [], "served": []}
    for round_number in range(ROUNDS + 1):
        figures = {
            "bare": _tokens_per_s([bare]),
            "engine": _tokens_per_s([engine]),
            "served": _tokens_per_s(served[:1]),
        }
        crowds = {
            "engine": _tokens_per_s([engine] * STREAMS),
            "served": _tokens_per_s(served),
        }
        # The first round reads the prompts.
        if round_number:
            for name, figure in figures.items():
                alone[name].append(figure)
            for name, figure in crowds.items():
                together[name].append(figure)
    one = {name: median(values) for name, values in alone.items()}
    many = {name: median(values) for name, values in together.items()}
    unit = "tokens/s"
    return {
        "llm_engine_ratio": Measure(one["engine"], unit, one["bare"]),
        "llm_served_ratio": Measure(one["served"], unit, one["bare"], 0.95, at_least=True),
        "llm_served_streams_ratio": Measure(
            many["served"], unit, many["engine"], 0.95, at_least=True
        ),
        "llm_4_streams_ratio": Measure(many["served"], unit, one["served"], 2.0, at_least=True),
    }


def growing_conversation(client: LlmClient) -> dict[str, Measure]:
    """Time to the first token of the last turn of conversations against that of their second."""
    firsts: list[list[float]] = []
    for number in range(CONVERSATIONS):
        chat = [_SYSTEM]
        times = []
        for turn in range(TURNS):
            chat.append(ChatMessage("user", f"{_ASIDES} {10 * number + turn + 100}."))
            answered = client.ask(chat, _REPLY)
            chat.append(ChatMessage("assistant", answered.text))
            times.append(answered.first_s * 1000)
        firsts.append(times)
    by_turn = [median(turns) for turns in zip(*firsts, strict=True)]
    return {
        "llm_turn10_ttft_ratio": Measure(by_turn[-1], "ms", by_turn[1], 1.0),
    }


def reading_ahead(client: LlmClient) -> dict[str, Measure]:
    """Time to the first token of a question that was read while it was spoken."""
    plain: list[float] = []
    ahead: list[float] = []
    for number in range(2 * ROUNDS):
        heard = ChatMessage("user", f"{number} is my number. {_HEARD}")
        asked = ChatMessage("user", f"{heard.content} a child. Is that possible?")
        if number % 2:
            client.ask([_SYSTEM, heard], _READ)
        answered = client.ask([_SYSTEM, asked], _ONE)
        (ahead if number % 2 else plain).append(answered.first_s * 1000)
    return {"llm_prefill_ahead_ratio": Measure(median(ahead), "ms", median(plain), 0.5)}


def cancelling(client: LlmClient) -> dict[str, Measure]:
    """From the cancel of an answer to its last response, after which its place is free."""
    took = []
    for number in range(CANCELS):
        story = ChatMessage("user", f"Tell me a very long story about the clock number {number}.")
        request_id = client.begin([_SYSTEM, story], _LONG)
        pieces = client.pieces()
        for _ in range(3):
            next(pieces)
        cancelled_at = time.perf_counter()
        client.cancel(request_id)
        took.append(_ended_at(client) - cancelled_at)
    p95_ms = float(np.percentile(took, 95)) * 1000
    return {"llm_cancel_ms": Measure(p95_ms, "ms, 95th percentile", goal=50.0)}


def _ended_at(client: LlmClient) -> float:
    """When the last response of a cancelled answer came; takes that to the cancel as well."""
    ended_at = 0.0
    while not ended_at:
        for at, _, usage in client.pieces():
            if usage is not None:
                ended_at = at
    return ended_at


def _tokens_per_s(speakers: Sequence[Speak]) -> float:
    """Tokens per second of all together, each with a chat of its own."""
    chats = [
        [ChatMessage("user", f"Tell me a very long story about {number} dragons and a knight.")]
        for number in range(3, 3 + len(speakers))
    ]
    with ThreadPoolExecutor(len(speakers)) as pool:
        began = time.perf_counter()
        made = list(pool.map(_speak, speakers, chats))
        took_s = time.perf_counter() - began
    return sum(made) / took_s


def _speak(speak: Speak, chat: Sequence[ChatMessage]) -> int:
    return speak(chat)


def _in_process(engine: LlamaCpp) -> Speak:
    def speak(chat: Sequence[ChatMessage]) -> int:
        return _made(engine.generate(chat, _SPEAK, lambda _: None, lambda: False))

    return speak


def _served(client: LlmClient) -> Speak:
    return lambda chat: _made(client.ask(chat, _SPEAK).usage)


def _made(usage: Usage) -> int:
    if usage.completion_tokens != _TOKENS:
        raise RuntimeError(f"an answer has {usage.completion_tokens} tokens, not {_TOKENS}")
    return usage.completion_tokens


class _Bare:
    """llama.cpp as its library offers it, with the settings of one instance; a context manager."""

    def __init__(self, weights: Path) -> None:
        settings = LlmSettings()
        self._folder = tempfile.TemporaryDirectory(prefix="tritalk-bench-")
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(weights)
        parameters.n_ctx = settings.n_ctx
        parameters.n_parallel = 1
        parameters.flash_attn_type = FLASH_ATTENTION[settings.flash_attention]
        parameters.cache_type_k = KEY_TYPES[settings.key_type]
        parameters.n_gpu_layers = settings.gpu_layers
        parameters.cpuparams.n_threads = settings.threads
        parameters.cpuparams_batch.n_threads = settings.batch_threads
        parameters.cpuparams.poll = parameters.cpuparams_batch.poll = 0
        parameters.hostnames = [f"{self._folder.name}/bare.sock"]
        parameters.ui = False
        parameters.verbosity = 1
        self._server = xllamacpp.Server(parameters)

    def __enter__(self) -> _Bare:
        return self

    def __exit__(self, *_: object) -> None:
        del self._server
        self._folder.cleanup()

    def speak(self, chat: Sequence[ChatMessage]) -> int:
        """See `Speak`."""
        made = 0

        def take(chunk: dict[str, dict[str, int]]) -> bool:
            nonlocal made
            if usage := chunk.get("usage"):
                made = usage["completion_tokens"]
            return False

        self._server.handle_chat_completions(
            {
                "messages": [{"role": item.role, "content": item.content} for item in chat],
                "max_tokens": _SPEAK.max_new_tokens,
                "temperature": _SPEAK.temperature,
                "top_p": _SPEAK.top_p,
                "repeat_penalty": _SPEAK.repeat_penalty,
                "stream": True,
                "stream_options": {"include_usage": True},
            },
            take,
        )
        return _made(Usage(0, made, "length"))


def main() -> int:
    """Measure, print and write `out/llm.json`; 1 when a goal is missed."""
    console = Console(stderr=True)
    found = measure(console)
    results.write("llm", {name: item.to_json() for name, item in found.items()})
    return 1 if any(item.ok is False for item in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
