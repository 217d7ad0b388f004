"""A conversation for threads: open, speak, iterate over what comes back, close."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from tritalk_client import wire
from tritalk_client.audio import Recording, Samples
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event
from tritalk_client.microphone import Microphone, read_source
from tritalk_client.outbox import Outgoing
from tritalk_client.question import Question, read_question
from tritalk_client.reconnect import Attempts, Reconnect
from tritalk_client.stream import Stream
from tritalk_client.timeouts import Timeouts
from tritalk_client.turn_record import TurnRecord
from tritalk_client.upstream import TICK_S, ClosedError, Upstream
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
        reconnect: How to take the conversation up again when its connection is lost.
    """

    def __init__(
        self,
        server: str,
        timeouts: Timeouts,
        settings: wire.Configure,
        connect: Callable[[], Stream],
        reconnect: Reconnect | None = None,
    ) -> None:
        super().__init__(server, timeouts, settings, reconnect)
        self._connect = connect
        self._stream: Stream | None = None
        self._closing = threading.Event()
        self._microphone = Microphone(self)

    def open(self) -> None:
        """Open the conversation; entering the context manager does this.

        Raises:
            TritalkError: UNAVAILABLE when no server answers in time, UNKNOWN_AVATAR,
                UNKNOWN_VOICE or BAD_REQUEST when it refuses the settings, or when the
                conversation was opened before.
        """
        if self._stream is not None:
            raise TritalkError(ErrorCode.BAD_REQUEST, "a conversation is opened once")
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the conversation and its threads; closing again does nothing."""
        self._closing.set()
        if self._stream is not None:
            self._begin_close()
            self._microphone.close(self._timeouts.close_s)
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

    def listen(
        self,
        source: Recording | Iterable[Samples | bytes],
        *,
        sample_rate_hz: int | None = None,
        silence_s: float = 0.0,
    ) -> None:
        """Hear somebody hands-free: the server finds out where a question ends.

        Returns at once. What is given while something is being heard follows it. The conversation's
        end ends it.

        Args:
            source: The path of a sound file, or samples, which are sent at the speed of speech; or
                a microphone: an iterator of chunks as `send_audio` takes them, sent as they come.
            sample_rate_hz: Sample rate of samples.
            silence_s: Seconds of silence to send after it, at the speed of speech.

        Raises:
            TritalkError: BAD_AUDIO, TOO_LARGE, BAD_REQUEST. What goes wrong with a chunk later is
                raised where the events are iterated over.
        """
        self._microphone.put(read_source(source, sample_rate_hz, silence_s))

    def turn(self, *, raise_failures: bool = False) -> Turn:
        """The next turn: the first that begins, or goes on, and that no other `turn()` has watched.

        Args:
            raise_failures: Whether a failed stage raises its error.
        """
        return Turn(self, raise_failures=raise_failures)

    def poll(self, timeout_s: float) -> Event | None:
        """The next event, None when none came within `timeout_s` seconds or none will come.

        Raises:
            TritalkError: As iterating does.
        """
        if self._stream is None or self._closed:
            return None
        self._microphone.check()
        until_s = time.monotonic() + timeout_s
        try:
            while True:
                left_s = until_s - time.monotonic()
                event = self._next(min(self._patience_s(), max(0.0, left_s)))
                if event is not None or left_s <= 0:
                    return event
        except ClosedError:
            return None
        except TritalkError:
            self.close()
            raise

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
                connection is lost and cannot be replaced; the conversation is closed then.
        """
        while not self._closed and self._stream is not None:
            event = self.poll(TICK_S)
            if event is not None:
                return event
        raise StopIteration

    def _next(self, timeout_s: float) -> Event | None:
        """The next event, None when none came in time; a lost connection is replaced."""
        try:
            return self._receive(timeout_s)
        except TritalkError as error:
            if not self._can_reconnect(error):
                raise
            return self._begin_again(error)

    def _receive(self, timeout_s: float) -> Event | None:
        """The next event, None when none came in time."""
        assert self._stream is not None
        self._check_overdue()
        try:
            return self._read(self._stream.receive(timeout_s))
        except queue.Empty:
            return None

    def _begin(self) -> None:
        """Open a stream, and the sequence on it."""
        began_s = time.monotonic()
        with self._lock:
            if self._closed:
                raise ClosedError
            self._stream = self._connect()
            self._send(self._session.open(began_s))
        while not self._session.opened:
            self._receive(self._opening_s(began_s))

    def _begin_again(self, error: TritalkError) -> Event:
        """Take the conversation up on another stream.

        Raises:
            TritalkError: It cannot be done, or the conversation was closed meanwhile.
        """
        assert self._reconnect is not None
        attempts = Attempts(self._reconnect, time.monotonic())
        while (wait_s := attempts.wait_s(time.monotonic())) is not None:
            assert self._stream is not None
            self._stream.close(0.0)
            if self._closing.wait(wait_s):
                raise ClosedError
            try:
                self._begin()
                return self._reconnected()
            except TritalkError as again:
                if not again.retryable:
                    raise
                error = again
        raise error

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
        conversation = self._conversation
        number = self._claim(conversation)
        while not (conversation.closed or conversation._turn_is_over(number)):
            event = self._record(conversation.poll(TICK_S))
            if event is not None:
                yield event
