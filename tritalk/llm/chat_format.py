"""The model's own chat format: what a chat looks like to it, and how many tokens that is."""

from __future__ import annotations

import http.client
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from tritalk.llm.private_server import PrivateServer
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import ChatMessage

Chat: TypeAlias = list[dict[str, str]]
"""Messages as llama.cpp takes them."""

# A character of Unicode's private use, which no chat has: marks the end of the last message.
_END = "\ue000"
_TIMEOUT_S = 5.0


class ChatFormat:
    """Renders chats by the template in the weights; may be used from any thread.

    Args:
        server: Has the template and the tokenizer.
        control_tokens: Texts that the tokenizer turns into tokens with a meaning to the format.
    """

    def __init__(self, server: PrivateServer, control_tokens: frozenset[str]) -> None:
        self._server = server
        texts = sorted(control_tokens | {_END}, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, texts)))

    def chat(self, messages: Sequence[ChatMessage]) -> Chat:
        """The messages without control tokens: what a user says must not end his turn."""
        return [
            {"role": message.role, "content": self._plain(message.content)} for message in messages
        ]

    def beginning(self, messages: Sequence[ChatMessage]) -> str:
        """What every chat begins with that goes on after the text of the last of these messages.

        Raises:
            TritalkError: BAD_REQUEST when the template refuses the messages, UNAVAILABLE when
                llama.cpp does not answer.
        """
        chat = self.chat(messages)
        chat[-1]["content"] += _END
        rendered = self._render(chat)
        return rendered[: rendered.rindex(_END)]

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of a chat, with all that the format puts around it; raises as `beginning` does."""
        # As llama.cpp reads the prompt of a chat completion.
        body = {
            "content": self._render(self.chat(messages)),
            "add_special": True,
            "parse_special": True,
        }
        return len(self._ask("/tokenize", body)["tokens"])

    def _plain(self, text: str) -> str:
        # Taking one out may put the halves of another together, so it is done until none is left.
        while (cleaned := self._control.sub("", text)) != text:
            text = cleaned
        return text

    def _render(self, chat: Chat) -> str:
        prompt: str = self._ask("/apply-template", {"messages": chat})["prompt"]
        return prompt

    def _ask(self, target: str, body: dict[str, Any]) -> Any:
        try:
            return self._server.ask("POST", target, body, timeout_s=_TIMEOUT_S)
        except http.client.HTTPException as error:
            raise TritalkError(ErrorCode.BAD_REQUEST, f"llama.cpp: {error}") from error
        except OSError as error:
            raise TritalkError(
                ErrorCode.UNAVAILABLE,
                f"llama.cpp did not answer {target} within {_TIMEOUT_S:g} s: {error}",
            ) from error
