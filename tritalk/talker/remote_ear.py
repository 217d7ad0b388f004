"""One sequence of speech recognition over a gRPC stream of its own."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from typing import Any

from tritalk.talker.stages import Deliver, unforeseen
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.outbox import Outgoing
from tritalk_client.protocol import End, call_error, infer_request, model_error, output_bytes
from tritalk_client.stream import Stream

_MODEL = "asr"
_POLL_S = 1.0
_CLOSE_S = 1.0


class RemoteEar:
    """`Ear` over gRPC. Its thread ends with the sequence.

    Every chunk is acknowledged by the end of its responses, since a model whose process has died
    says nothing: a chunk that is not acknowledged in time fails the sequence.

    Args:
        stream: To the server; the ear closes it.
        server: The address, for messages.
        sequence_id: The sequence.
        options: How it is recognised.
        deliver: Takes what is heard.
        timeout_s: Longest time until a chunk is acknowledged.
    """

    def __init__(
        self,
        stream: Stream,
        server: str,
        sequence_id: int,
        options: wire.RecognitionOptions,
        deliver: Deliver,
        *,
        timeout_s: float,
    ) -> None:
        self._stream = stream
        self._server = server
        self._sequence_id = sequence_id
        self._options = options
        self._deliver = deliver
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._unanswered: dict[str, tuple[float, int]] = {}
        """When each chunk was sent, and its bytes."""
        self._last_id = ""
        self._muted = False
        self._thread = threading.Thread(target=self._read, name=f"ear-{sequence_id}", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """See `Ear.waiting_bytes`."""
        with self._lock:
            return sum(size for _, size in self._unanswered.values())

    def send(self, pcm: bytes, *, end: bool = False) -> None:
        """See `Ear.send`; nothing is sent after the end."""
        with self._lock:
            if self._last_id:
                return
            number = next(self._numbers)
            tensors = {"AUDIO": pcm}
            if number == 1:
                tensors["OPTIONS"] = wire.encode(self._options)
            request_id = str(number)
            request = infer_request(
                _MODEL,
                tensors,
                request_id=request_id,
                sequence_id=self._sequence_id,
                start=number == 1,
                end=end,
            )
            request.parameters["triton_enable_empty_final_response"].bool_param = True
            now_s = time.monotonic()
            self._unanswered[request_id] = (now_s, len(pcm))
            if end:
                self._last_id = request_id
            self._stream.send([Outgoing(now_s, request)])

    def close(self) -> None:
        """See `Ear.close`."""
        self._muted = True
        # Triton keeps the place of a sequence that is not ended.
        self.send(b"", end=True)

    def _read(self) -> None:
        last: TritalkError | None = unforeseen(_MODEL)
        try:
            while not self._ended():
                try:
                    item = self._stream.receive(_POLL_S)
                except queue.Empty:
                    self._check_answered()
                    continue
                self._take(item)
            last = None
        except TritalkError as error:
            last = blame(error, _MODEL)
        finally:
            if not self._muted:
                self._deliver(last)
            # Triton keeps the place of a sequence that is not ended, and what is sent from here on
            # would go nowhere.
            self.send(b"", end=True)
            self._stream.close(_CLOSE_S)

    def _ended(self) -> bool:
        with self._lock:
            return bool(self._last_id) and self._last_id not in self._unanswered

    def _check_answered(self) -> None:
        with self._lock:
            oldest_s = min((sent_s for sent_s, _ in self._unanswered.values()), default=None)
        if oldest_s is not None and time.monotonic() - oldest_s > self._timeout_s:
            raise TritalkError(
                ErrorCode.TIMEOUT, f"no answer to a chunk of speech within {self._timeout_s:g} s"
            )

    def _take(self, item: Any) -> None:
        if isinstance(item, End):
            if item.error is not None:
                raise call_error(item.error, self._server)
            raise TritalkError(ErrorCode.UNAVAILABLE, "the recognition ended in mid-speech")
        if item.error_message:
            raise model_error(item.error_message, self._server)
        response = item.infer_response
        data = output_bytes(response, "EVENT")
        if data and not self._muted:
            self._deliver(wire.decode_hearing(data))
        if response.parameters["triton_final_response"].bool_param:
            with self._lock:
                self._unanswered.pop(response.id, None)


def blame(error: TritalkError, model: str) -> TritalkError:
    """The error with the stage that it comes from."""
    return TritalkError(error.code, error.message, stage=error.stage or model)
