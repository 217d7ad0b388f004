"""What was said so far, and how much of it goes into a prompt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from tritalk_client.wire import MAX_TEXT_CHARS, ChatMessage

Count = Callable[[Sequence[ChatMessage]], int]
"""Says how many tokens some messages are."""


class History:
    """The messages of one conversation.

    Args:
        messages: What was said before.
    """

    def __init__(self, messages: Sequence[ChatMessage] = ()) -> None:
        self._messages = list(messages)
        # Counting takes its time, and an answer may end meanwhile.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many messages there are."""
        return len(self._messages)

    @property
    def messages(self) -> list[ChatMessage]:
        """The messages, the oldest first."""
        return list(self._messages)

    def add(self, question: str, answer: str) -> None:
        """Record an exchange; an empty side is left out, as a script has no question."""
        with self._lock:
            if question:
                self._ask(question)
            if answer:
                # Longer messages are refused wherever they come.
                self._messages.append(ChatMessage("assistant", answer[:MAX_TEXT_CHARS]))

    def prompt(
        self, system_prompt: str, examples: Sequence[tuple[str, str]], question: str
    ) -> list[ChatMessage]:
        """The messages for the language model: its part, what was said, the question.

        A question that was cut off before its answer began is one with the question after it.
        """
        asked = History(self._messages)
        if question:
            asked._ask(question)
        return [*_part(system_prompt, examples), *asked._messages]

    def trim(
        self,
        system_prompt: str,
        examples: Sequence[tuple[str, str]],
        *,
        limit_tokens: int,
        count: Count,
    ) -> bool:
        """Drop the oldest messages when a prompt would be too long.

        Not one by one: the language model has read what a prompt begins with, and would have to
        read it anew at each turn.

        Args:
            system_prompt: The part that is always kept.
            examples: They are, too.
            limit_tokens: Most tokens of a prompt without its question.
            count: Counts tokens.

        Returns:
            Whether any were dropped.
        """
        part = _part(system_prompt, examples)
        before = len(self)
        while (messages := self.messages) and count([*part, *messages]) > limit_tokens:
            with self._lock:
                self._messages = _newer_half(self._messages)
        return len(self) < before

    def _ask(self, question: str) -> None:
        last = self._messages[-1] if self._messages else None
        if last is not None and last.role == "user":
            both = f"{last.content} {question}"
            if len(both) <= MAX_TEXT_CHARS:
                self._messages[-1] = ChatMessage("user", both)
                return
            self._messages.pop()
        self._messages.append(ChatMessage("user", question))


def _newer_half(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The newer half, from a question on."""
    kept = messages[-(len(messages) // 2) :] if len(messages) > 1 else []
    while kept and kept[0].role == "assistant":
        kept.pop(0)
    return kept


def _part(system_prompt: str, examples: Sequence[tuple[str, str]]) -> list[ChatMessage]:
    messages = [ChatMessage("system", system_prompt)] if system_prompt else []
    for asked, answered in examples:
        messages += [ChatMessage("user", asked), ChatMessage("assistant", answered)]
    return messages
