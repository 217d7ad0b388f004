"""Typed errors of tritalk, the same on both ends of the wire.

A stage that fails raises a `TritalkError`; the server's glue sends it as the message of Triton's
error (a JSON object), and the client turns it back into the same exception.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class ErrorCode(str, Enum):
    """What went wrong, in terms a program can act on."""

    # The caller's fault: the request must change.
    BAD_REQUEST = "bad_request"
    BAD_AUDIO = "bad_audio"
    NO_SPEECH = "no_speech"
    TOO_LARGE = "too_large"
    BAD_IMAGE = "bad_image"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    UNUSABLE_FACE = "unusable_face"
    UNKNOWN_AVATAR = "unknown_avatar"
    UNKNOWN_VOICE = "unknown_voice"
    NOTHING_TO_SAY = "nothing_to_say"
    CANCELLED = "cancelled"
    # The server's fault: the same request may work later or elsewhere.
    BUSY = "busy"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


_RETRYABLE = frozenset(
    {ErrorCode.BUSY, ErrorCode.TIMEOUT, ErrorCode.STALLED, ErrorCode.UNAVAILABLE}
)


class _WireError(msgspec.Struct, forbid_unknown_fields=True):
    code: ErrorCode
    message: str
    stage: str = ""


class TritalkError(Exception):
    """An error with a code, a message that says what to do, and the stage it came from.

    Args:
        code: What went wrong.
        message: One sentence for a person: what is wrong and what to change.
        stage: The model that failed (`asr`, `llm`, …), empty where no stage is to blame.
    """

    def __init__(self, code: ErrorCode, message: str, *, stage: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.stage = stage

    def __str__(self) -> str:
        """`stage: message [code]`."""
        where = f"{self.stage}: " if self.stage else ""
        return f"{where}{self.message} [{self.code.value}]"

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed when it is sent again."""
        return self.code in _RETRYABLE

    def to_wire(self) -> str:
        """The JSON text that travels as Triton's error message."""
        error = _WireError(code=self.code, message=self.message, stage=self.stage)
        return msgspec.json.encode(error).decode()

    @classmethod
    def from_wire(cls, text: str, *, default: ErrorCode = ErrorCode.INTERNAL) -> TritalkError:
        """Read an error message of Triton's.

        Args:
            text: The message; anything that is not our JSON (an error of Triton's own) is kept
                as the message of an error with the code `default`. Triton may put words of its
                own in front of the JSON; they are dropped.
            default: The code of a message that carries none.
        """
        return cls.find_in(text) or cls(default, text)

    @classmethod
    def find_in(cls, text: str) -> TritalkError | None:
        """The error of ours that an error message of Triton's carries, None when it has none."""
        start = text.find('{"code":')
        if start < 0:
            return None
        end = text.rfind("}") + 1
        try:
            error = msgspec.json.decode(text[start:end].encode(), type=_WireError)
        except msgspec.DecodeError:
            return None
        return cls(error.code, error.message, stage=error.stage)
