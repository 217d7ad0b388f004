"""A narration for asyncio: a script goes up, a video comes down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from tritalk_client.aio.stream import AsyncStream
from tritalk_client.calls import read_fragment, stop_narration
from tritalk_client.events import Fragment
from tritalk_client.outbox import Outgoing
from tritalk_client.protocol import End, InferRequest, call_error
from tritalk_client.timeouts import NarrationWatch, Timeouts
from tritalk_client.video import Video, narrated


class AsyncNarration:
    """The fragments of a narration, and its video; made by `AsyncTalker.narrate`.

    Iterate over it, or await `result()`.

    Args:
        server: The address, for messages.
        timeouts: Deadlines.
        request: What to narrate.
        sequence_id: The sequence that the request is.
        connect: Opens a stream to the server.
    """

    def __init__(
        self,
        server: str,
        timeouts: Timeouts,
        request: InferRequest,
        sequence_id: int,
        connect: Callable[[], AsyncStream],
    ) -> None:
        self._server = server
        self._timeouts = timeouts
        self._request = request
        self._sequence_id = sequence_id
        self._connect = connect
        self._began_s = 0.0
        self._fragments: list[tuple[float, Fragment]] = []

    @property
    def video(self) -> Video:
        """What has come so far; complete after the last fragment."""
        return narrated(self._fragments, self._began_s)

    async def result(self) -> Video:
        """Wait for the rest and return the video; raises as iterating does."""
        async for _ in self:
            pass
        return self.video

    async def __aiter__(self) -> AsyncIterator[Fragment]:
        """The fragments as they come; raises as iterating over `Narration` does."""
        if self._began_s:
            return
        self._began_s = time.monotonic()
        watch = NarrationWatch(self._timeouts, self._began_s)
        stream = self._connect()
        under_way = True
        try:
            stream.send([Outgoing(self._began_s, self._request)])
            await stream.finish()
            while True:
                try:
                    response = await stream.receive(watch.patience_s(time.monotonic()))
                except asyncio.TimeoutError:
                    raise watch.overdue() from None
                if isinstance(response, End):
                    under_way = False
                    if response.error is not None:
                        raise call_error(response.error, self._server)
                    return
                fragment = read_fragment(response, self._server)
                if fragment is not None:
                    now_s = time.monotonic()
                    watch.seen(now_s)
                    self._fragments.append((now_s, fragment))
                    yield fragment
        finally:
            if under_way:
                await self._stop()
            await stream.close(0.0)

    async def _stop(self) -> None:
        """Free the server of work that nobody waits for."""
        stream = self._connect()
        stream.send([Outgoing(time.monotonic(), stop_narration(self._sequence_id))])
        await stream.close(self._timeouts.close_s)
