"""One gRPC stream to Triton, full duplex, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

import grpc

from tritalk_client.outbox import Outgoing, Schedule
from tritalk_client.protocol import End, StreamResponse


class AsyncStream:
    """Sends requests when they are due and queues responses as they come.

    Two tasks serve it; `close` ends both.

    Args:
        stub: tritonclient's `GRPCInferenceServiceStub` on a channel of `grpc.aio`.
        metadata: Headers of the call.
    """

    def __init__(self, stub: Any, metadata: Sequence[tuple[str, str]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._schedule = Schedule()
        self._changed = asyncio.Event()
        self._finished = False
        self._inbox: asyncio.Queue[StreamResponse | End] = asyncio.Queue()
        self._call = stub.ModelStreamInfer(metadata=metadata)
        self._writer = asyncio.create_task(self._write(), name="tritalk-stream-up")
        self._reader = asyncio.create_task(self._read(), name="tritalk-stream-down")

    def send(self, requests: Iterable[Outgoing]) -> None:
        """Send requests when they are due; from any thread. Nothing is sent after `close`."""
        self._loop.call_soon_threadsafe(self._put, list(requests))

    async def receive(self, timeout_s: float) -> StreamResponse | End:
        """The next response, or the end.

        Raises:
            asyncio.TimeoutError: Nothing came within `timeout_s` seconds.
        """
        return await asyncio.wait_for(self._inbox.get(), max(0.0, timeout_s))

    async def finish(self) -> None:
        """Send what is due, and say that no request follows; the server then ends the stream."""
        # Let through what `send` has handed to the loop.
        await asyncio.sleep(0)
        self._stop_writing()

    async def close(self, timeout_s: float) -> None:
        """Finish, wait so long for the server's end, then cancel.

        Closing again does nothing.
        """
        try:
            await self.finish()
            await asyncio.wait([self._reader], timeout=timeout_s)
        finally:
            self._call.cancel()
            self._reader.cancel()
            self._writer.cancel()
            await asyncio.gather(self._reader, self._writer, return_exceptions=True)

    def _put(self, requests: list[Outgoing]) -> None:
        if self._finished:
            return
        for outgoing in requests:
            self._schedule.add(outgoing)
        self._changed.set()

    def _stop_writing(self) -> None:
        self._finished = True
        self._changed.set()

    async def _write(self) -> None:
        # What ended the call is the reader's to tell.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            while True:
                self._changed.clear()
                now_s = time.monotonic()
                request = self._schedule.take(now_s)
                if request is not None:
                    await self._call.write(request)
                elif self._finished:
                    # What is not due by then is not sent.
                    await self._call.done_writing()
                    return
                else:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), self._schedule.wait_s(now_s))

    async def _read(self) -> None:
        error = None
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                self._inbox.put_nowait(response)
        except grpc.RpcError as caught:
            error = caught
        finally:
            self._stop_writing()
            self._inbox.put_nowait(End(error))
