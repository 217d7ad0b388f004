"""All conversations of this process, by their sequence id."""

from __future__ import annotations

import threading
import time

from tritalk import metrics
from tritalk.metrics import Registry
from tritalk.talker.clock import Now
from tritalk.talker.reply import Reply
from tritalk.talker.session import Session, closed
from tritalk.talker.settings import TalkerSettings
from tritalk.talker.stages import Stages
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_CLOSE_S = 5.0


class Sessions:
    """Opens, finds and closes conversations.

    Args:
        stages: The other models.
        settings: Defaults and deadlines of every conversation.
        registry: Where the metrics go.
        now: A monotonic clock in seconds.
    """

    def __init__(
        self,
        stages: Stages,
        settings: TalkerSettings,
        registry: Registry,
        now: Now = time.monotonic,
    ) -> None:
        self._stages = stages
        self._settings = settings
        self._registry = registry
        self._now = now
        self._lock = threading.Lock()
        self._sessions: dict[int, Session] = {}
        registry(metrics.ACTIVE_SESSIONS).set(0)

    def submit(
        self,
        sequence_id: int,
        request: wire.Request,
        audio: bytes,
        reply: Reply,
        *,
        start: bool,
        end: bool = False,
    ) -> None:
        """Hand a request to its conversation, which `start` opens and `end` closes.

        Raises:
            TritalkError: BAD_REQUEST when the conversation is not open, or does not begin with
                `configure`; BUSY when too many are open.
        """
        if start:
            self._open(sequence_id, request)
        with self._lock:
            session = self._sessions.get(sequence_id)
        if session is None:
            raise closed()
        session.submit(request, audio, reply)
        if end and not isinstance(request, wire.Close):
            session.close(timeout_s=0.0)

    def close(self) -> None:
        """End all conversations and wait for their threads."""
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.close(timeout_s=0.0)
        deadline_s = self._now() + _CLOSE_S
        for session in sessions:
            session.close(timeout_s=max(0.0, deadline_s - self._now()))

    def _open(self, sequence_id: int, request: wire.Request) -> None:
        if not isinstance(request, wire.Configure):
            raise TritalkError(ErrorCode.BAD_REQUEST, "a conversation begins with `configure`")
        with self._lock:
            others = len(self._sessions.keys() - {sequence_id})
        if others >= self._settings.max_sessions:
            raise TritalkError(
                ErrorCode.BUSY,
                f"{self._settings.max_sessions} conversations are open, try again later",
            )
        session = Session(self._stages, self._settings, self._registry, self._now, self._forget)
        with self._lock:
            before = self._sessions.get(sequence_id)
            self._sessions[sequence_id] = session
            self._registry(metrics.ACTIVE_SESSIONS).set(len(self._sessions))
        if before is not None:
            before.close(timeout_s=0.0)

    def _forget(self, session: Session) -> None:
        with self._lock:
            self._sessions = {
                key: other for key, other in self._sessions.items() if other is not session
            }
            self._registry(metrics.ACTIVE_SESSIONS).set(len(self._sessions))
