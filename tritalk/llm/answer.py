"""Reads what llama.cpp streams: the chunks of an answer, or of a prompt that is only read."""

from __future__ import annotations

from typing import Any, Literal

from tritalk.llm.engine import Emit, Stopped
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import Usage

_ERROR_CODES = {
    "exceed_context_size_error": ErrorCode.TOO_LARGE,
    "invalid_request_error": ErrorCode.BAD_REQUEST,
    "unavailable_error": ErrorCode.UNAVAILABLE,
}


class Answer:
    """Reads the chunks of one streamed chat completion, or of a completion of plain text.

    Args:
        emit: Gets each piece of text.
        stopped: Asked after every chunk.
        n_ctx: Tokens that prompt and answer share.
    """

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
            if text := choice["delta"].get("content") if "delta" in choice else choice["text"]:
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
