"""What every language model engine does, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tritalk.llm.settings import LlmSettings
from tritalk_client.wire import ChatMessage, Sampling, Usage

Emit = Callable[[str], None]
"""Takes the next piece of an answer's text."""

Stopped = Callable[[], bool]
"""Says whether an answer is still wanted."""


class EngineError(RuntimeError):
    """An engine cannot be loaded; the message names the file or setting and what to change."""


class Engine(Protocol):
    """A loaded language model. All methods may be called from any thread."""

    @property
    def label(self) -> str:
        """Name of the model in metrics."""
        ...

    def generate(
        self, messages: Sequence[ChatMessage], sampling: Sampling, emit: Emit, stopped: Stopped
    ) -> Usage:
        """Answer a chat; blocks until the answer has ended.

        Args:
            messages: The chat; the last message is the user's.
            sampling: How words are picked, and how many at the most.
            emit: Called with each piece of text as it is made: whole characters, none of the
                model's control tokens.
            stopped: Asked after every token and every part of the prompt; once it is true the
                generation ends with the finish reason `cancelled` and its place is free.

        Raises:
            TritalkError: TOO_LARGE when the chat does not fit the context, BAD_REQUEST when the
                model's chat template refuses it, INTERNAL when the engine fails.
        """
        ...

    def kv_tokens(self) -> int:
        """Tokens whose keys and values are in memory now."""
        ...

    def close(self) -> None:
        """Free the model. No other method may be called afterwards."""
        ...


def load(settings: LlmSettings, folder: Path) -> Engine:
    """Load the engine that the settings name, and warm it up.

    Args:
        settings: The model's settings.
        folder: The version folder in the model repository, which holds the weights.

    Raises:
        EngineError: The weights are missing, broken, or do not fit the settings.
    """
    # An engine's library is imported only where that engine is used.
    from tritalk.llm.llama_cpp import LlamaCpp

    engines: dict[str, Callable[[LlmSettings, Path], Engine]] = {"llama_cpp": LlamaCpp}
    return engines[settings.engine](settings, folder)
