"""What was said so far, and how much of it goes into a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from tritalk_client.wire import ChatMessage


class History:
    """The messages of one conversation.

    Args:
        limit_chars: Most characters of earlier messages in a prompt, and kept at all.
    """

    def __init__(self, limit_chars: int) -> None:
        self._limit_chars = limit_chars
        self._messages: list[ChatMessage] = []

    def add(self, question: str, answer: str) -> None:
        """Record an exchange; an empty side is left out, as a script has no question."""
        if question:
            self._messages.append(ChatMessage("user", question))
        if answer:
            self._messages.append(ChatMessage("assistant", answer))
        self._messages = self._recent()

    def prompt(
        self, system_prompt: str, examples: Sequence[tuple[str, str]], question: str
    ) -> list[ChatMessage]:
        """The messages for the language model: its part, recent messages, the question."""
        messages = [ChatMessage("system", system_prompt)] if system_prompt else []
        for asked, answered in examples:
            messages += [ChatMessage("user", asked), ChatMessage("assistant", answered)]
        return [*messages, *self._messages, ChatMessage("user", question)]

    def _recent(self) -> list[ChatMessage]:
        """The newest messages within the limit, beginning with one of the user where possible."""
        kept: list[ChatMessage] = []
        left = self._limit_chars
        for message in reversed(self._messages):
            left -= len(message.content)
            if left < 0:
                break
            kept.insert(0, message)
        while kept and kept[0].role == "assistant" and len(kept) > 1:
            kept.pop(0)
        return kept
