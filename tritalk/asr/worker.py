"""Recognises what is due over all sequences, one batch after another, in a thread of its own."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tritalk.asr.job import Job, batch
from tritalk.asr.sequences import Sequences
from tritalk.asr.stream import Stream
from tritalk.asr.whisper import Clip, Tokens
from tritalk.metrics import Instrument
from tritalk_client.errors import ErrorCode, TritalkError

_SWEEP_S = 5.0
_TICK_S = 0.005
_CLOSE_S = 10.0
_log = logging.getLogger(__name__)

Recognise = Callable[[Sequence[Clip]], list[Tokens]]


class Worker:
    """Takes the jobs of the sequences and gives them what was recognised.

    One thread watches over the sequences: it picks what is recognised next, and ends utterances
    whose audio does not come any more. The other recognises, and holds no lock meanwhile.

    Args:
        sequences: Touched under `changed` only.
        changed: The lock of the sequences; whoever changes them notifies it.
        recognise: Recognises clips; slow.
        most_audio_s: Most seconds of audio that are recognised together.
        buffered: Shows how many seconds of audio are held.
        clock: Seconds that only rise.

    Attributes:
        batches: How many have been recognised.
        jobs: How many jobs they had.
    """

    def __init__(
        self,
        sequences: Sequences,
        changed: threading.Condition,
        recognise: Recognise,
        *,
        most_audio_s: float,
        buffered: Instrument,
        clock: Callable[[], float],
    ) -> None:
        self.batches = 0
        self.jobs = 0
        self._sequences = sequences
        self._changed = changed
        self._recognise = recognise
        self._most_audio_s = most_audio_s
        self._buffered = buffered
        self._buffered_s = 0.0
        self._clock = clock
        self._closed = False
        self.stopped = False
        """Whether nothing is recognised any more."""
        self._jobs: dict[Job, Stream] = {}
        self._found: Future[list[Tokens]] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="asr-recognise")
        self._thread = threading.Thread(target=self._watch, name="asr-watch", daemon=True)
        self._buffered.set(0)
        self._thread.start()

    def close(self) -> None:
        """End the threads; what is not recognised by then is answered with an error."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=_CLOSE_S)
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._changed:
            for stream in self._sequences:
                stream.fail(TritalkError(ErrorCode.UNAVAILABLE, "the recognition is shutting down"))

    def _watch(self) -> None:
        try:
            self._work()
        finally:
            # Whatever ended it: nobody waits for what will not come.
            with self._changed:
                self.stopped = True
                if not self._closed:
                    for stream in self._sequences:
                        stream.fail(stopped())

    def _work(self) -> None:
        with self._changed:
            while not self._closed:
                now_s = self._clock()
                if self._found is not None and self._found.done():
                    self._give(self._found, now_s)
                    self._found = None
                for stream in self._sequences:
                    stream.tick(now_s)
                self._sequences.sweep(now_s)
                self._show_buffered()
                if self._found is None:
                    self._begin()
                wake_s = min((stream.wake_s for stream in self._sequences), default=math.inf)
                self._changed.wait(timeout=min(max(wake_s - now_s, _TICK_S), _SWEEP_S))

    def _show_buffered(self) -> None:
        buffered_s = self._sequences.buffered_s
        if buffered_s != self._buffered_s:
            self._buffered_s = buffered_s
            self._buffered.set(buffered_s)

    def _begin(self) -> None:
        """Begin with the next batch, if anything is due."""
        due = {job: stream for stream in self._sequences if (job := stream.due()) is not None}
        if not due:
            return
        chosen = batch(list(due), most_audio_s=self._most_audio_s)
        self._jobs = {job: due.pop(job) for job in chosen}
        for stream in due.values():
            stream.put_off()
        clips = [clip for job in self._jobs for clip in job.plan.clips]
        self._found = self._pool.submit(self._recognise, clips)
        self._found.add_done_callback(lambda _: self._notify())

    def _give(self, found: Future[list[Tokens]], now_s: float) -> None:
        """Give the jobs of a batch what has been found, or the reason why nothing has."""
        self.batches += 1
        self.jobs += len(self._jobs)
        error = found.exception()
        if error is not None:
            _log.error("the recognition failed", exc_info=error)
            message = f"the recognition failed: {error}"
            for stream in self._jobs.values():
                stream.fail(TritalkError(ErrorCode.INTERNAL, message))
            return
        tokens = iter(found.result())
        for job, stream in self._jobs.items():
            stream.take(job, [next(tokens) for _ in job.plan.clips], now_s)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify()


def stopped() -> TritalkError:
    """The error of audio that nobody will recognise."""
    return TritalkError(
        ErrorCode.INTERNAL,
        "the recognition has stopped, see the server's log; unload and load the model asr",
    )
