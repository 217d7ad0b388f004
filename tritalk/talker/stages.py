"""How the conversation reaches the other models; `remote.py` implements it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


@dataclass(frozen=True)
class Speech:
    """Synthesised speech of one clause."""

    text: str
    pcm: bytes
    """Signed 16-bit little-endian mono."""
    sample_rate_hz: int
    timing: bytes
    """JSON list of `wire.PhonemeTiming`."""


Deliver: TypeAlias = Callable[["wire.Hearing | TritalkError | None"], None]
"""Takes what is heard of a sequence; an error, or None at its end, is the last that comes."""


class Ear(Protocol):
    """One sequence of recognition. Its methods return at once."""

    @property
    def waiting_bytes(self) -> int:
        """Audio that was sent and not yet taken."""
        ...

    def send(self, pcm: bytes, *, end: bool = False) -> None:
        """Go on with the next audio; `end` ends the sequence, what is left of it is recognised."""
        ...

    def close(self) -> None:
        """End the sequence, and deliver nothing more of it."""
        ...


class Stages(Protocol):
    """The stages of a turn. Every method may be called from any thread and blocks its caller.

    All raise `TritalkError` with the stage that failed.
    """

    def avatar(self, avatar_id: str) -> wire.AvatarInfo:
        """Describe an avatar; UNKNOWN_AVATAR when there is none of that id."""
        ...

    def listen(self, sequence_id: int, options: wire.RecognitionOptions, deliver: Deliver) -> Ear:
        """Begin a sequence of recognition; `deliver` is called from a thread of its own."""
        ...

    def generate(
        self, request_id: str, messages: Sequence[wire.ChatMessage], sampling: wire.Sampling
    ) -> Iterator[str | wire.Usage]:
        """Stream the text of an answer, then its usage."""
        ...

    def read_ahead(self, request_id: str, messages: Sequence[wire.ChatMessage]) -> None:
        """Have the language model read what the next prompt will begin with."""
        ...

    def count_tokens(self, messages: Sequence[wire.ChatMessage]) -> int:
        """How many tokens these messages are."""
        ...

    def cancel_generation(self, request_id: str) -> None:
        """Stop what was asked for under this id, whether it has begun or not."""
        ...

    def synthesise(self, text: str, voice: str, speed: float) -> Speech:
        """Speak one clause."""
        ...

    def animate(
        self,
        sequence_id: int,
        options: wire.AnimateOptions,
        speech: Speech | None,
        *,
        start: bool,
        end: bool,
    ) -> Iterator[tuple[wire.Fragment, bytes]]:
        """Animate one piece of an answer; without speech it only ends the sequence."""
        ...

    def cancel_animation(self, sequence_id: int) -> None:
        """End an animation at the next fragment boundary."""
        ...


def unforeseen(stage: str) -> TritalkError:
    """What a client is told of a fault in the programme; the server's log has its traceback."""
    return TritalkError(
        ErrorCode.INTERNAL, "an unforeseen error, see the server's log", stage=stage
    )
