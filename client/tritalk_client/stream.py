"""One gRPC stream to Triton, full duplex, for threads (and gevent's)."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import grpc

from tritalk_client.outbox import Outgoing, Schedule
from tritalk_client.protocol import End, InferRequest, StreamResponse

_CANCEL_S = 1.0
"""A cancelled call ends at once; more than this means that gRPC itself is stuck."""


class Stream:
    """Sends requests when they are due and queues responses as they come.

    Two threads serve it, gRPC's for what goes up and one of its own for what comes down; `close`
    ends both.

    Args:
        stub: tritonclient's `GRPCInferenceServiceStub`.
        metadata: Headers of the call.
    """

    def __init__(self, stub: Any, metadata: Sequence[tuple[str, str]]) -> None:
        self._outbox = _Outbox()
        self._inbox: queue.Queue[StreamResponse | End] = queue.Queue()
        self._call = stub.ModelStreamInfer(self._outbox, metadata=metadata)
        self._reader = threading.Thread(target=self._read, name="tritalk-stream", daemon=True)
        self._reader.start()

    def send(self, requests: Iterable[Outgoing]) -> None:
        """Send requests when they are due; returns at once. Nothing is sent after `close`."""
        self._outbox.put(requests)

    def receive(self, timeout_s: float) -> StreamResponse | End:
        """The next response, or the end.

        Raises:
            queue.Empty: Nothing came within `timeout_s` seconds.
        """
        return self._inbox.get(timeout=max(0.0, timeout_s))

    def finish(self) -> None:
        """Send what is due, and say that no request follows; the server then ends the stream."""
        self._outbox.finish()

    def close(self, timeout_s: float) -> None:
        """Finish, wait so long for the server's end, then cancel.

        Closing again does nothing.
        """
        self.finish()
        try:
            self._reader.join(timeout_s)
        finally:
            if self._reader.is_alive():
                self._call.cancel()
                self._reader.join(_CANCEL_S)

    def _read(self) -> None:
        error = None
        try:
            for response in self._call:
                self._inbox.put(response)
        except grpc.RpcError as caught:
            error = caught
        finally:
            # gRPC's thread waits for the next request and would never see that the call is over.
            self._outbox.finish()
            self._inbox.put(End(error))


class _Outbox:
    """The iterator that gRPC takes requests from, in a thread of gRPC's own."""

    def __init__(self) -> None:
        self._schedule = Schedule()
        self._changed = threading.Condition()
        self._finished = False

    def put(self, requests: Iterable[Outgoing]) -> None:
        with self._changed:
            if self._finished:
                return
            for outgoing in requests:
                self._schedule.add(outgoing)
            self._changed.notify()

    def finish(self) -> None:
        with self._changed:
            self._finished = True
            self._changed.notify()

    def __iter__(self) -> _Outbox:
        return self

    def __next__(self) -> InferRequest:
        with self._changed:
            while True:
                now_s = time.monotonic()
                request = self._schedule.take(now_s)
                if request is not None:
                    return request
                # What is not due by then is not sent.
                if self._finished:
                    raise StopIteration
                self._changed.wait(self._schedule.wait_s(now_s))
