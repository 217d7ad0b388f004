"""What a request with a chat asks the engine to do."""

from __future__ import annotations

from tritalk.llm import prompt
from tritalk.llm.engine import Emit, Engine, Stopped
from tritalk.llm.job import Kind, Work
from tritalk_client.wire import Usage


def read(
    engine: Engine, messages: bytes, sampling: bytes | None, *, count: bool
) -> tuple[Kind, Work]:
    """What is to be done for a request, and how.

    Args:
        engine: Does it.
        messages: The chat, JSON.
        sampling: A `wire.Sampling`, JSON; without new tokens the chat is only read.
        count: Whether its tokens are to be counted, and nothing else.

    Raises:
        TritalkError: BAD_REQUEST or TOO_LARGE, naming what is out of bounds.
    """
    options = prompt.read_sampling(sampling)
    answers = not count and options.max_new_tokens > 0
    chat = prompt.read_messages(messages, finished=answers)

    def generate(emit: Emit, stopped: Stopped) -> Usage:
        return engine.generate(chat, options, emit, stopped)

    def read_ahead(_: Emit, stopped: Stopped) -> Usage:
        return engine.read(chat, stopped)

    def count_tokens(_: Emit, __: Stopped) -> Usage:
        return Usage(engine.count_tokens(chat), completion_tokens=0, finish_reason="length")

    if count:
        return Kind.COUNT, count_tokens
    return (Kind.ANSWER, generate) if answers else (Kind.READ, read_ahead)
