"""Records a conversation while it is held."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tritalk_client.audio import duration_s
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event

if TYPE_CHECKING:
    from typing_extensions import Self

    from tritalk_client.aio.conversation import AsyncConversation
    from tritalk_client.conversation import Conversation
    from tritalk_client.recording.film import Film
    from tritalk_client.upstream import Upstream

_LAG_S = 1.0
"""How long a moment waits for what belongs to it, such as a chunk of speech that began then."""

_TICK_S = 0.2
"""How often the film goes on while nothing happens."""


@dataclass(frozen=True)
class _Seen:
    what: Event | bytes | None
    """An event, a piece of the user's speech, or the end."""
    now_s: float


class Recorder:
    """Writes a whole conversation to one MP4: both voices and the portrait, as a player showed it.

    The film begins with the first thing that is seen. It is written in a thread of the recorder's
    own, which ends with `close`; closing finishes the file, after an exception too. Use it as a
    context manager, around the conversation or inside it.

    Args:
        path: The file; one that is there is replaced.
        apart: Whether the user is heard on the left and the portrait on the right, not both in the
            middle.

    Raises:
        TritalkError: BAD_REQUEST when PyAV is not installed, or the file has no folder to go to.
    """

    def __init__(self, path: str | os.PathLike[str], *, apart: bool = False) -> None:
        self.path = Path(path)
        self._film = _film(self.path, apart=apart)
        self._began_s: float | None = None
        self._seen: queue.SimpleQueue[_Seen] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self._closed = False

    def attach(self, conversation: Upstream) -> None:
        """Record a conversation, whoever iterates over its events."""
        conversation.observe(self)
        self._see(None, time.monotonic())

    def watch(self, conversation: Conversation) -> Iterator[Event]:
        """The events of a conversation, which is recorded from now on.

        Raises:
            TritalkError: As iterating over the conversation does.
        """
        self.attach(conversation)
        return iter(conversation)

    def watch_async(self, conversation: AsyncConversation) -> AsyncIterator[Event]:
        """The events of a conversation of asyncio's, which is recorded; raises as `watch` does."""
        self.attach(conversation)
        return aiter(conversation)

    def add(self, event: Event, now_s: float) -> None:
        """An event came at `now_s`, in seconds of `time.monotonic()`; returns at once."""
        self._see(event, now_s)

    def heard(self, pcm: bytes, now_s: float) -> None:
        """A piece of the user's speech, 16 kHz PCM, was or will be complete at `now_s`."""
        self._see(pcm, now_s)

    def close(self) -> None:
        """Write what is left and finish the file; closing again does nothing.

        Raises:
            OSError: The file cannot be written.
            TritalkError: What the server sent is no video.
        """
        with self._lock:
            self._closed, closed = True, self._closed
        if closed:
            return
        if self._thread is not None:
            self._seen.put(_Seen(None, time.monotonic()))
            self._thread.join()
        else:
            self._film.close(0.0)
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        """Nothing is written yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _see(self, what: Event | bytes | None, now_s: float) -> None:
        with self._lock:
            if self._closed or self._error is not None:
                return
            if self._began_s is None:
                self._began_s = now_s - (duration_s(what) if isinstance(what, bytes) else 0.0)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._write, args=(self._began_s,), name="tritalk-recorder", daemon=True
                )
                self._thread.start()
        if what is not None:
            self._seen.put(_Seen(what, now_s))

    def _write(self, began_s: float) -> None:
        end_s = 0.0
        try:
            try:
                end_s = self._follow(began_s)
            finally:
                self._film.close(end_s)
        except (OSError, TritalkError) as error:
            self._error = error

    def _follow(self, began_s: float) -> float:
        """Write the film while the conversation goes on; returns its length in seconds."""
        while True:
            try:
                seen = self._seen.get(timeout=_TICK_S)
            except queue.Empty:
                self._film.advance(time.monotonic() - began_s - _LAG_S)
                continue
            at_s = max(0.0, seen.now_s - began_s)
            if seen.what is None:
                return at_s
            # Not later than what has been seen: the writer may be behind the conversation.
            self._film.advance(min(at_s, time.monotonic() - began_s) - _LAG_S)
            if isinstance(seen.what, bytes):
                self._film.heard(seen.what, at_s)
            else:
                self._film.add(seen.what, at_s)


def _film(path: Path, *, apart: bool) -> Film:
    if not path.parent.is_dir() or path.is_dir():
        raise TritalkError(
            ErrorCode.BAD_REQUEST, f"{path}: give a file in a folder that exists for the recording"
        )
    try:
        from tritalk_client.recording.film import Film
    except ImportError as error:
        raise TritalkError(
            ErrorCode.BAD_REQUEST,
            f"recording needs PyAV: pip install 'tritalk-client[record]' ({error})",
        ) from error
    return Film(path, apart=apart)
