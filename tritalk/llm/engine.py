"""What every language model engine does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

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

    def read(self, messages: Sequence[ChatMessage], stopped: Stopped) -> Usage:
        """Only read a chat, so that an answer to one that begins like it starts sooner.

        Gives way: an answer that needs the place in which it reads gets it once `stopped` says so.

        Args:
            messages: The beginning of a chat; the last message may be unfinished.
            stopped: Asked after every part of the prompt; once it is true the reading ends with the
                finish reason `cancelled`, and goes on from there when it is asked for again.

        Returns:
            The tokens up to the end of the last message's text.

        Raises:
            TritalkError: As `generate`.
        """
        ...

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Prompt tokens that `generate` would read for a chat, cached or not.

        Raises:
            TritalkError: BAD_REQUEST when the model's chat template refuses it, UNAVAILABLE when
                the engine does not answer.
        """
        ...

    def kv_tokens(self) -> int:
        """Tokens whose keys and values are in memory now."""
        ...

    def close(self) -> None:
        """Free the model. No other method may be called afterwards."""
        ...
