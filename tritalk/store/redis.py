"""A store in Redis, which all replicas share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tritalk.store.interface import StoreUnavailableError
from tritalk.store.redis_url import place_of

MAX_VALUE_BYTES = 16 * 1024 * 1024
"""Largest value that goes to Redis."""

_CALLS_AT_ONCE = 8
_KEYS_A_SCAN = 1000


class RedisStore:
    """Keeps values in one Redis server (or one address of a primary); a `Store`.

    Every call returns or raises within `timeout_s`, whatever the network, the resolver of names
    or the server does: it runs in a thread of the store's own, that is left to itself when the time
    is up, and there ends by the time-outs of its socket. Removing by prefix takes longer: Redis
    goes through all keys of the database, about a second a million, and each step has `timeout_s`.

    Args:
        url: `redis://`, `rediss://` or `unix://`; see `tritalk.store.redis_url`.
        namespace: What the names of all keys in Redis begin with.
        timeout_s: Most seconds of a call.

    Raises:
        SettingsError: The URL is not one of a Redis server.
    """

    def __init__(self, url: str, *, namespace: str = "tritalk:", timeout_s: float = 0.2) -> None:
        self.place = place_of(url)
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._closed = threading.Event()
        self._client = redis.Redis.from_pool(
            redis.ConnectionPool.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
                # Protocol 2 and no name: a new connection says nothing before its first command,
                # or AUTH and SELECT alone.
                protocol=2,
                driver_info=None,
            )
        )
        self._threads = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="redis-store")

    def get(self, key: str) -> bytes | None:
        """The value of a key, None where there is none."""
        value: bytes | None = self._call(lambda: self._client.get(self._name(key)))
        return value

    def put(self, key: str, value: bytes, *, ttl_s: float) -> bool:
        """Keep a value; one above `MAX_VALUE_BYTES` is not kept."""
        if len(value) > MAX_VALUE_BYTES:
            self.delete(key)
            return False
        milliseconds = max(1, round(ttl_s * 1000))
        self._call(lambda: self._client.set(self._name(key), value, px=milliseconds))
        return True

    def delete(self, key: str) -> bool:
        """Remove a value; whether there was one."""
        removed: int = self._call(lambda: self._client.unlink(self._name(key)))
        return removed > 0

    def delete_prefix(self, prefix: str) -> int:
        """Remove all values whose key begins with this text; how many there were."""
        pattern = _literal(self._namespace + prefix) + "*"
        removed, cursor = 0, 0
        while True:
            cursor, names = self._call(partial(self._scan, cursor, pattern))
            if names:
                removed += self._call(partial(self._client.unlink, *names))
            if cursor == 0:
                return removed

    def close(self) -> None:
        """Drop the connections and end the threads; calls that are under way end in their time."""
        self._closed.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _name(self, key: str) -> str:
        return self._namespace + key

    def _scan(self, cursor: int, pattern: str) -> Any:
        return self._client.scan(cursor, match=pattern, count=_KEYS_A_SCAN)

    def _call(self, work: Callable[[], Any]) -> Any:
        try:
            future = self._threads.submit(work)
        except RuntimeError as error:
            if not self._closed.is_set():
                raise
            raise self._unused() from error
        try:
            return future.result(self._timeout_s)
        except CancelledError as error:
            raise self._unused() from error
        except (FutureTimeoutError, redis.TimeoutError) as error:
            future.cancel()
            raise StoreUnavailableError(
                f"{self.place} did not answer within {self._timeout_s * 1000:.0f} ms"
            ) from error
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailableError(f"{self.place} failed: {error}") from error

    def _unused(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self.place} is not used any more")


def _literal(text: str) -> str:
    """A pattern of Redis's that this text alone matches."""
    return "".join(f"\\{character}" if character in r"*?[]\^-" else character for character in text)
