"""Copies what one place has read into the vacant ones, so that nobody reads it again."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tritalk.llm.places import Chat, Place, Places

_SAVED = "prompt.bin"
_log = logging.getLogger(__name__)


class Instance(Protocol):
    """One llama.cpp server."""

    def ask(
        self, method: str, target: str, body: dict[str, Any] | None = None, *, timeout_s: float
    ) -> Any:
        """See `PrivateServer.ask`."""
        ...


class Sharing:
    """Copies between places in the background; may be used from any thread.

    Args:
        instances: The servers, which save and restore in one folder.
        places: Their places.
        folder: Where they are told to save.
        timeout_s: Longest wait for each step, which a busy server does between two of its own.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        places: Places,
        folder: Path,
        *,
        timeout_s: float = 5.0,
    ) -> None:
        self._instances = instances
        self._places = places
        self._folder = folder
        self._timeout_s = timeout_s
        self._under_way = threading.Lock()
        self._closed = threading.Event()

    def share(self, place: Place, chat: Chat) -> None:
        """Give a place back, after what it has read was copied into vacant places.

        Chats begin alike: with the system prompt. Whoever comes first to a place finds it read
        there, which takes a millisecond in place of a second.

        Returns at once: no answer waits for it. Nothing is copied while that is under way, and
        after `close`.
        """
        if self._closed.is_set() or not self._under_way.acquire(blocking=False):
            self._places.give_back(place, chat)
            return
        self._places.hold(place, chat)
        threading.Thread(
            target=self._share, args=(place, chat), name="llm-share", daemon=True
        ).start()

    def close(self) -> None:
        """End what is under way. The servers must still run."""
        self._closed.set()
        # Kept for good: nothing is shared any more.
        self._under_way.acquire(timeout=2 * self._timeout_s)

    def _share(self, donor: Place, chat: Chat) -> None:
        try:
            try:
                self._act(donor, "save")
            finally:
                self._places.give_back(donor, chat)
            for instance in range(len(self._instances)):
                for place in self._places.to_fill(instance, chat):
                    if not self._closed.is_set() and self._places.borrow(place):
                        self._fill(place, chat)
        except (OSError, http.client.HTTPException) as error:
            _log.warning("the prompt is not shared between conversations this time: %s", error)
        finally:
            # It holds words of a conversation.
            (self._folder / _SAVED).unlink(missing_ok=True)
            self._under_way.release()

    def _fill(self, place: Place, chat: Chat) -> None:
        filled = Chat()
        try:
            self._act(place, "restore")
            filled = chat
        finally:
            self._places.give_back(place, filled, owned=False)

    def _act(self, place: Place, action: str) -> None:
        ask = partial(self._instances[place.instance].ask, timeout_s=self._timeout_s)
        ask("POST", f"/slots/{place.slot}?action={action}", {"filename": _SAVED})
