"""Hands-free speech for asyncio: from a file or a live source, at the speed of speech."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING

from tritalk_client.audio import Samples, duration_s
from tritalk_client.errors import TritalkError
from tritalk_client.microphone import AsyncLive, Live, Source, failed

if TYPE_CHECKING:
    from tritalk_client.upstream import Upstream


class AsyncMicrophone:
    """Sends sources one after the other, each in a task.

    Args:
        conversation: Who hears them.
    """

    def __init__(self, conversation: Upstream) -> None:
        self._conversation = conversation
        self._sending: list[asyncio.Task[None]] = []
        self._due_s = 0.0

    def put(self, source: Source) -> None:
        """Send a source after those before it; returns at once.

        Raises:
            TritalkError: BAD_REQUEST when the conversation is not open.
        """
        self._conversation._begin_listening()
        before = self._sending[-1] if self._sending else None
        task = asyncio.create_task(self._send(source, before), name="tritalk-microphone")
        self._sending.append(task)

    def check(self) -> None:
        """Raise what went wrong with a source, once.

        Raises:
            TritalkError: A chunk cannot be sent, or the source failed.
        """
        for done in [task for task in self._sending if task.done()]:
            self._sending.remove(done)
            error = None if done.cancelled() else done.exception()
            if error is not None:
                raise failed(error) from error

    async def close(self, timeout_s: float) -> None:
        """Send nothing more, and wait so long for the sources to end."""
        for task in self._sending:
            task.cancel()
        if self._sending:
            await asyncio.wait(self._sending, timeout=timeout_s)

    async def _send(self, source: Source, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        async for pcm in self._chunks(source):
            try:
                self._conversation.send_audio(pcm, hands_free=True)
            except TritalkError:
                if self._conversation.closed:
                    return
                raise

    async def _chunks(self, source: Source) -> AsyncIterator[Samples | bytes]:
        if source.live is not None:
            async for chunk in _as_async(source.live):
                yield chunk
        self._due_s = max(self._due_s, time.monotonic())
        for pcm in source.paced():
            self._due_s += duration_s(pcm)
            await asyncio.sleep(max(0.0, self._due_s - time.monotonic()))
            yield pcm


async def _as_async(live: Live | AsyncLive) -> AsyncIterator[Samples | bytes]:
    if isinstance(live, AsyncIterable):
        async for chunk in live:
            yield chunk
        return
    iterator = iter(live)
    # A microphone blocks until it has heard a chunk.
    while (next_chunk := await asyncio.to_thread(next, iterator, None)) is not None:
        yield next_chunk
