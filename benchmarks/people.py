"""People who talk to the server at the speed of speech, and what they see of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tritalk import environment
from tritalk.asr import vad
from tritalk.audio import from_pcm
from tritalk_client import (
    Conversation,
    Failure,
    Interrupted,
    Media,
    Talker,
    TurnCompleted,
    TurnStarted,
)
from tritalk_client.audio import read_recording
from tritalk_client.events import Event
from tritalk_client.settings import Avatar

CHUNK_S = 0.1
RATE_HZ = 16_000
_BYTES_PER_S = RATE_HZ * 2
_SILENCE = bytes(int(CHUNK_S * _BYTES_PER_S))
_TURN_S = 60.0
_THRESHOLD = 0.5
_PAUSE_S = 0.2
_MARGIN_S = 0.2


@dataclass(frozen=True)
class Recording:
    """A spoken question.

    Attributes:
        pcm: 16 kHz PCM, cut after its last speech.
        speech_s: Seconds from its beginning until so much speech has been heard, by 32 ms windows:
            `speech_s[n]` is where the speech is n + 1 windows long.
    """

    pcm: bytes
    speech_s: Sequence[float]

    @classmethod
    def phrases(cls, path: Path) -> list[Recording]:
        """The phrases of a sound file: what lies between pauses that would end a question."""
        pcm = read_recording(path)
        folder = environment.repository_root() / "model_repository" / "asr" / "1"
        detector = vad.Detector(folder / "silero_vad.onnx", threads=1)
        spoken = np.flatnonzero(detector.listen().hear(from_pcm(pcm)) >= _THRESHOLD)
        pause = round(_PAUSE_S * RATE_HZ / vad.WINDOW)
        groups = np.split(spoken, np.flatnonzero(np.diff(spoken) > pause) + 1)
        return [cls._phrase(pcm, group) for group in groups if len(group) * vad.WINDOW > RATE_HZ]

    @classmethod
    def _phrase(cls, pcm: bytes, windows: np.ndarray[Any, Any]) -> Recording:
        """A phrase, with a little of what is before it, since words begin softly."""
        begin = max(0, int(windows[0]) * vad.WINDOW - int(_MARGIN_S * RATE_HZ))
        ends = [(int(window) + 1) * vad.WINDOW - begin for window in windows]
        return cls(pcm[2 * begin : 2 * (begin + ends[-1])], [end / RATE_HZ for end in ends])

    def reaches(self, speech_s: float) -> float:
        """Seconds from the beginning until there has been so much speech."""
        return self.speech_s[-(-int(speech_s * RATE_HZ) // vad.WINDOW) - 1]


@dataclass
class Seen:
    """One turn as its user saw it; times in seconds of `time.monotonic()`."""

    asked_s: float
    """The end of the question's speech had been sent."""
    started_s: float | None = None
    first_spoken_s: float | None = None
    outcome: str = ""
    interrupted_s: float | None = None
    """The server's `Interrupted` came."""
    last_media_s: float | None = None
    media_s: float = 0.0
    stalled_s: float = 0.0
    """How long a player would have stood still in mid-answer."""
    completed: TurnCompleted | None = None
    _plays_until_s: float | None = field(default=None, repr=False)

    @property
    def first_spoken_ms(self) -> float | None:
        """End of speech to the first spoken fragment."""
        return None if self.first_spoken_s is None else 1000 * (self.first_spoken_s - self.asked_s)

    @property
    def endpoint_ms(self) -> float:
        """The part of it in which the server waited for the silence to be long enough."""
        return (self.completed.stages_ms.endpoint or 0.0) if self.completed else 0.0

    def media(self, event: Media, now_s: float) -> None:
        """A fragment has come."""
        if event.spoken and self.first_spoken_s is None:
            self.first_spoken_s = now_s
        self.last_media_s = now_s
        if self._plays_until_s is not None:
            self.stalled_s += max(0.0, now_s - self._plays_until_s)
        self._plays_until_s = max(self._plays_until_s or now_s, now_s) + event.duration_s
        self.media_s += event.duration_s


class Person:
    """A hands-free conversation: what is said goes out at the speed of speech, else silence.

    Args:
        talker: The connection.
        avatar: The portrait.
    """

    def __init__(self, talker: Talker, avatar: Avatar) -> None:
        self._conversation: Conversation = talker.conversation(avatar, answer_cache=False)
        self._lock = threading.Lock()
        self._saying = b""
        self._said_until_s = 0.0
        self._closed = threading.Event()
        self._microphone = threading.Thread(target=self._send, name="microphone", daemon=True)
        self.failures: list[str] = []

    def __enter__(self) -> Person:
        """Open the conversation and the microphone."""
        self._conversation.open()
        self._microphone.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close both."""
        self._closed.set()
        self._microphone.join(timeout=2)
        self._conversation.close()

    def speak(self, pcm: bytes) -> float:
        """Say something after what is being said; returns when it begins to go out."""
        with self._lock:
            begins_s = max(time.monotonic(), self._said_until_s) + len(self._saying) / _BYTES_PER_S
            self._saying += pcm
        return begins_s

    def ask(self, recording: Recording) -> Seen:
        """Say a question and watch its answer to the end."""
        begins_s = self.speak(recording.pcm)
        seen = Seen(begins_s + len(recording.pcm) / _BYTES_PER_S)
        for event in self.events():
            self._see(seen, event)
            if isinstance(event, TurnCompleted):
                break
        return seen

    def barge_in(self, recording: Recording, *, after_s: float, threshold_s: float) -> Seen:
        """Say something into the answer; `asked_s` is when its threshold of speech had been sent.

        Args:
            recording: What is said.
            after_s: Seconds of media after which it begins.
            threshold_s: Seconds of speech that interrupt.
        """
        seen = Seen(0.0)
        for event in self.events():
            self._see(seen, event)
            if isinstance(event, Media) and not seen.asked_s and seen.media_s >= after_s:
                begins_s = self.speak(recording.pcm)
                reached_s = recording.reaches(threshold_s)
                # A microphone has a chunk when its last sample has been spoken.
                seen.asked_s = begins_s + -(-reached_s // CHUNK_S) * CHUNK_S
            if isinstance(event, TurnCompleted):
                return seen
        return seen

    def events(self) -> Iterator[Event]:
        """What comes back, for at most the length of a turn."""
        until_s = time.monotonic() + _TURN_S
        while not self._conversation.closed:
            # Also where nothing comes at all: a sound that was no question is not answered.
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                self.failures.append("the turn took too long")
                return
            event = self._conversation.poll(left_s)
            if isinstance(event, Failure):
                self.failures.append(repr(event))
            if event is not None:
                yield event

    def type(self, text: str) -> None:
        """Ask without a voice."""
        self._conversation.ask(text=text)

    def interrupt(self) -> None:
        """Stop the answer without a voice."""
        self._conversation.interrupt()

    def _see(self, seen: Seen, event: Event) -> None:
        now_s = time.monotonic()
        if isinstance(event, TurnStarted):
            seen.started_s = now_s
        elif isinstance(event, Media):
            seen.media(event, now_s)
        elif isinstance(event, Interrupted):
            seen.interrupted_s = now_s
        elif isinstance(event, TurnCompleted):
            seen.completed, seen.outcome = event, event.outcome

    def _send(self) -> None:
        due_s = time.monotonic()
        while True:
            with self._lock:
                chunk, self._saying = self._saying[: len(_SILENCE)], self._saying[len(_SILENCE) :]
                due_s += CHUNK_S
                self._said_until_s = due_s
            # A chunk is there when its last sample has been spoken.
            if self._closed.wait(max(0.0, due_s - time.monotonic())):
                return
            chunk += _SILENCE[len(chunk) :]
            self._conversation.send_audio(chunk, hands_free=True)
