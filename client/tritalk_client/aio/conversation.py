"""A conversation for asyncio: open, speak, iterate over what comes back, close."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from tritalk_client import wire
from tritalk_client.aio.microphone import AsyncMicrophone
from tritalk_client.aio.stream import AsyncStream
from tritalk_client.audio import Recording
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event
from tritalk_client.microphone import AsyncLive, Live, read_source
from tritalk_client.outbox import Outgoing
from tritalk_client.question import Question, read_question
from tritalk_client.reconnect import Attempts, Reconnect
from tritalk_client.timeouts import Timeouts
from tritalk_client.turn_record import TurnRecord
from tritalk_client.upstream import TICK_S, ClosedError, Upstream
from tritalk_client.video import Answer

if TYPE_CHECKING:
    from typing_extensions import Self


class AsyncConversation(Upstream):
    """One conversation with a portrait, full duplex; made by `AsyncTalker.conversation`.

    Use it as an async context manager. One task iterates over the events; any may speak.

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
        connect: Callable[[], AsyncStream],
        reconnect: Reconnect | None = None,
    ) -> None:
        super().__init__(server, timeouts, settings, reconnect)
        self._connect = connect
        self._stream: AsyncStream | None = None
        self._closing: asyncio.Event | None = None
        self._microphone = AsyncMicrophone(self)

    async def open(self) -> None:
        """Open the conversation; entering the context manager does this.

        Raises:
            TritalkError: As `Conversation.open`.
        """
        if self._stream is not None:
            raise TritalkError(ErrorCode.BAD_REQUEST, "a conversation is opened once")
        # Python 3.10 binds it to the loop here, not where the conversation was made.
        self._closing = asyncio.Event()
        try:
            await self._begin()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the conversation and its tasks; closing again does nothing."""
        if self._closing is not None:
            self._closing.set()
        if self._stream is not None:
            self._begin_close()
            await self._microphone.close(self._timeouts.close_s)
            await self._stream.close(self._timeouts.close_s)

    async def ask(
        self,
        recording: Recording | None = None,
        *,
        text: str | None = None,
        sample_rate_hz: int | None = None,
        pace: bool = False,
    ) -> None:
        """Ask a question; see `Conversation.ask`."""
        question = await asyncio.to_thread(
            read_question, recording, text=text, sample_rate_hz=sample_rate_hz, pace=pace
        )
        self._pose(question)

    async def listen(
        self,
        source: Recording | Live | AsyncLive,
        *,
        sample_rate_hz: int | None = None,
        silence_s: float = 0.0,
    ) -> None:
        """Hear somebody hands-free; see `Conversation.listen`. A microphone may be async."""
        self._microphone.put(
            await asyncio.to_thread(read_source, source, sample_rate_hz, silence_s)
        )

    def turn(self, *, raise_failures: bool = False) -> AsyncTurn:
        """The next turn; see `Conversation.turn`."""
        return AsyncTurn(self, raise_failures=raise_failures)

    async def poll(self, timeout_s: float) -> Event | None:
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
                event = await self._next(min(self._patience_s(), max(0.0, left_s)))
                if event is not None or left_s <= 0:
                    return event
        except ClosedError:
            return None
        except TritalkError:
            await self.close()
            raise

    async def __aenter__(self) -> Self:
        """Open."""
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        """The events as they come, until the conversation is closed."""
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            TritalkError: STALLED or TIMEOUT when an answer is overdue, UNAVAILABLE when the
                connection is lost and cannot be replaced; the conversation is closed then.
        """
        while not self._closed and self._stream is not None:
            event = await self.poll(TICK_S)
            if event is not None:
                return event
        raise StopAsyncIteration

    async def _next(self, timeout_s: float) -> Event | None:
        """The next event, None when none came in time; a lost connection is replaced."""
        try:
            return await self._receive(timeout_s)
        except TritalkError as error:
            if not self._can_reconnect(error):
                raise
            return await self._begin_again(error)

    async def _receive(self, timeout_s: float) -> Event | None:
        """The next event, None when none came in time."""
        assert self._stream is not None
        self._check_overdue()
        try:
            return self._read(await self._stream.receive(timeout_s))
        except asyncio.TimeoutError:
            return None

    async def _begin(self) -> None:
        """Open a stream, and the sequence on it."""
        began_s = time.monotonic()
        with self._lock:
            if self._closed:
                raise ClosedError
            self._stream = self._connect()
            self._send(self._session.open(began_s))
        while not self._session.opened:
            await self._receive(self._opening_s(began_s))

    async def _begin_again(self, error: TritalkError) -> Event:
        """Take the conversation up on another stream.

        Raises:
            TritalkError: It cannot be done, or the conversation was closed meanwhile.
        """
        assert self._reconnect is not None
        attempts = Attempts(self._reconnect, time.monotonic())
        while (wait_s := attempts.wait_s(time.monotonic())) is not None:
            assert self._stream is not None
            assert self._closing is not None
            await self._stream.close(0.0)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait_s)
            try:
                await self._begin()
                return self._reconnected()
            except TritalkError as again:
                if not again.retryable:
                    raise
                error = again
        raise error

    def _send(self, requests: Sequence[Outgoing]) -> None:
        assert self._stream is not None
        self._stream.send(requests)


class AsyncTurn(TurnRecord):
    """The events of one turn, and its answer.

    Iterate over it, or await `result()`. A turn that was made by `AsyncTalker.ask` or
    `AsyncTalker.say` has a conversation of its own, which is open while you iterate.

    Args:
        conversation: Where the events come from.
        load: Reads the question that opens a conversation of the turn's own.
        raise_failures: Whether a failed stage raises its error.
    """

    def __init__(
        self,
        conversation: AsyncConversation,
        *,
        load: Callable[[], Question] | None = None,
        raise_failures: bool,
    ) -> None:
        super().__init__(load, raise_failures=raise_failures)
        self._conversation = conversation

    async def result(self) -> Answer:
        """Wait for the rest of the turn and return the answer; raises as iterating does."""
        async for _ in self:
            pass
        return self.answer

    async def __aiter__(self) -> AsyncIterator[Event]:
        """The events as they come; raises as iterating over `Turn` does."""
        load = self._take_load()
        if load is None:
            async for event in self._events():
                yield event
            return
        question = await asyncio.to_thread(load)
        async with self._conversation as conversation:
            conversation._pose(question)
            async for event in self._events():
                yield event

    async def _events(self) -> AsyncIterator[Event]:
        conversation = self._conversation
        number = self._claim(conversation)
        while not (conversation.closed or conversation._turn_is_over(number)):
            event = self._record(await conversation.poll(TICK_S))
            if event is not None:
                yield event
