"""A conversation for threads: open, speak, iterate over what comes back, close."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from tritalk_client import wire
from tritalk_client.audio import Recording
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event
from tritalk_client.outbox import Outgoing
from tritalk_client.question import Question, read_question
from tritalk_client.stream import Stream
from tritalk_client.timeouts import Timeouts
from tritalk_client.turn_record import TurnRecord
from tritalk_client.upstream import ClosedError, Upstream
from tritalk_client.video import Answer

if TYPE_CHECKING:
    from typing_extensions import Self


class Conversation(Upstream):
    """One conversation with a portrait, full duplex; made by `Talker.conversation`.

    Use it as a context manager. One thread iterates over the events; any thread may speak.

    Args:
        server: The address, for messages.
        timeouts: Deadlines.
        settings: What the conversation begins with.
        connect: Opens a stream to the server.
    """

    def __init__(
        self,
        server: str,
        timeouts: Timeouts,
        settings: wire.Configure,
        connect: Callable[[], Stream],
    ) -> None:
        super().__init__(server, timeouts, settings)
        self._connect = connect
        self._stream: Stream | None = None

    def open(self) -> None:
        """Open the conversation; entering the context manager does this.

        Raises:
            TritalkError: UNAVAILABLE when no server answers in time, UNKNOWN_AVATAR,
                UNKNOWN_VOICE or BAD_REQUEST when it refuses the settings, or when the
                conversation was opened before.
        """
        if self._stream is not None:
            raise TritalkError(ErrorCode.BAD_REQUEST, "a conversation is opened once")
        self._stream = self._connect()
        try:
            began_s = time.monotonic()
            self._send([self._session.open(self._settings, began_s)])
            while self._session.started is None:
                self._receive(self._opening_s(began_s))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the conversation and its threads; closing again does nothing."""
        if self._stream is not None:
            self._begin_close()
            self._stream.close(self._timeouts.close_s)

    def ask(
        self,
        recording: Recording | None = None,
        *,
        text: str | None = None,
        sample_rate_hz: int | None = None,
        pace: bool = False,
    ) -> None:
        """Ask a question; its answer is among the events to come.

        Args:
            recording: The path of a sound file, or samples.
            text: A typed question, in place of a recording.
            sample_rate_hz: Sample rate of samples.
            pace: Whether a recording is sent at the speed of speech, not as fast as it goes.

        Raises:
            TritalkError: BAD_AUDIO, TOO_LARGE, BAD_REQUEST.
        """
        self._pose(read_question(recording, text=text, sample_rate_hz=sample_rate_hz, pace=pace))

    def turn(self, *, raise_failures: bool = False) -> Turn:
        """The events until every question asked so far has had its turn."""
        return Turn(self, raise_failures=raise_failures)

    def __enter__(self) -> Self:
        """Open."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def __iter__(self) -> Iterator[Event]:
        """The events as they come, until the conversation is closed."""
        return self

    def __next__(self) -> Event:
        """The next event.

        Raises:
            TritalkError: STALLED or TIMEOUT when an answer is overdue, UNAVAILABLE when the
                connection is lost; the conversation is closed then.
        """
        if self._stream is None or self._closed:
            raise StopIteration
        try:
            while True:
                event = self._receive(self._patience_s())
                if event is not None:
                    return event
        except ClosedError:
            raise StopIteration from None
        except TritalkError:
            self.close()
            raise

    def _receive(self, timeout_s: float) -> Event | None:
        """The next event, None when none came in time."""
        assert self._stream is not None
        try:
            return self._read(self._stream.receive(timeout_s))
        except queue.Empty:
            return None

    def _send(self, requests: Sequence[Outgoing]) -> None:
        assert self._stream is not None
        self._stream.send(requests)


class Turn(TurnRecord):
    """The events of one turn, and its answer.

    Iterate over it, or call `result()`. A turn that was made by `Talker.ask` or `Talker.say` has a
    conversation of its own, which is open while you iterate; leaving the loop early ends it.

    Args:
        conversation: Where the events come from.
        load: Reads the question that opens a conversation of the turn's own.
        raise_failures: Whether a failed stage raises its error.
    """

    def __init__(
        self,
        conversation: Conversation,
        *,
        load: Callable[[], Question] | None = None,
        raise_failures: bool,
    ) -> None:
        super().__init__(load, raise_failures=raise_failures)
        self._conversation = conversation

    def result(self) -> Answer:
        """Wait for the rest of the turn and return the answer.

        Raises:
            TritalkError: As iterating does.
        """
        for _ in self:
            pass
        return self.answer

    def __iter__(self) -> Iterator[Event]:
        """The events as they come.

        Raises:
            TritalkError: The question cannot be read, the server cannot be reached, refuses it,
                stalls, or (if so asked) a stage fails.
        """
        load = self._take_load()
        if load is None:
            yield from self._events()
            return
        question = load()
        with self._conversation as conversation:
            conversation._pose(question)
            yield from self._events()

    def _events(self) -> Iterator[Event]:
        self._begin(self._conversation.asked_s)
        while not self._conversation.answered:
            event = next(self._conversation, None)
            if event is None:
                return
            yield self._record(event)
