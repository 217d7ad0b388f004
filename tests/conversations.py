"""Conversations of the talker with scripted stages, and users who take part in them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.fakes import FakeEar, FakeFamily, FakeStages, RecordingReply, metric_values
from tritalk import slo
from tritalk.metrics import Registry
from tritalk.talker.clock import Now
from tritalk.talker.manner import UNPACED_S
from tritalk.talker.sessions import Sessions
from tritalk.talker.settings import TalkerSettings
from tritalk_client import wire

T = TypeVar("T")

CHUNK = bytes(3200)
"""A tenth of a second of audio."""

_WAIT_S = 20.0


def unhurried(**settings: Any) -> TalkerSettings:
    """Settings under which nothing is paced, cached or given up while a test runs."""
    chosen: dict[str, Any] = {"examples": "[]", "lead_s": UNPACED_S, "answer_cache": False}
    return TalkerSettings(**(chosen | settings))


class Conversation:
    """A conversation with scripted stages."""

    def __init__(
        self, stages: FakeStages, settings: TalkerSettings, now: Now = time.monotonic
    ) -> None:
        class Family(FakeFamily):
            series = {}

        self.family = Family
        self.stages = stages
        self.sessions = Sessions(stages, settings, Registry(Family, slo.default()), now)

    def send(
        self,
        request: wire.Request,
        audio: bytes = b"",
        *,
        start: bool = False,
        end: bool = False,
        to: int = 7,
    ) -> RecordingReply:
        reply = RecordingReply()
        self.sessions.submit(to, request, audio, reply, start=start, end=end)
        return reply

    def open(self, *, to: int = 7, **settings: Any) -> RecordingReply:
        reply = self.send(wire.Configure(avatar_id="ada", **settings), start=True, to=to)
        reply.wait_closed()
        return reply

    def close(self) -> None:
        """End all; no conversation may outlive it."""
        self.stages.released.set()
        self.sessions.close()
        workers = [thread for thread in threading.enumerate() if thread.name == "session"]
        assert workers == []

    def values(self, name: str, **labels: str) -> list[float]:
        """The values of a metric."""
        return metric_values(self.family, name, **labels)

    def history(self) -> list[str]:
        """What was said so far, as the next prompt has it."""
        count = len(self.stages.prompts)
        self.send(wire.Interrupt()).wait_closed()
        completed(self.send(wire.Ask("And what was that?")))
        return [message.content for message in self.stages.prompts[count][1:-1]]


class Conversations:
    """Makes conversations, each with settings of its own, and closes them.

    Args:
        stages: The stages of all of them.
    """

    def __init__(self, stages: FakeStages) -> None:
        self._stages = stages
        self._made: list[Conversation] = []

    def __call__(self, settings: TalkerSettings, now: Now = time.monotonic) -> Conversation:
        self._made.append(Conversation(self._stages, settings, now))
        return self._made[-1]

    def __enter__(self) -> Conversations:
        return self

    def __exit__(self, *exception: object) -> None:
        for conversation in self._made:
            conversation.close()


class HandsFreeUser:
    """A user whose microphone is open; what recognition makes of his speech is scripted."""

    def __init__(self, conversation: Conversation, *, to: int = 7) -> None:
        self._conversation = conversation
        self._to = to
        self.replies: list[RecordingReply] = []
        self.utterance = -1
        self.send()

    @property
    def ear(self) -> FakeEar:
        """The latest sequence of recognition."""
        eventually(lambda: bool(self._conversation.stages.ears))
        return self._conversation.stages.ears[-1]

    @property
    def reply(self) -> RecordingReply:
        """Where what is heard goes now."""
        return self.replies[-1]

    def send(self, audio: bytes = CHUNK, **request: Any) -> RecordingReply:
        """Send a chunk; what is heard from now on goes to its reply."""
        audio_request = wire.Audio(hands_free=True, **request)
        self.replies.append(self._conversation.send(audio_request, audio, to=self._to))
        eventually(lambda: bool(self._conversation.stages.ears))
        return self.reply

    def begins(self, speech_s: float = 0.1) -> None:
        """Begin to speak; returns when the client has been told."""
        self.utterance += 1
        self.goes_on(speech_s)
        self.reply.wait_for(wire.Speaking)

    def goes_on(self, speech_s: float) -> None:
        """Speak for longer."""
        self.ear.deliver(wire.Speaking(self.utterance, speech_s))

    def has_said(self, text: str, *, paused: bool = False, stable: str = "") -> wire.Transcript:
        """A partial transcript; returns what the client has been told."""
        since_speech_ms = 150.0 if paused else None
        heard = wire.Transcript(
            text, False, 1.0, "en", self.utterance, stable, paused, since_speech_ms
        )
        self.ear.deliver(heard)
        return self.reply.wait_for(wire.Transcript)

    def ends(self, text: str) -> None:
        """The final transcript of the utterance."""
        self.ear.deliver(
            wire.Transcript(
                text,
                True,
                1.5,
                "en",
                self.utterance,
                stable=text,
                since_speech_ms=400.0,
                endpoint_ms=380.0,
            )
        )

    def asks(self, question: str) -> RecordingReply:
        """Say a whole question; the answer goes to what is returned."""
        self.begins()
        self.ends(question)
        self.reply.wait_for(wire.Transcript)
        return self.reply


def kinds(events: list[wire.Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def only(events: list[wire.Event], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def completed(reply: RecordingReply) -> wire.TurnCompleted:
    last = reply.wait_closed()[-1]
    assert isinstance(last, wire.TurnCompleted)
    return last


def eventually(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
