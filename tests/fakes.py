"""Stand-ins for what cannot be had in a unit test, with honest behaviour and scripted delays."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tritalk.talker.stages import Deliver, Speech
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_Kind = TypeVar("_Kind")

RATE_HZ = 24_000


@dataclass
class FakeStages:
    """The stages of a turn: recognition returns what was said, answers are scripted.

    A cancelled generation or animation ends early, as the real ones do.
    """

    heard: str = "How are you?"
    answer: Sequence[str] = ("I am fine. ", "Thank you ", "for asking. ", "And you?")
    finish_reason: str = "stop"
    token_delay_s: float = 0.0
    fragments_per_clause: int = 2
    fragment_delay_s: float = 0.0
    errors: dict[str, TritalkError] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)
    faulty: set[str] = field(default_factory=set)
    unspeakable: set[str] = field(default_factory=set)
    meeting: threading.Barrier | None = None
    """Where the animations of several conversations wait for each other."""
    prompts: list[list[wire.ChatMessage]] = field(default_factory=list)
    clauses: list[str] = field(default_factory=list)
    ended_animations: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.released = threading.Event()
        self._cancelled_texts: dict[str, threading.Event] = defaultdict(threading.Event)
        self._cancelled_sequences: dict[int, threading.Event] = defaultdict(threading.Event)
        self._fragments: dict[int, int] = {}
        self.deaf = False
        """Whether recognition takes no audio."""
        self.hold_after: int | None = None
        """Words of an answer after which the language model waits for `go_on`."""
        self.go_on = threading.Event()
        self.at_end: Sequence[wire.Hearing] = ()
        """What is still heard when an open microphone closes."""
        self.long_reading = False
        """Whether reading ahead ends only when it is cancelled."""
        self.ears: list[FakeEar] = []
        self.read: list[list[wire.ChatMessage]] = []
        self._turns: dict[int, threading.Lock] = defaultdict(threading.Lock)
        self.waiting_pieces = 0
        self.animated: list[wire.AnimateOptions] = []
        self.cancelled_generations: list[str] = []
        self.cancelled_readings: list[str] = []
        self.cancelled_animations: list[int] = []

    def _enter(self, stage: str) -> None:
        if stage in self.errors:
            raise self.errors[stage]
        if stage in self.faulty:
            raise ZeroDivisionError(stage)
        if stage in self.hang:
            self.released.wait(10)

    def avatar(self, avatar_id: str) -> wire.AvatarInfo:
        if avatar_id == "nobody":
            raise TritalkError(ErrorCode.UNKNOWN_AVATAR, "register it first", stage="avatar")
        return wire.AvatarInfo(avatar_id, 512, 512, wire.FaceBox(0, 0, 100, 100))

    def listen(
        self, sequence_id: int, options: wire.RecognitionOptions, deliver: Deliver
    ) -> FakeEar:
        ear = FakeEar(self, options, deliver)
        self.ears.append(ear)
        return ear

    def generate(
        self, request_id: str, messages: Sequence[wire.ChatMessage], sampling: wire.Sampling
    ) -> Iterator[str | wire.Usage]:
        self.prompts.append(list(messages))
        self._enter("llm")
        cancelled = self._cancelled_texts[request_id]
        count = 0
        for text in self.answer:
            if count == self.hold_after:
                self._wait_to_go_on(cancelled)
            if cancelled.wait(self.token_delay_s):
                break
            count += 1
            yield text
        reason = "cancelled" if cancelled.is_set() else self.finish_reason
        yield wire.Usage(10, count, reason)

    def _wait_to_go_on(self, cancelled: threading.Event) -> None:
        deadline_s = time.monotonic() + 10
        while not (self.go_on.is_set() or cancelled.is_set()) and time.monotonic() < deadline_s:
            cancelled.wait(0.005)

    def read_ahead(self, request_id: str, messages: Sequence[wire.ChatMessage]) -> None:
        self.read.append(list(messages))
        self._enter("read_ahead")
        if self.long_reading:
            self._cancelled_texts[request_id].wait(10)

    def count_tokens(self, messages: Sequence[wire.ChatMessage]) -> int:
        return sum(len(message.content.split()) for message in messages)

    def cancel_generation(self, request_id: str) -> None:
        is_reading = request_id.startswith("ahead-")
        (self.cancelled_readings if is_reading else self.cancelled_generations).append(request_id)
        self._cancelled_texts[request_id].set()

    def synthesise(self, text: str, voice: str, speed: float) -> Speech:
        self._enter("tts")
        if text in self.unspeakable:
            raise TritalkError(ErrorCode.NOTHING_TO_SAY, "nothing to say", stage="tts")
        self.clauses.append(text)
        return Speech(text, bytes(2 * RATE_HZ // 10), RATE_HZ, b"[]")

    def animate(
        self,
        sequence_id: int,
        options: wire.AnimateOptions,
        speech: Speech | None,
        *,
        start: bool,
        end: bool,
    ) -> Iterator[tuple[wire.Fragment, bytes]]:
        self._enter("animate")
        self.animated.append(options)
        assert start == (sequence_id not in self._fragments)
        self._fragments.setdefault(sequence_id, 0)
        # As in a real sequence, one piece is drawn after the other.
        turn = self._turns[sequence_id]
        if not turn.acquire(blocking=False):
            self.waiting_pieces += 1
            turn.acquire(timeout=10)
        try:
            yield from self._draw(sequence_id, speech, start=start)
        finally:
            turn.release()
        if end:
            self.ended_animations.append(sequence_id)

    def _draw(
        self, sequence_id: int, speech: Speech | None, *, start: bool
    ) -> Iterator[tuple[wire.Fragment, bytes]]:
        index = self._fragments[sequence_id]
        if start and self.meeting is not None:
            self.meeting.wait(10)
        for _ in range(self.fragments_per_clause if speech is not None else 1):
            if self._cancelled_sequences[sequence_id].wait(self.fragment_delay_s):
                break
            yield (
                wire.Fragment(index, index * 0.2, 0.2, 5, 4800, speech is not None),
                b"fragment-%d." % index,
            )
            index += 1
            self._fragments[sequence_id] = index

    def cancel_animation(self, sequence_id: int) -> None:
        self.cancelled_animations.append(sequence_id)
        self._cancelled_sequences[sequence_id].set()


@dataclass
class FakeEar:
    """Recognition of one sequence: a question is what `heard` says; an open microphone is scripted
    by the test through `deliver`."""

    stages: FakeStages
    options: wire.RecognitionOptions
    deliver: Deliver
    pcm: bytes = b""
    sends: int = 0
    ended: bool = False
    closed: bool = False

    @property
    def waiting_bytes(self) -> int:
        return len(self.pcm) if self.stages.deaf else 0

    def send(self, pcm: bytes, *, end: bool = False) -> None:
        self.pcm += pcm
        self.sends += 1
        self.ended |= end
        if self.options.endpointing:
            if end:
                for hearing in self.stages.at_end:
                    self.deliver(hearing)
                self.deliver(None)
            return
        if self.stages.deaf:
            return
        try:
            self.stages._enter("asr")
        except TritalkError as error:
            self.deliver(error)
            return
        if end:
            seconds = len(self.pcm) / 2 / wire.INPUT_SAMPLE_RATE_HZ
            text, language = self.stages.heard, self.options.language
            self.deliver(wire.Transcript(text, True, seconds, language, stable=text))
            self.deliver(None)

    def close(self) -> None:
        self.closed = True


class RecordingReply:
    """A reply that keeps what it is sent."""

    def __init__(self) -> None:
        self.events: list[wire.Event] = []
        self.media = b""
        self.error: TritalkError | None = None
        self.gone = False
        self._closed = threading.Event()
        self._arrivals: queue.SimpleQueue[wire.Event] = queue.SimpleQueue()

    def send(self, event: wire.Event, media: bytes = b"") -> None:
        if not self._closed.is_set():
            self.events.append(event)
            self.media += media
            self._arrivals.put(event)

    def refuse(self, error: TritalkError) -> None:
        self.error = error
        self._closed.set()

    def close(self) -> None:
        self._closed.set()

    def cancelled(self) -> bool:
        return self.gone

    def wait_closed(self) -> list[wire.Event]:
        assert self._closed.wait(10), f"the reply was not closed; it holds {self.events}"
        return self.events

    def wait_for(self, kind: type[_Kind]) -> _Kind:
        deadline = time.monotonic() + 10
        while True:
            event = self._arrivals.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(event, kind):
                return event


class FakeFamily:
    """A metric family of the shape of Triton's; values can be read back."""

    COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
    series: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]]

    def __init__(self, name: str, description: str, kind: str) -> None:
        self.name = name

    def Metric(  # noqa: N802 - Triton's name
        self, labels: dict[str, str], buckets: list[float] | None = None
    ) -> FakeSeries:
        return FakeSeries(self.series.setdefault((self.name, tuple(labels.items())), []))


@dataclass
class FakeSeries:
    """One time series: a counter or gauge holds its value, a histogram all observations."""

    values: list[float]

    def increment(self, value: float) -> None:
        self.values[:] = [sum(self.values) + value]

    def set(self, value: float) -> None:
        self.values[:] = [value]

    def observe(self, value: float) -> None:
        self.values.append(value)


def metric_values(family: Any, name: str, **labels: str) -> list[float]:
    """The values of one time series of a `FakeFamily` subclass."""
    values: list[float] = family.series.get((name, tuple(labels.items())), [])
    return values
