"""What starts a turn: a spoken question, a typed one, or words for the portrait to speak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tritalk_client.audio import Recording, read_recording
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.protocol import checked_text


@dataclass(frozen=True)
class Spoken:
    """A recorded question.

    Attributes:
        pcm: PCM, signed 16-bit little-endian, mono, 16 kHz.
        pace: Whether it is sent at the speed of speech, not as fast as it goes.
    """

    pcm: bytes
    pace: bool = False


@dataclass(frozen=True)
class Typed:
    """A typed question."""

    text: str


@dataclass(frozen=True)
class Script:
    """Words to be spoken as they are."""

    text: str


Question: TypeAlias = Spoken | Typed | Script


def read_question(
    recording: Recording | None, *, text: str | None, sample_rate_hz: int | None, pace: bool
) -> Question:
    """A question as the user gave it, checked.

    Raises:
        TritalkError: BAD_REQUEST when not exactly one of recording and text is given; else as
            `read_recording` and `checked_text`.
    """
    if (recording is None) == (text is None):
        raise TritalkError(
            ErrorCode.BAD_REQUEST, "a question is either a recording or text=…, give one of them"
        )
    if text is not None:
        return Typed(checked_text(text))
    assert recording is not None
    return Spoken(read_recording(recording, sample_rate_hz=sample_rate_hz), pace)


def read_script(text: str) -> Question:
    """Words to be spoken, checked; raises as `checked_text`."""
    return Script(checked_text(text))
