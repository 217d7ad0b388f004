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
from tritalk.talker.shared import Shared
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
        self._shared = Shared(settings, registry)
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
        if isinstance(request, wire.ForgetAnswers):
            # The store may be far away, and large.
            threading.Thread(
                target=self._forget_answers,
                args=(request.question, reply),
                name="forget-answers",
                daemon=True,
            ).start()
            return
        if start:
            self._open(sequence_id, request)
        with self._lock:
            session = self._sessions.get(sequence_id)
        if session is None:
            raise closed()
        try:
            session.submit(request, audio, reply)
        finally:
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
        self._shared.close()

    def _forget_answers(self, question: str | None, reply: Reply) -> None:
        try:
            reply.send(wire.AnswersForgotten(self._shared.answers.forget(question)))
        finally:
            reply.close()

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
        session = Session(
            self._stages,
            self._settings,
            self._registry,
            self._shared,
            self._now,
            claim=self._claim,
            on_closed=self._forget,
        )
        with self._lock:
            before = self._sessions.get(sequence_id)
            self._sessions[sequence_id] = session
            self._registry(metrics.ACTIVE_SESSIONS).set(len(self._sessions))
        if before is not None:
            before.close(timeout_s=0.0)

    def _claim(self, heir: Session, session_id: str) -> None:
        """End the conversation that this session is in now, so that it can be gone on with."""
        with self._lock:
            others = [
                other
                for other in self._sessions.values()
                if other is not heir and other.session_id == session_id
            ]
        for other in others:
            other.close(timeout_s=_CLOSE_S)

    def _forget(self, session: Session) -> None:
        with self._lock:
            self._sessions = {
                key: other for key, other in self._sessions.items() if other is not session
            }
            self._registry(metrics.ACTIVE_SESSIONS).set(len(self._sessions))
