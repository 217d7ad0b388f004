"""A conversation for asyncio: open, speak, iterate over what comes back, close."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from tritalk_client import wire
from tritalk_client.aio.stream import AsyncStream
from tritalk_client.audio import Recording
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event
from tritalk_client.outbox import Outgoing
from tritalk_client.question import Question, read_question
from tritalk_client.timeouts import Timeouts
from tritalk_client.turn_record import TurnRecord
from tritalk_client.upstream import ClosedError, Upstream
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
    """

    def __init__(
        self,
        server: str,
        timeouts: Timeouts,
        settings: wire.Configure,
        connect: Callable[[], AsyncStream],
    ) -> None:
        super().__init__(server, timeouts, settings)
        self._connect = connect
        self._stream: AsyncStream | None = None

    async def open(self) -> None:
        """Open the conversation; entering the context manager does this.

        Raises:
            TritalkError: As `Conversation.open`.
        """
        if self._stream is not None:
            raise TritalkError(ErrorCode.BAD_REQUEST, "a conversation is opened once")
        self._stream = self._connect()
        try:
            began_s = time.monotonic()
            self._send([self._session.open(self._settings, began_s)])
            while self._session.started is None:
                await self._receive(self._opening_s(began_s))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the conversation and its tasks; closing again does nothing."""
        if self._stream is not None:
            self._begin_close()
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

    def turn(self, *, raise_failures: bool = False) -> AsyncTurn:
        """The events until every question asked so far has had its turn."""
        return AsyncTurn(self, raise_failures=raise_failures)

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
                connection is lost; the conversation is closed then.
        """
        if self._stream is None or self._closed:
            raise StopAsyncIteration
        try:
            while True:
                event = await self._receive(self._patience_s())
                if event is not None:
                    return event
        except ClosedError:
            raise StopAsyncIteration from None
        except TritalkError:
            await self.close()
            raise

    async def _receive(self, timeout_s: float) -> Event | None:
        """The next event, None when none came in time."""
        assert self._stream is not None
        try:
            return self._read(await self._stream.receive(timeout_s))
        except asyncio.TimeoutError:
            return None

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
        self._begin(self._conversation.asked_s)
        while not self._conversation.answered:
            try:
                event = await self._conversation.__anext__()
            except StopAsyncIteration:
                return
            yield self._record(event)
