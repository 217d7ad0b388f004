"""What a request to the language model may ask for."""

from __future__ import annotations

from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import ChatMessage, Sampling

MAX_MESSAGES = 256
MAX_MESSAGES_BYTES = 512 * 1024
"""Largest `MESSAGES` payload."""

MAX_SAMPLING_BYTES = 16 * 1024
"""Largest `SAMPLING` payload."""

MAX_STOPS = 16
MAX_STOP_CHARS = 64
MAX_ID_BYTES = 256
"""Longest request id that can be cancelled."""


def read_messages(data: bytes, *, finished: bool = True) -> list[ChatMessage]:
    """Read the chat of a request.

    Args:
        data: Its JSON.
        finished: Whether it is to be answered, so that it must end with words of the user's.

    Raises:
        TritalkError: BAD_REQUEST when it is not such a chat, TOO_LARGE when it has too many
            messages.
    """
    messages = wire.decode(data, list[ChatMessage])
    if len(messages) > MAX_MESSAGES:
        raise TritalkError(
            ErrorCode.TOO_LARGE, f"at most {MAX_MESSAGES} messages are taken, got {len(messages)}"
        )
    if not messages:
        raise TritalkError(ErrorCode.BAD_REQUEST, "MESSAGES holds no message")
    if finished and (messages[-1].role != "user" or not messages[-1].content.strip()):
        raise TritalkError(
            ErrorCode.BAD_REQUEST, "the last message must be the user's, and not empty"
        )
    return messages


def read_sampling(data: bytes | None) -> Sampling:
    """Read the sampling of a request; the defaults where it has none.

    Raises:
        TritalkError: BAD_REQUEST, naming the field that is out of bounds.
    """
    sampling = wire.decode(data, Sampling) if data else Sampling()
    if len(sampling.stop) > MAX_STOPS:
        raise TritalkError(
            ErrorCode.BAD_REQUEST, f"stop: at most {MAX_STOPS} texts, got {len(sampling.stop)}"
        )
    for stop in sampling.stop:
        if not 1 <= len(stop) <= MAX_STOP_CHARS:
            raise TritalkError(
                ErrorCode.BAD_REQUEST, f"stop: a text has 1 to {MAX_STOP_CHARS} characters"
            )
    return sampling
