"""What all conversations of this process share."""

from __future__ import annotations

from tritalk import environment
from tritalk.metrics import Registry
from tritalk.store import open_store
from tritalk.talker import answers, saved_sessions
from tritalk.talker.answers import AnswerCache
from tritalk.talker.saved_sessions import SavedSessions
from tritalk.talker.settings import TalkerSettings

_SESSIONS_SHARE = 4
"""One part in so many of the store's memory is for sessions; media takes more."""


class Shared:
    """The store of this process, or of all replicas, and what is kept in it.

    Args:
        settings: Where it is, and its bounds.
        registry: Where the metrics live.

    Raises:
        SettingsError: `redis_url` is not the URL of a Redis server.
    """

    def __init__(self, settings: TalkerSettings, registry: Registry) -> None:
        memory_bytes = settings.store_mib * 2**20
        for_sessions = memory_bytes // _SESSIONS_SHARE
        self._store = open_store(
            settings.redis_url or environment.redis_url(),
            limits_bytes={
                saved_sessions.KIND: for_sessions,
                answers.KIND: memory_bytes - for_sessions,
            },
            registry=registry,
        )
        self.answers = AnswerCache(
            self._store,
            ttl_s=settings.answer_cache_ttl_s,
            max_answer_bytes=settings.answer_max_mib * 2**20,
            registry=registry,
        )
        self.saved = SavedSessions(self._store, ttl_s=settings.session_ttl_s)

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()
