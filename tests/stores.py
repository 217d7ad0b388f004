"""A clock that is set by hand, and a store that fails when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from tritalk.store.interface import StoreUnavailableError
from tritalk.store.memory import MemoryStore

T = TypeVar("T")


class FakeClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class FlakyStore:
    """A store elsewhere, as other replicas see it too, that can be cut off."""

    def __init__(self, clock: FakeClock, *, limit_bytes: int = 1_000_000) -> None:
        self.content = MemoryStore(limit_bytes, clock)
        self.cut_off = False
        self.refuses_writes = False
        self.calls = 0
        self.closed = False
        self.before_answer: Callable[[], None] = lambda: None
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        return self._reach(lambda: self.content.get(key))

    def put(self, key: str, value: bytes, *, ttl_s: float) -> bool:
        return self._reach(lambda: self.content.put(key, value, ttl_s=ttl_s), write=True)

    def delete(self, key: str) -> bool:
        return self._reach(lambda: self.content.delete(key), write=True)

    def delete_prefix(self, prefix: str) -> int:
        return self._reach(lambda: self.content.delete_prefix(prefix), write=True)

    def close(self) -> None:
        self.closed = True

    def _reach(self, work: Callable[[], T], *, write: bool = False) -> T:
        with self._lock:
            self.calls += 1
        self.before_answer()
        if self.cut_off or (write and self.refuses_writes):
            raise StoreUnavailableError("far-store failed: nobody there")
        return work()
