"""The places of llama.cpp's server, over its private socket."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

_SAVED = "prompt.bin"
_log = logging.getLogger(__name__)


class Slots:
    """What the places of a llama.cpp server hold; may be used from any thread.

    Args:
        path: The Unix socket that the server listens on.
        key: The server's key.
        folder: Where the server keeps what it is told to save.
        tokens_timeout_s: Longest wait for the number of tokens.
        share_timeout_s: Longest wait for each step of sharing, which a busy server does between
            two of its own.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        folder: Path,
        *,
        tokens_timeout_s: float = 0.5,
        share_timeout_s: float = 5.0,
    ) -> None:
        self._path = path
        self._tokens_timeout_s = tokens_timeout_s
        self._share_timeout_s = share_timeout_s
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._folder = folder
        self._tokens = 0
        self._sharing = threading.Lock()
        self._closed = threading.Event()

    def tokens(self) -> int:
        """Tokens in all places; the last known number while the server is too busy to say."""
        try:
            slots = self._ask("GET", "/slots", timeout_s=self._tokens_timeout_s)
        except (OSError, http.client.HTTPException):
            return self._tokens
        self._tokens = sum(_tokens(slot) for slot in slots)
        return self._tokens

    def share_latest(self) -> None:
        """Copy what was read last into the free places that hold little of their own.

        Conversations begin alike: with the system prompt. Whoever comes first to a place finds it
        read there, which takes a millisecond in place of a second.

        Returns at once: no answer waits for it. Does nothing while it is under way, and after
        `close`.
        """
        if self._sharing.acquire(blocking=False):
            threading.Thread(target=self._share, name="llm-share", daemon=True).start()

    def close(self) -> None:
        """End what is under way. The server must still run."""
        self._closed.set()
        # Kept for good: nothing is shared any more.
        self._sharing.acquire(timeout=2 * self._share_timeout_s)

    def _share(self) -> None:
        ask = partial(self._ask, timeout_s=self._share_timeout_s)
        try:
            free = [slot for slot in ask("GET", "/slots") if not slot["is_processing"]]
            latest = max(free, key=lambda slot: int(slot.get("id_task", -1)), default=None)
            if latest is None or not _tokens(latest):
                return
            others = [slot["id"] for slot in free if 2 * _tokens(slot) < _tokens(latest)]
            ask("POST", f"/slots/{latest['id']}?action=save", {"filename": _SAVED})
            for slot in others:
                # An answer that has begun there since would lose what it reads to the copy.
                if self._closed.is_set() or ask("GET", "/slots")[slot]["is_processing"]:
                    continue
                ask("POST", f"/slots/{slot}?action=restore", {"filename": _SAVED})
        except (OSError, http.client.HTTPException) as error:
            _log.warning("the prompt is not shared between conversations this time: %s", error)
        finally:
            # It holds words of a conversation.
            (self._folder / _SAVED).unlink(missing_ok=True)
            self._sharing.release()

    def _ask(
        self, method: str, target: str, body: dict[str, Any] | None = None, *, timeout_s: float
    ) -> Any:
        connection = _UnixConnection(self._path, timeout_s)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, target, data, self._headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise http.client.HTTPException(f"{target}: {answer}")
        return answer


def _tokens(slot: dict[str, Any]) -> int:
    return int(slot.get("n_prompt_tokens", 0))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
