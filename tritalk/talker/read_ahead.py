"""Having the language model read what is said while it is said."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from functools import partial

from tritalk.talker.stages import Stages
from tritalk_client.errors import TritalkError
from tritalk_client.wire import ChatMessage

_SETTLE_S = 0.15
"""Longest wait for a reading to end that is not needed any more."""

_log = logging.getLogger(__name__)


class ReadAhead:
    """Reads prompts one at a time, the newest next; safe for threads.

    An answer must not begin while its prompt is being read: the language model would begin to read
    it anew elsewhere.

    Args:
        stages: The other models.
        enabled: Whether anything is read at all.
    """

    def __init__(self, stages: Stages, *, enabled: bool) -> None:
        self._stages = stages
        self._enabled = enabled
        self._lock = threading.Lock()
        self._next: Sequence[ChatMessage] | None = None
        self._request_id = ""
        self._idle = threading.Event()
        self._idle.set()

    def read(self, messages: Sequence[ChatMessage]) -> None:
        """Read these messages, after those that are being read; returns at once."""
        if not self._enabled:
            return
        with self._lock:
            self._next = messages
            if self._idle.is_set():
                self._idle.clear()
                threading.Thread(target=self._run, name="read-ahead", daemon=True).start()

    def settle(self) -> None:
        """Stop reading; what has been read stays read."""
        with self._lock:
            self._next = None
            request_id = self._request_id
        if self._idle.is_set():
            return
        if request_id:
            threading.Thread(
                target=self._attempt,
                args=(partial(self._stages.cancel_generation, request_id),),
                name="read-ahead-cancel",
                daemon=True,
            ).start()
        self._idle.wait(_SETTLE_S)

    def _run(self) -> None:
        finished = False
        try:
            while (messages := self._take()) is not None:
                self._attempt(partial(self._stages.read_ahead, self._request_id, messages))
            finished = True
        finally:
            if not finished:
                with self._lock:
                    self._rest()

    def _take(self) -> Sequence[ChatMessage] | None:
        """What is to be read now; None when the reader rests from here on."""
        with self._lock:
            messages, self._next = self._next, None
            if messages is None:
                self._rest()
            else:
                self._request_id = f"ahead-{secrets.token_hex(6)}"
            return messages

    def _rest(self) -> None:
        self._request_id = ""
        self._idle.set()

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except TritalkError as error:
            # The answer itself will say what is wrong, if anything is.
            _log.info("reading ahead: %s", error)
