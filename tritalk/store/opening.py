"""Opens the store that the settings name."""

from __future__ import annotations

from collections.abc import Mapping

from tritalk import metrics
from tritalk.store.degrading import DegradingStore
from tritalk.store.interface import Store
from tritalk.store.memory import MemoryByKind
from tritalk.store.redis import RedisStore


def open_store(
    redis_url: str, *, limits_bytes: Mapping[str, int], registry: metrics.Registry
) -> Store:
    """The store of sessions and answers; close it when it is not used any more.

    Args:
        redis_url: A Redis server that all replicas share; empty for this process's memory alone.
        limits_bytes: Most memory of each kind of value; a kind is what keys begin with, up to the
            first colon.
        registry: Where the gauge `store_degraded` lives.

    Raises:
        SettingsError: The URL is not one of a Redis server. One that cannot be reached is no error:
            memory is used until it can.
    """
    memory = MemoryByKind(limits_bytes)
    if not redis_url:
        registry(metrics.STORE_DEGRADED).set(0)
        return memory
    primary = RedisStore(redis_url)
    store = DegradingStore(
        primary, memory, name=primary.place, degraded=registry(metrics.STORE_DEGRADED)
    )
    store.check()
    return store
