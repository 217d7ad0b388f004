"""The half of a conversation that needs no waiting; the same for threads and for asyncio."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from tritalk_client import wire
from tritalk_client.audio import Samples, chunk_pcm, duration_s
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event, Reconnected, Started
from tritalk_client.outbox import Outgoing
from tritalk_client.protocol import End, StreamResponse, call_error
from tritalk_client.question import Question, Spoken, read_script
from tritalk_client.reconnect import Reconnect
from tritalk_client.session import Session
from tritalk_client.settings import Avatar, Settings, configuration
from tritalk_client.timeouts import Timeouts
from tritalk_client.video import AnswerBuilder

if TYPE_CHECKING:
    from typing_extensions import Unpack


TICK_S = 0.25
"""Longest wait without a look at the deadlines, which move when another thread asks."""


class ClosedError(TritalkError):
    """The conversation was closed from this side."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.CANCELLED, "the conversation was closed")


class Observer(Protocol):
    """Sees what a conversation hears and says, as `Recorder` does; its methods return at once."""

    def add(self, event: Event, now_s: float) -> None:
        """An event came at `now_s`, in seconds of `time.monotonic()`."""

    def heard(self, pcm: bytes, now_s: float) -> None:
        """A piece of the user's speech, 16 kHz PCM, was or will be complete at `now_s`."""


class Upstream(ABC):
    """Says what is to be said and reads what has come; its methods return at once.

    Speaking is allowed from any thread.

    Args:
        server: The address, for messages.
        timeouts: Deadlines.
        settings: What the conversation begins with.
        reconnect: How to take it up again when its connection is lost, None for not at all.
    """

    def __init__(
        self,
        server: str,
        timeouts: Timeouts,
        settings: wire.Configure,
        reconnect: Reconnect | None = None,
    ) -> None:
        self._server = server
        self._timeouts = timeouts
        self._reconnect = reconnect
        self._session = Session(server, timeouts, settings)
        self._lock = threading.Lock()
        self._closed = False
        self._observers: list[Observer] = []

    @property
    def started(self) -> Started:
        """What the server opened the conversation with: portrait, voice, language, session.

        Raises:
            TritalkError: BAD_REQUEST before the conversation is open.
        """
        started = self._session.started
        if started is None:
            raise TritalkError(
                ErrorCode.BAD_REQUEST, "the conversation is not open: enter it with `with` first"
            )
        return started

    @property
    def sequence_id(self) -> int:
        """The sequence that carries the conversation, as Triton's log and traces name it."""
        return self._session.sequence_id

    @property
    def session_id(self) -> str:
        """What to go on with this conversation by, later or elsewhere."""
        return self.started.session_id

    @property
    def closed(self) -> bool:
        """Whether the conversation has been closed, or was lost."""
        return self._closed

    @property
    def asked_s(self) -> float:
        """When the latest question ended, in seconds of `time.monotonic()`."""
        return self._session.asked_s

    @property
    def answered(self) -> bool:
        """Whether every question has had its turn."""
        with self._lock:
            return self._session.watch.settled

    def observe(self, observer: Observer) -> None:
        """Let somebody see all that is said from now on, whoever iterates over the events."""
        with self._lock:
            self._observers.append(observer)

    def say(self, text: str) -> None:
        """Have the portrait speak these words as they are.

        Raises:
            TritalkError: BAD_REQUEST for an empty text, TOO_LARGE for one that is too long.
        """
        self._pose(read_script(text))

    def interrupt(self) -> None:
        """Stop the answer that is being given."""
        with self._speaking() as session:
            self._send([session.interrupt(time.monotonic())])

    def configure(self, *, avatar: Avatar | None = None, **settings: Unpack[Settings]) -> None:
        """Change settings from the next turn on; those that are left out keep their value.

        Args:
            avatar: Another portrait.
            **settings: See `Settings`.
        """
        message = configuration(avatar, settings)
        with self._speaking() as session:
            self._send([session.configure(message, time.monotonic())])

    def send_audio(
        self,
        chunk: Samples | bytes,
        *,
        end_of_speech: bool = False,
        hands_free: bool = False,
    ) -> None:
        """Send a chunk of live speech, best 20 to 500 ms long.

        While a lost connection is being replaced, chunks are dropped.

        Args:
            chunk: Mono at 16 kHz: float in −1…1, int16, or PCM bytes.
            end_of_speech: Whether the question ends with this chunk; of hands-free speech, whether
                the microphone is closed.
            hands_free: Whether the server finds out where a question ends.

        Raises:
            TritalkError: BAD_AUDIO, TOO_LARGE.
        """
        pcm = chunk_pcm(chunk)
        with self._speaking() as session:
            now_s = time.monotonic()
            self._heard(pcm, now_s)
            self._send(
                session.audio(pcm, now_s, end_of_speech=end_of_speech, hands_free=hands_free)
            )

    def _pose(self, question: Question) -> None:
        with self._speaking() as session:
            now_s = time.monotonic()
            outgoing = session.pose(question, now_s)
            if isinstance(question, Spoken):
                self._heard(question.pcm, outgoing[0].due_s + duration_s(question.pcm))
            self._send(outgoing)

    def _heard(self, pcm: bytes, now_s: float) -> None:
        for observer in self._observers:
            observer.heard(pcm, now_s)

    def _claim_turn(self, builder: AnswerBuilder) -> int:
        """The number of the next turn that nobody has watched yet."""
        with self._lock:
            return self._session.turns.claim(builder)

    def _turn_is_over(self, number: int) -> bool:
        """Whether a turn has ended, or will not begin by itself."""
        with self._lock:
            if self._session.turns.begun(number):
                return self._session.turns.ended(number)
            return not self._session.watch.expects_turns(time.monotonic())

    @contextmanager
    def _speaking(self) -> Iterator[Session]:
        with self._lock:
            if self._closed or self._session.started is None:
                raise TritalkError(
                    ErrorCode.BAD_REQUEST,
                    "the conversation is not open: speak inside its `with` block",
                )
            yield self._session

    def _begin_listening(self) -> None:
        """Hands-free speech is about to be sent.

        Raises:
            TritalkError: BAD_REQUEST when the conversation is not open.
        """
        with self._speaking() as session:
            session.watch.listens(time.monotonic())

    def _patience_s(self) -> float:
        """Seconds to wait for the next event before the deadlines are to be looked at again."""
        with self._lock:
            patience_s = self._session.watch.patience_s(time.monotonic())
        return TICK_S if patience_s is None else min(max(0.0, patience_s), TICK_S)

    def _check_overdue(self) -> None:
        """Look at the deadlines.

        Raises:
            TritalkError: STALLED or TIMEOUT when an answer is overdue.
        """
        with self._lock:
            overdue = self._session.watch.overdue(time.monotonic())
        if overdue is not None:
            raise overdue

    def _opening_s(self, began_s: float) -> float:
        """Seconds that are left for the conversation to open.

        Raises:
            TritalkError: UNAVAILABLE when none are left.
        """
        left_s = began_s + self._timeouts.connect_s - time.monotonic()
        if left_s <= 0:
            raise self._session.unopened(self._timeouts.connect_s)
        return left_s

    def _read(self, response: StreamResponse | End) -> Event | None:
        """The event in what the stream delivered, None when there is none.

        Raises:
            ClosedError: The stream ended because this side closed the conversation.
            TritalkError: The stream ended otherwise, or the server refused the conversation.
        """
        with self._lock:
            if not isinstance(response, End):
                now_s = time.monotonic()
                event = self._session.receive(response, now_s)
                if event is not None:
                    self._show(event, now_s)
                return event
            if self._closed:
                raise ClosedError
            if response.error is None:
                raise self._session.lost()
            raise call_error(response.error, self._server)

    def _show(self, event: Event, now_s: float) -> None:
        for observer in self._observers:
            observer.add(event, now_s)

    def _can_reconnect(self, error: TritalkError) -> bool:
        """Whether what went wrong is the connection, and may be put right."""
        lost = error.code in (ErrorCode.UNAVAILABLE, ErrorCode.STALLED)
        return lost and self._reconnect is not None and self._session.started is not None

    def _reconnected(self) -> Reconnected:
        """The event that says so."""
        with self._lock:
            now_s = time.monotonic()
            event = self._session.reconnected(now_s)
            self._show(event, now_s)
        return event

    def _begin_close(self) -> None:
        """Say goodbye, once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._send([self._session.close(time.monotonic())])

    @abstractmethod
    def _send(self, requests: Sequence[Outgoing]) -> None:
        """Hand requests to the stream; the lock is held."""
