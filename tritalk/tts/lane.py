"""A lane of their own for long texts, so that a script does not hold up a conversation."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from tritalk.tts.speech import Speech
from tritalk_client.errors import ErrorCode, TritalkError

Answer = Callable[["Speech | TritalkError"], None]
"""Takes the outcome; called once, in the lane's thread."""

_log = logging.getLogger(__name__)


class LongLane:
    """Speaks long texts in a thread, one after another.

    Args:
        max_queue: Texts that may be in the lane; one more is refused as busy.
    """

    def __init__(self, max_queue: int) -> None:
        self._max_queue = max_queue
        self._lock = threading.Lock()
        self._inside = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tts-long")

    def submit(self, work: Callable[[], Speech], answer: Answer) -> None:
        """Queue a text and return at once.

        Args:
            work: Speaks it.
            answer: Takes the speech, or the error that `work` raised.

        Raises:
            TritalkError: BUSY when the lane is full.
        """
        with self._lock:
            if self._inside >= self._max_queue:
                raise TritalkError(
                    ErrorCode.BUSY, f"{self._inside} long texts are being spoken or wait; try again"
                )
            self._inside += 1
        self._pool.submit(work).add_done_callback(lambda done: self._ended(done, answer))

    def close(self) -> None:
        """End the thread; the work in the lane must end by itself soon."""
        self._pool.shutdown(wait=True)

    def _ended(self, future: Future[Speech], answer: Answer) -> None:
        with self._lock:
            self._inside -= 1
        error = future.exception()
        if error is None:
            answer(future.result())
        elif isinstance(error, TritalkError):
            answer(error)
        else:
            _log.error("a synthesis failed", exc_info=error)
            answer(TritalkError(ErrorCode.INTERNAL, f"the synthesis failed: {error}"))
