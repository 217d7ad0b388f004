"""When the steps of a script are due; pure, without a clock of its own."""

from __future__ import annotations

from collections import deque

from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import (
    Event,
    Interrupted,
    Media,
    Silence,
    Speaking,
    Transcript,
    TurnCompleted,
    TurnStarted,
)
from tritalk_client.script import Moment, Script, Step
from tritalk_client.wire import INPUT_SAMPLE_RATE_HZ

CHUNK_S = 0.05
"""Length of the chunks of an open microphone: speech begins on one, so it is short."""

_WORDLESS_S = 10.0
_CHUNK_BYTES = int(CHUNK_S * INPUT_SAMPLE_RATE_HZ) * 2
_SILENCE = b"\0" * _CHUNK_BYTES


class Director:
    """Follows a script: what has been seen, what is to be done next, whether it is over.

    Times are in seconds since the script began.

    Args:
        script: The script.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._next = 0
        self._waits_since_s = 0.0
        self._ended: dict[int, float] = {}
        self._seen: dict[Moment, float] = {}
        self._last_s = 0.0
        self._utterance: int | None = None

    def saw(self, event: Event, now_s: float) -> None:
        """An event came."""
        for moment in _moments(event):
            self._seen.setdefault(moment, now_s)
        match event:
            case Silence():
                return
            case Speaking():
                self._utterance = event.utterance
            case Transcript():
                self._utterance = None if event.final else event.utterance
        self._last_s = now_s

    def due(self, now_s: float) -> tuple[int, Step] | None:
        """The next step, when its moment has come; each is given once.

        Raises:
            TritalkError: TIMEOUT when what it waits for has not come in time.
        """
        if self._next == len(self._script.steps):
            return None
        number, step = self._next, self._script.steps[self._next]
        since_s = self._moment_s(number, step)
        if since_s is None:
            if now_s - self._waits_since_s > step.within_s:
                raise TritalkError(
                    ErrorCode.TIMEOUT,
                    f"steps[{number}] ({step.action}) waited {step.within_s:g} s for {step.after}, "
                    "which did not come: allow more time with within_s, or wait for something else",
                )
            return None
        if now_s < since_s + step.delay_s:
            return None
        self._next += 1
        self._waits_since_s = self._last_s = now_s
        # The next step waits for what comes from now on.
        self._seen = {}
        return number, step

    def ended(self, number: int, now_s: float) -> None:
        """A step has been done to its end."""
        self._ended[number] = now_s
        self._waits_since_s = self._last_s = max(self._last_s, now_s)

    @property
    def all_done(self) -> bool:
        """Whether every step has been done to its end."""
        return len(self._ended) == len(self._script.steps)

    def is_over(self, now_s: float) -> bool:
        """Whether everything has been done and it has been quiet for long enough.

        That the server owes nothing is for others to see.
        """
        # An utterance without words has no final transcript, and ends without a sign.
        ending_s = 0.0 if self._utterance is None else _WORDLESS_S
        quiet_s = max(self._script.quiet_s, ending_s)
        return self.all_done and now_s - self._last_s >= quiet_s

    def _moment_s(self, number: int, step: Step) -> float | None:
        """When what a step waits for has come, None when it has not."""
        if step.after != "previous":
            return self._seen.get(step.after)
        return self._ended.get(number - 1) if number else 0.0


class OpenMicrophone:
    """A microphone that is never closed: silence, and what the user says.

    Has no clock of its own; times are in seconds since the script began.
    """

    def __init__(self) -> None:
        self._words: deque[tuple[int, bytes]] = deque()
        self._chunks = 0

    @property
    def next_s(self) -> float:
        """When the next chunk is complete."""
        return (self._chunks + 1) * CHUNK_S

    def say(self, number: int, pcm: bytes) -> None:
        """Say something, after what is being said.

        Args:
            number: The step that it belongs to.
            pcm: 16 kHz PCM.
        """
        self._words.append((number, pcm))

    def take(self) -> tuple[bytes, list[int]]:
        """The next chunk, and the steps that end with it."""
        self._chunks += 1
        chunk, ended = b"", []
        while self._words and len(chunk) < _CHUNK_BYTES:
            number, pcm = self._words.popleft()
            room = _CHUNK_BYTES - len(chunk)
            chunk += pcm[:room]
            if len(pcm) > room:
                self._words.appendleft((number, pcm[room:]))
            else:
                ended.append(number)
        return chunk + _SILENCE[len(chunk) :], ended


def _moments(event: Event) -> list[Moment]:
    match event:
        case Transcript(final=True):
            return ["transcript"]
        case TurnStarted():
            return ["turn_started"]
        case Media(index=0):
            return ["first_media"]
        case Interrupted():
            return ["interrupted"]
        case TurnCompleted(outcome="answered"):
            return ["turn_completed", "answered"]
        case TurnCompleted():
            return ["turn_completed"]
        case Silence():
            return ["silence"]
    return []
