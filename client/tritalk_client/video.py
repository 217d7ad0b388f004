"""What a turn or a narration leaves behind: the finished answer, its video and its timing."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tritalk_client.events import (
    Event,
    Failure,
    Fragment,
    Media,
    ReplyText,
    StageTimes,
    Transcript,
    TurnCompleted,
    TurnStarted,
)
from tritalk_client.wire import Usage


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Milliseconds from the end of the question until things reached the client.

    The end of the question is when its last chunk, or its text, was handed to the connection.
    What has not come is None.
    """

    first_fragment: float | None = None
    first_spoken: float | None = None
    """The first fragment with speech in it."""
    last_fragment: float | None = None
    completed: float | None = None
    """The end of the turn."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """A finished video.

    Attributes:
        media: A playable fragmented MP4 (H.264 and AAC); empty when nothing was sent.
        media_s: Its length in seconds.
        arrivals: When its pieces came.
    """

    media: bytes = field(repr=False)
    media_s: float
    arrivals: Arrivals

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the MP4; a file that is there is replaced in one step, or not at all.

        Raises:
            OSError: The file cannot be written.
        """
        target = Path(path)
        # In the same folder, since a file system replaces files in one step only within itself.
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            part.write_bytes(self.media)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target


@dataclass(frozen=True, kw_only=True)
class Answer(Video):
    """A turn that has ended.

    Attributes:
        turn_id: The server's name for the turn; empty when none began.
        question: What was asked; empty when the portrait only spoke given words.
        transcript: What was recognised, None for a typed question.
        reply: The words of the answer.
        outcome: How the turn ended.
        stages_ms: The server's stage times.
        usage: What the language model's work cost, None when it had none.
        failures: The stages that failed.
    """

    turn_id: str
    question: str
    transcript: Transcript | None
    reply: str
    outcome: str
    stages_ms: StageTimes
    usage: Usage | None
    failures: tuple[Failure, ...]


@dataclass
class _Reel:
    """Media in the order of its arrival."""

    began_s: float
    pieces: list[bytes] = field(default_factory=list)
    media_s: float = 0.0
    times: dict[str, float] = field(default_factory=dict)

    def add(self, piece: Media | Fragment, now_s: float) -> None:
        self.pieces.append(piece.data)
        self.media_s = max(self.media_s, piece.start_s + piece.duration_s)
        elapsed_ms = self.elapsed_ms(now_s)
        self.times.setdefault("first_fragment", elapsed_ms)
        if piece.spoken:
            self.times.setdefault("first_spoken", elapsed_ms)
        self.times["last_fragment"] = elapsed_ms

    def elapsed_ms(self, now_s: float) -> float:
        return round((now_s - self.began_s) * 1000, 3)


class AnswerBuilder:
    """Collects one turn.

    Args:
        asked_s: The end of the question, on the clock of `add`.
    """

    def __init__(self, asked_s: float = 0.0) -> None:
        self._reel = _Reel(asked_s)
        self._transcript: Transcript | None = None
        self._started: TurnStarted | None = None
        self._completed: TurnCompleted | None = None
        self._words: list[str] = []
        self._failures: list[Failure] = []

    @property
    def turn_id(self) -> str:
        """The turn, empty before it has begun."""
        return self._started.turn_id if self._started else ""

    def begin(self, started: TurnStarted, transcript: Transcript | None, asked_s: float) -> None:
        """The turn begins.

        Args:
            started: Its first event.
            transcript: What was recognised of its question.
            asked_s: The end of its question.
        """
        self._started = started
        self._transcript = transcript
        self._reel.began_s = asked_s

    def add(self, event: Event, now_s: float) -> None:
        """Take an event that arrived at `now_s`."""
        match event:
            case Transcript(final=True, ignored="") if self._started is None:
                self._transcript = event
            case ReplyText():
                self._words.append(event.text)
            case Media():
                self._reel.add(event, now_s)
            case Failure():
                self._failures.append(event)
            case TurnCompleted():
                self._completed = event
                self._reel.times["completed"] = self._reel.elapsed_ms(now_s)

    def answer(self) -> Answer:
        """What has been collected so far."""
        started, completed = self._started, self._completed
        return Answer(
            media=b"".join(self._reel.pieces),
            media_s=completed.media_s if completed else self._reel.media_s,
            arrivals=Arrivals(**self._reel.times),
            turn_id=started.turn_id if started else "",
            question=started.question if started else "",
            transcript=self._transcript,
            reply=completed.reply if completed else "".join(self._words),
            outcome=completed.outcome if completed else "failed",
            stages_ms=completed.stages_ms if completed else StageTimes(),
            usage=completed.usage if completed else None,
            failures=tuple(self._failures),
        )


def narrated(fragments: Sequence[tuple[float, Fragment]], began_s: float) -> Video:
    """The video of a narration.

    Args:
        fragments: When each fragment arrived, and the fragment, in their order.
        began_s: When the script was sent, on the same clock.
    """
    reel = _Reel(began_s)
    for now_s, fragment in fragments:
        reel.add(fragment, now_s)
    if fragments:
        reel.times["completed"] = reel.times["last_fragment"]
    return Video(media=b"".join(reel.pieces), media_s=reel.media_s, arrivals=Arrivals(**reel.times))
