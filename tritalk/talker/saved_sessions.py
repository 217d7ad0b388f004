"""Sessions that can be gone on with: after a lost connection, and on another replica."""

from __future__ import annotations

import hashlib
import logging
import secrets

import msgspec

from tritalk.store import Records, Store
from tritalk_client import wire

KIND = "session"
"""What the keys of sessions begin with."""

MAX_SESSION_BYTES = 1024 * 1024
"""Largest session that is saved; the bound of the history keeps them far below it."""

_VERSION = 1
"""Raise it when a field changes its meaning; new fields with a default need no new version."""

_ID_BYTES = 18

_log = logging.getLogger(__name__)


class SavedSession(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is gone on with.

    Fields that are not known are passed over, so that replicas of two releases can share a store.
    """

    messages: tuple[wire.ChatMessage, ...]
    """What was said and heard, the oldest first."""
    avatar_id: str
    voice: str
    language: str
    system_prompt: str
    examples: tuple[tuple[str, str], ...]
    sampling: wire.Sampling
    speed: float
    lead_s: float | None = None
    interrupt_ms: int | None = None
    end_silence_ms: int | None = None
    silence_timeout_s: float | None = None
    echo_guard: bool | None = None
    answer_cache: bool | None = None
    saved_at: float
    """Seconds since 1970."""


class SavedSessions:
    """Keeps sessions in a store; may be used from any thread.

    An id is a secret: whoever has it can go on with the session. The store sees its hash alone.

    Args:
        store: Where they are kept; its keys of the kind `session` are this class's.
        ttl_s: Seconds that a session is kept after it was last saved.
    """

    def __init__(self, store: Store, *, ttl_s: float) -> None:
        self._records = Records(
            store, SavedSession, version=_VERSION, ttl_s=ttl_s, max_bytes=MAX_SESSION_BYTES
        )

    @staticmethod
    def new_id() -> str:
        """An id that nobody guesses."""
        return secrets.token_urlsafe(_ID_BYTES)

    def load(self, session_id: str) -> SavedSession | None:
        """The session of an id, None when it is not known, or not any more."""
        return self._records.find(_key(session_id))

    def save(self, session_id: str, session: SavedSession) -> bool:
        """Keep a session as it is now; whether it is kept.

        One that is too large, or has a message too long to be read again, is not, with a log line.
        """
        if any(len(message.content) > wire.MAX_TEXT_CHARS for message in session.messages):
            _log.warning(
                "the session %s is not saved: a message has more than %d characters",
                _key(session_id),
                wire.MAX_TEXT_CHARS,
            )
            return False
        return self._records.put(_key(session_id), session)

    def forget(self, session_id: str) -> bool:
        """Remove a session; whether it was known."""
        return self._records.delete(_key(session_id))


def _key(session_id: str) -> str:
    return f"{KIND}:{hashlib.sha256(session_id.encode()).hexdigest()}"
