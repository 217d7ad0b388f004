"""Many answers at once: a bounded queue, cancellation by id, deadlines, priorities, metrics."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tritalk import metrics
from tritalk.llm.deltas import Deltas
from tritalk.llm.early_cancels import EarlyCancels
from tritalk.llm.job import Job, Kind, Sink, Work
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import Usage

_TICK_S = 0.02
# More would only share the same cores.
_READERS = 2
_KV_READ_S = 1.0
_CLOSE_S = 5.0
_CANCELLED = Usage(prompt_tokens=0, completion_tokens=0, finish_reason="cancelled")
_log = logging.getLogger(__name__)


class Dispatcher:
    """Runs the engine's work in threads of its own and gives each piece exactly one ending.

    Answers come first: a chat that is only read ahead stops while an answer begins, and goes on
    after it. It has no part in the metrics of answers.

    Args:
        registry: Where the metrics live.
        label: Name of the model in the metrics.
        places: Generations at the same time.
        max_queue: Generations that may wait for a place; also, how many chats may wait to be read
            or counted.
        deadline_s: Longest time from a request's arrival to its ending.
        kv_tokens: Reads the tokens in the key/value cache.
        delta_interval_s: Least time between two pieces of an answer's text; see `Deltas`.
        clock: Seconds; a test may pass its own.
    """

    def __init__(
        self,
        registry: metrics.Registry,
        label: str,
        *,
        places: int,
        max_queue: int,
        deadline_s: float,
        kv_tokens: Callable[[], int],
        delta_interval_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_token = registry(metrics.LLM_DURATION, "first_token", label)
        self._total = registry(metrics.LLM_DURATION, "total", label)
        self._timeouts = registry(metrics.LLM_TIMEOUTS)
        self._kv = registry(metrics.KV_CACHE)
        self._capacity = {
            Kind.ANSWER: places + max_queue,
            Kind.READ: max(1, max_queue),
            Kind.COUNT: max(1, max_queue),
        }
        self._deadline_s = deadline_s
        self._kv_tokens = kv_tokens
        self._delta_interval_s = delta_interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[Job, Future[Usage]] = {}
        self._early_cancels = EarlyCancels()
        self._timeouts_in_a_row = 0
        self._timeouts.set(0)
        self._closed = threading.Event()
        self._busy = threading.Event()
        self._pools = {
            Kind.ANSWER: ThreadPoolExecutor(places, thread_name_prefix="llm"),
            Kind.READ: ThreadPoolExecutor(_READERS, thread_name_prefix="llm-read"),
            Kind.COUNT: ThreadPoolExecutor(1, thread_name_prefix="llm-count"),
        }
        self._patrol = threading.Thread(target=self._watch, name="llm-patrol", daemon=True)
        self._patrol.start()

    def submit(self, request_id: str, work: Work, sink: Sink, *, kind: Kind = Kind.ANSWER) -> None:
        """Queue work and return at once.

        Args:
            request_id: By which it can be cancelled; several may share an id, and an empty one
                cannot be cancelled.
            work: Does it; may be called again after it gave way.
            sink: Gets the answer: deltas, then one ending.
            kind: What it is.

        Raises:
            TritalkError: BUSY when the queue is full, UNAVAILABLE after `close`.
        """
        deltas = Deltas(self._delta_interval_s)
        job = Job(request_id, kind, sink, deltas, self._first_token, self._clock)
        with self._lock:
            if self._closed.is_set():
                raise TritalkError(ErrorCode.UNAVAILABLE, "the language model is being unloaded")
            if self._early_cancels.take(request_id, job.began):
                job.stop("cancelled")
            self._check_room(kind)
            run = self._read if kind is Kind.READ else Job.run
            future = self._pools[kind].submit(run, job, work)
            self._live[job] = future
            self._busy.set()
        future.add_done_callback(lambda done: self._ended(job, done))

    def cancel(self, request_id: str) -> None:
        """Stop the generations of this id, whether they run, wait, or are still to arrive.

        Raises:
            TritalkError: BAD_REQUEST for an empty id, which is that of all who gave none.
        """
        if not request_id:
            raise TritalkError(
                ErrorCode.BAD_REQUEST,
                "CANCEL is empty; send the request id of the answer that is not wanted any more",
            )
        with self._lock:
            jobs = [job for job in self._live if job.request_id == request_id]
            futures = [self._live[job] for job in jobs]
            if not jobs:
                self._early_cancels.add(request_id, self._clock())
        for job, future in zip(jobs, futures, strict=True):
            self._cancel(job, future)

    def patrol(self) -> None:
        """Stop the generations that nobody waits for, and those past their deadline."""
        now = self._clock()
        with self._lock:
            live = dict(self._live)
        for job, future in live.items():
            if now - job.began >= self._deadline_s:
                self._expire(job)
                future.cancel()
            elif job.abandoned():
                self._cancel(job, future)

    def close(self) -> None:
        """Cancel everything and end the threads."""
        with self._lock:
            self._closed.set()
            live = dict(self._live)
        for job, future in live.items():
            self._cancel(job, future)
        wait(live.values(), timeout=_CLOSE_S)
        for pool in self._pools.values():
            pool.shutdown(wait=False)
        self._busy.set()
        self._patrol.join(timeout=_CLOSE_S)

    def _check_room(self, kind: Kind) -> None:
        live = sum(job.kind is kind for job in self._live)
        if live >= self._capacity[kind]:
            what = "answers are being generated or wait" if kind is Kind.ANSWER else "chats wait"
            raise TritalkError(
                ErrorCode.BUSY, f"{live} {what}; try again, or raise n_parallel or max_queue"
            )

    def _read(self, job: Job, work: Work) -> Usage:
        """Read a chat in the pauses between the beginnings of answers."""
        while True:
            while self._answer_begins() and not job.stopped():
                self._closed.wait(_TICK_S)
            usage = job.run(
                lambda emit, stopped: work(emit, lambda: stopped() or self._answer_begins())
            )
            if usage.finish_reason != "cancelled" or job.stopped():
                return usage

    def _answer_begins(self) -> bool:
        with self._lock:
            return any(job.begins for job in self._live)

    def _cancel(self, job: Job, future: Future[Usage]) -> None:
        job.stop("cancelled")
        future.cancel()

    def _expire(self, job: Job) -> None:
        job.stop("timeout")
        error = TritalkError(
            ErrorCode.TIMEOUT,
            f"no complete answer within {self._deadline_s:g} s; ask for fewer tokens, or raise "
            "deadline_s",
        )
        if job.kind is not Kind.ANSWER:
            job.finish(_CANCELLED)
        elif job.fail(error):
            self._total.observe(self._clock() - job.began)
            with self._lock:
                self._timeouts_in_a_row += 1
                self._timeouts.set(self._timeouts_in_a_row)

    def _ended(self, job: Job, future: Future[Usage]) -> None:
        with self._lock:
            del self._live[job]
        if future.cancelled():
            job.finish(_CANCELLED)
            return
        error = future.exception()
        if error is None:
            usage = future.result()
            if usage.finish_reason != "cancelled" and job.kind is Kind.ANSWER:
                self._total.observe(self._clock() - job.began)
                with self._lock:
                    self._timeouts_in_a_row = 0
                    self._timeouts.set(0)
            job.finish(usage)
        elif isinstance(error, TritalkError):
            job.fail(error)
        else:
            _log.error("a generation failed", exc_info=error)
            job.fail(TritalkError(ErrorCode.INTERNAL, f"the engine failed: {error}"))

    def _watch(self) -> None:
        kv_read_at = -_KV_READ_S
        while not self._closed.is_set():
            # Wakes up now and then with nothing to do; it costs nothing and needs no promise.
            if not self._busy.wait(timeout=_KV_READ_S):
                continue
            self.patrol()
            with self._lock:
                idle = not self._live
                if idle:
                    self._busy.clear()
            now = time.monotonic()
            if idle or now - kv_read_at >= _KV_READ_S:
                self._kv.set(self._kv_tokens())
                kv_read_at = now
            self._closed.wait(timeout=_TICK_S)
