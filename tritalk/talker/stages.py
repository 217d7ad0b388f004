"""How the conversation reaches the other models; `remote.py` implements it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

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


class Stages(Protocol):
    """The stages of a turn. Every method may be called from any thread and blocks its caller.

    All raise `TritalkError` with the stage that failed.
    """

    def avatar(self, avatar_id: str) -> wire.AvatarInfo:
        """Describe an avatar; UNKNOWN_AVATAR when there is none of that id."""
        ...

    def recognise(
        self,
        sequence_id: int,
        pcm: bytes,
        options: wire.RecognitionOptions,
        *,
        start: bool,
        end: bool,
    ) -> wire.Transcript:
        """Send a chunk of an utterance; the one that ends it returns the final transcript."""
        ...

    def generate(
        self, request_id: str, messages: Sequence[wire.ChatMessage], sampling: wire.Sampling
    ) -> Iterator[str | wire.Usage]:
        """Stream the text of an answer, then its usage."""
        ...

    def cancel_generation(self, request_id: str) -> None:
        """Stop a generation, whether it has begun or not."""
        ...

    def synthesise(self, text: str, voice: str, speed: float) -> Speech:
        """Speak one clause."""
        ...

    def animate(
        self, sequence_id: int, avatar_id: str, speech: Speech | None, *, start: bool, end: bool
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
