"""A store in the memory of this process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_ENTRY_BYTES = 300
"""What an entry takes beside its key and its value."""

_SWEEP_S = 60.0
"""Values past their time that nobody asks for take memory until the first call so much later."""


@dataclass(frozen=True)
class _Entry:
    value: bytes
    expires_at: float
    size: int


class MemoryStore:
    """Keeps the values that were used last; a `Store`.

    Args:
        limit_bytes: Most memory that the values take; those not used for the longest give way.
        clock: Seconds, from any start.
    """

    def __init__(self, limit_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._next_sweep = clock() + _SWEEP_S

    @property
    def used_bytes(self) -> int:
        """Memory that the values take."""
        with self._lock:
            self._sweep()
            return self._bytes

    def get(self, key: str) -> bytes | None:
        """The value of a key, None where there is none."""
        with self._lock:
            self._sweep()
            entry = self._entries.get(key)
            if entry is None or entry.expires_at <= self._clock():
                return None
            self._entries.move_to_end(key)
            return entry.value

    def put(self, key: str, value: bytes, *, ttl_s: float) -> bool:
        """Keep a value; one above the limit is not kept."""
        size = len(key) + len(value) + _ENTRY_BYTES
        with self._lock:
            self._sweep()
            self._drop(key)
            if size > self._limit_bytes:
                return False
            self._entries[key] = _Entry(value, self._clock() + ttl_s, size)
            self._bytes += size
            while self._bytes > self._limit_bytes:
                self._drop(next(iter(self._entries)))
            return True

    def delete(self, key: str) -> bool:
        """Remove a value; whether there was one."""
        with self._lock:
            entry = self._drop(key)
            return entry is not None and entry.expires_at > self._clock()

    def delete_prefix(self, prefix: str) -> int:
        """Remove all values whose key begins with this text; how many there were."""
        with self._lock:
            self._sweep(at_once=True)
            keys = [key for key in self._entries if key.startswith(prefix)]
            for key in keys:
                self._drop(key)
            return len(keys)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _drop(self, key: str) -> _Entry | None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size
        return entry

    def _sweep(self, *, at_once: bool = False) -> None:
        now = self._clock()
        if now < self._next_sweep and not at_once:
            return
        self._next_sweep = now + _SWEEP_S
        for key in [key for key, entry in self._entries.items() if entry.expires_at <= now]:
            self._drop(key)


class MemoryByKind:
    """A `MemoryStore` for each kind of value, so that large ones do not drive out small ones.

    Args:
        limits_bytes: Most memory of each kind; a key must begin with one of them and a colon.
        clock: Seconds, from any start.
    """

    def __init__(
        self, limits_bytes: Mapping[str, int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stores = {kind: MemoryStore(limit, clock) for kind, limit in limits_bytes.items()}

    def get(self, key: str) -> bytes | None:
        """The value of a key, None where there is none."""
        return self._store(key).get(key)

    def put(self, key: str, value: bytes, *, ttl_s: float) -> bool:
        """Keep a value; one above its kind's limit is not kept."""
        return self._store(key).put(key, value, ttl_s=ttl_s)

    def delete(self, key: str) -> bool:
        """Remove a value; whether there was one."""
        return self._store(key).delete(key)

    def delete_prefix(self, prefix: str) -> int:
        """Remove all values whose key begins with this text; how many there were."""
        return sum(store.delete_prefix(prefix) for store in self._stores.values())

    def close(self) -> None:
        """Forget everything."""
        for store in self._stores.values():
            store.close()

    def _store(self, key: str) -> MemoryStore:
        return self._stores[key.partition(":")[0]]
