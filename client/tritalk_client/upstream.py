"""The half of a conversation that needs no waiting; the same for threads and for asyncio."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tritalk_client import wire
from tritalk_client.audio import Samples, chunk_pcm
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event, Started
from tritalk_client.outbox import Outgoing
from tritalk_client.protocol import End, StreamResponse, call_error
from tritalk_client.question import Question, read_script
from tritalk_client.session import Session
from tritalk_client.settings import Avatar, Settings, configuration
from tritalk_client.timeouts import Timeouts

if TYPE_CHECKING:
    from typing_extensions import Unpack


_TICK_S = 0.25
"""Longest wait without a look at the deadlines, which move when another thread asks."""


class ClosedError(TritalkError):
    """The conversation was closed from this side."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.CANCELLED, "the conversation was closed")


class Upstream(ABC):
    """Says what is to be said and reads what has come; its methods return at once.

    Speaking is allowed from any thread.

    Args:
        server: The address, for messages.
        timeouts: Deadlines.
        settings: What the conversation begins with.
    """

    def __init__(self, server: str, timeouts: Timeouts, settings: wire.Configure) -> None:
        self._server = server
        self._timeouts = timeouts
        self._settings = settings
        self._session = Session(server, timeouts)
        self._lock = threading.Lock()
        self._closed = False

    @property
    def started(self) -> Started:
        """What the server opened the conversation with: portrait, voice, language.

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
    def asked_s(self) -> float:
        """When the latest question ended, in seconds of `time.monotonic()`."""
        return self._session.asked_s

    @property
    def answered(self) -> bool:
        """Whether every question has had its turn."""
        with self._lock:
            return self._session.watch.settled

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

    def send_audio(self, chunk: Samples | bytes, *, end_of_speech: bool = False) -> None:
        """Send a chunk of live speech, best 20 to 500 ms long.

        Args:
            chunk: Mono at 16 kHz: float in −1…1, int16, or PCM bytes.
            end_of_speech: Whether the question ends with this chunk.

        Raises:
            TritalkError: BAD_AUDIO, TOO_LARGE.
        """
        pcm = chunk_pcm(chunk)
        with self._speaking() as session:
            self._send([session.audio(pcm, time.monotonic(), end_of_speech=end_of_speech)])

    def _pose(self, question: Question) -> None:
        with self._speaking() as session:
            self._send(session.pose(question, time.monotonic()))

    @contextmanager
    def _speaking(self) -> Iterator[Session]:
        with self._lock:
            if self._closed or self._session.started is None:
                raise TritalkError(
                    ErrorCode.BAD_REQUEST,
                    "the conversation is not open: speak inside its `with` block",
                )
            yield self._session

    def _patience_s(self) -> float:
        """Seconds to wait for the next event before this is to be asked again.

        Raises:
            TritalkError: STALLED or TIMEOUT when an answer is overdue.
        """
        with self._lock:
            now_s = time.monotonic()
            overdue = self._session.watch.overdue(now_s)
            patience_s = self._session.watch.patience_s(now_s)
        if overdue is not None:
            raise overdue
        return _TICK_S if patience_s is None else min(patience_s, _TICK_S)

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
                return self._session.receive(response, time.monotonic())
            if self._closed:
                raise ClosedError
            if response.error is None:
                raise self._session.lost()
            raise call_error(response.error, self._server)

    def _begin_close(self) -> None:
        """Say goodbye, once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._send([self._session.close(time.monotonic())])

    @abstractmethod
    def _send(self, requests: Sequence[Outgoing]) -> None:
        """Hand requests to the stream; the lock is held."""
