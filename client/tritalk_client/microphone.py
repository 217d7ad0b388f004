"""Hands-free speech: from a file or a live source, at the speed of speech."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterable, Generator, Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tritalk_client.audio import Recording, Samples, cut, duration_s, read_recording
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.session import CHUNK_S
from tritalk_client.wire import INPUT_SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from tritalk_client.upstream import Upstream

LONGEST_RECORDING_S = 3_600.0
"""Longest recording that is heard hands-free; it may hold many questions."""

Live: TypeAlias = Iterable[Samples | bytes]
"""A microphone: chunks as they come."""

AsyncLive: TypeAlias = AsyncIterable[Samples | bytes]
"""A microphone for asyncio."""


@dataclass(frozen=True)
class Source:
    """Something to be heard.

    Attributes:
        live: Chunks that are sent as they come, None for a recording.
        pcm: 16 kHz PCM that is sent at the speed of speech, after them.
    """

    live: Live | AsyncLive | None
    pcm: bytes

    def paced(self) -> list[bytes]:
        """The chunks that are sent at the speed of speech."""
        return cut(self.pcm, chunk_s=CHUNK_S)


def read_source(
    source: Recording | Live | AsyncLive, sample_rate_hz: int | None, silence_s: float
) -> Source:
    """What is to be heard, checked; raises as `read_recording`."""
    if not 0.0 <= silence_s <= LONGEST_RECORDING_S:
        raise TritalkError(
            ErrorCode.BAD_REQUEST,
            f"silence_s must be 0 to {LONGEST_RECORDING_S:g} seconds, got {silence_s:g}",
        )
    silence = silent_pcm(silence_s)
    if isinstance(source, bytes):
        raise TritalkError(
            ErrorCode.BAD_REQUEST,
            "listen takes a file, samples or an iterator of chunks: "
            "wrap PCM in a list, or give it to send_audio",
        )
    if isinstance(source, Iterable | AsyncIterable) and not isinstance(source, str | np.ndarray):
        return Source(source, silence)
    pcm = read_recording(source, sample_rate_hz=sample_rate_hz, longest_s=LONGEST_RECORDING_S)
    return Source(None, pcm + silence)


def silent_pcm(seconds: float) -> bytes:
    """16 kHz PCM of silence."""
    return b"\0\0" * round(seconds * INPUT_SAMPLE_RATE_HZ)


class Microphone:
    """Sends sources one after the other, in a thread that begins with the first.

    Args:
        conversation: Who hears them.
    """

    def __init__(self, conversation: Upstream) -> None:
        self._conversation = conversation
        self._closing = threading.Event()
        self._worker: futures.ThreadPoolExecutor | None = None
        self._sending: list[futures.Future[None]] = []
        self._due_s = 0.0

    def put(self, source: Source) -> None:
        """Send a source after those before it; returns at once.

        Raises:
            TritalkError: BAD_REQUEST when the conversation is not open.
        """
        self._conversation._begin_listening()
        if self._worker is None:
            self._worker = futures.ThreadPoolExecutor(1, "tritalk-microphone")
        self._sending.append(self._worker.submit(self._send, source))

    def check(self) -> None:
        """Raise what went wrong with a source, once.

        Raises:
            TritalkError: A chunk cannot be sent, or the source failed.
        """
        for done in [future for future in self._sending if future.done()]:
            self._sending.remove(done)
            error = None if done.cancelled() else done.exception()
            if error is not None:
                raise failed(error) from error

    def close(self, timeout_s: float) -> None:
        """Send nothing more, and wait so long for a source that holds the thread."""
        self._closing.set()
        if self._worker is not None:
            self._worker.shutdown(wait=False, cancel_futures=True)
            futures.wait(self._sending, timeout_s)

    def _send(self, source: Source) -> None:
        for pcm in self._chunks(source):
            try:
                self._conversation.send_audio(pcm, hands_free=True)
            except TritalkError:
                if self._closing.is_set():
                    return
                raise

    def _chunks(self, source: Source) -> Iterator[Samples | bytes]:
        if source.live is not None:
            yield from self._live(source.live)
        self._due_s = max(self._due_s, time.monotonic())
        for pcm in source.paced():
            self._due_s += duration_s(pcm)
            if self._closing.wait(max(0.0, self._due_s - time.monotonic())):
                return
            yield pcm

    def _live(self, live: Live | AsyncLive) -> Iterator[Samples | bytes]:
        if not isinstance(live, Iterable):
            raise TritalkError(
                ErrorCode.BAD_REQUEST, "an async iterator is for AsyncTalker's conversations"
            )
        try:
            for chunk in live:
                if self._closing.is_set():
                    return
                yield chunk
        finally:
            # A device is to be closed here and now, not when its generator is collected.
            if isinstance(live, Generator):
                live.close()


def failed(error: BaseException) -> TritalkError:
    """The error of a source of speech that raised this."""
    if isinstance(error, TritalkError):
        return error
    return TritalkError(ErrorCode.BAD_AUDIO, f"the source of speech failed: {error!r}")
