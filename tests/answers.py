"""Scripted answers of the model `talker`, for tests of the client."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.scripted_triton import Pause, Step, Words
from tritalk_client import wire
from tritalk_client.errors import ErrorCode

TIMES = wire.StageTimes(transcript=80.0, first_token=120.0, first_frame=300.0, total=900.0)
REPLY = "I am fine. Thank you."
MEDIA = (b"header+frames", b"more frames")


def answered(question: str | bytes, turn_id: str = "turn-1") -> Iterator[Step]:
    """A turn as it should be: transcript (of audio), words, two fragments, the end."""
    if isinstance(question, bytes):
        yield wire.Transcript("How are you?", True, len(question) / 32_000, "en")
        question = "How are you?"
    yield wire.TurnStarted(turn_id, question)
    yield wire.ReplyText(turn_id, "I am fine. ", TIMES)
    yield fragment(0, turn_id)
    yield wire.ReplyText(turn_id, "Thank you.", TIMES)
    yield fragment(1, turn_id)
    yield wire.TurnCompleted(turn_id, "answered", REPLY, 0.4, TIMES, wire.Usage(20, 7, "stop"))


def fragment(index: int, turn_id: str = "turn-1") -> tuple[wire.Media, bytes]:
    event = wire.Media(turn_id, index, index * 0.2, 0.2, 5, index > 0, TIMES)
    return event, MEDIA[index]


def failed(question: str | bytes) -> Iterator[Step]:
    """A turn whose voice fails."""
    yield wire.TurnStarted("turn-1", "How are you?")
    yield wire.Failure("tts", ErrorCode.TIMEOUT, "no answer within 15 s", True, "turn-1")
    yield wire.TurnCompleted("turn-1", "failed", "I am", 0.0, TIMES)


def interruptible(question: str | bytes) -> Iterator[Step]:
    """A turn that goes on until it is interrupted."""
    yield wire.TurnStarted("turn-1", "How are you?")
    yield fragment(0)
    yield Pause()
    yield wire.Interrupted("turn-1", 0.2, "I am")
    yield wire.TurnCompleted("turn-1", "interrupted", "I am", 0.2, TIMES)


def begun_then(*steps: Step) -> Callable[[str | bytes], Iterator[Step]]:
    """A turn that begins, shows one fragment, and then goes as given."""

    def answer(question: str | bytes) -> Iterator[Step]:
        yield wire.TurnStarted("turn-1", "How are you?")
        yield fragment(0)
        yield from steps

    return answer


def refused(error: str) -> Step:
    """A question that the server does not take."""
    return Words(error)
