"""A store elsewhere, and memory for as long as it cannot be reached."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tritalk.metrics import Instrument
from tritalk.store.interface import Store, StoreUnavailableError
from tritalk.store.journal import Change, Journal

T = TypeVar("T")

_PROBE = "probe:"
_PROBE_TTL_S = 1.0

_log = logging.getLogger(__name__)


class DegradingStore:
    """Uses a primary store, and a fallback as soon as that one fails; a `Store` that never fails.

    - While the primary works it alone says what there is. The fallback gets a copy of what this
      process puts, and is not asked.
    - The call during which the primary fails is answered by the fallback, and so are all that
      follow: none waits for the primary again. So a value is as this process last put it; what
      other replicas have put or removed since is not seen.
    - A thread tries the primary again every `retry_s`. When it works, what was put and removed
      meanwhile is told to it (the last change of a key wins over what another replica has put),
      and only then is it used again. What the primary itself has lost stays lost.

    Args:
        primary: The store that may fail, by raising `StoreUnavailableError`.
        fallback: A store that does not.
        name: What the primary is, for the log; without passwords.
        degraded: A gauge: 1 while the primary cannot be used.
        retry_s: Seconds between two tries.
        clock: Seconds, from any start.
    """

    def __init__(
        self,
        primary: Store,
        fallback: Store,
        *,
        name: str,
        degraded: Instrument,
        retry_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary = primary
        self._fallback = fallback
        self._name = name
        self._gauge = degraded
        self._retry_s = retry_s
        self._clock = clock
        self._lock = threading.Lock()
        self._journal = Journal()
        self._failed_at: float | None = None
        self._closing = threading.Event()
        self._recovery: threading.Thread | None = None
        self._gauge.set(0)

    @property
    def degraded(self) -> bool:
        """Whether the primary is not used now."""
        return self._failed_at is not None

    def check(self) -> None:
        """Try the primary, so that one that cannot be reached is known before it is needed."""
        try:
            self._probe()
        except StoreUnavailableError as error:
            with self._lock:
                self._fail(error)

    def get(self, key: str) -> bytes | None:
        """The value of a key, None where there is none."""

        def drop_copy(value: bytes | None) -> None:
            if value is None:
                self._fallback.delete(key)

        return self._use(
            lambda: self._primary.get(key), lambda: self._fallback.get(key), and_then=drop_copy
        )

    def put(self, key: str, value: bytes, *, ttl_s: float) -> bool:
        """Keep a value; whether it is kept."""

        def copy(_kept: bool = True) -> bool:
            return self._fallback.put(key, value, ttl_s=ttl_s)

        def meanwhile() -> bool:
            kept = copy()
            self._journal.note(
                Change("put", key, self._clock() + ttl_s) if kept else Change("delete", key)
            )
            return kept

        return self._use(
            lambda: self._primary.put(key, value, ttl_s=ttl_s), meanwhile, and_then=copy
        )

    def delete(self, key: str) -> bool:
        """Remove a value; whether there was one."""

        def meanwhile() -> bool:
            self._journal.note(Change("delete", key))
            return self._fallback.delete(key)

        return self._use(
            lambda: self._primary.delete(key),
            meanwhile,
            and_then=lambda _found: self._fallback.delete(key),
        )

    def delete_prefix(self, prefix: str) -> int:
        """Remove all values whose key begins with this text; how many there were."""

        def meanwhile() -> int:
            self._journal.note(Change("delete_prefix", prefix))
            return self._fallback.delete_prefix(prefix)

        return self._use(
            lambda: self._primary.delete_prefix(prefix),
            meanwhile,
            and_then=lambda _count: self._fallback.delete_prefix(prefix),
        )

    def close(self) -> None:
        """End the tries and close both stores."""
        self._closing.set()
        with self._lock:
            recovery = self._recovery
        self._primary.close()
        if recovery is not None:
            recovery.join()
        self._fallback.close()

    def recover(self) -> bool:
        """Tell the primary what changed and use it again; False when it still cannot be used."""
        told = 0
        try:
            self._probe()
            while True:
                with self._lock:
                    change = self._journal.first()
                    if change is None:
                        self._recovered(told)
                        return True
                self._tell(change)
                told += 1
                with self._lock:
                    self._journal.told(change)
        except StoreUnavailableError:
            return False

    def _use(
        self,
        on_primary: Callable[[], T],
        meanwhile: Callable[[], T],
        *,
        and_then: Callable[[T], object],
    ) -> T:
        """One call: by the primary and `and_then`, or `meanwhile` it cannot be used."""
        with self._lock:
            if self.degraded:
                return meanwhile()
        try:
            result = on_primary()
        except StoreUnavailableError as error:
            with self._lock:
                self._fail(error)
                return meanwhile()
        with self._lock:
            if not self.degraded:
                and_then(result)
        return result

    def _fail(self, error: StoreUnavailableError) -> None:
        """Use the fallback from here on; the caller holds the lock."""
        if self.degraded or self._closing.is_set():
            return
        self._failed_at = self._clock()
        self._gauge.set(1)
        _log.warning(
            "%s; memory is used until it works again, which is tried every %g s",
            error.message,
            self._retry_s,
        )
        self._recovery = threading.Thread(
            target=self._keep_trying, name="store-recovery", daemon=True
        )
        self._recovery.start()

    def _recovered(self, told: int) -> None:
        """Use the primary from here on; the caller holds the lock."""
        if self._failed_at is None:
            return
        # A warning too: without a configuration of logging only those are seen.
        _log.warning(
            "%s is used again, after %.0f s; it was told %d changes",
            self._name,
            self._clock() - self._failed_at,
            told,
        )
        self._failed_at = None
        self._gauge.set(0)

    def _keep_trying(self) -> None:
        while not self._closing.wait(self._retry_s):
            if self.recover():
                return

    def _probe(self) -> None:
        # A write, since a Redis that is full or a mere copy of another still answers reads.
        self._primary.put(_PROBE, b"", ttl_s=_PROBE_TTL_S)

    def _tell(self, change: Change) -> None:
        if change.kind == "delete_prefix":
            self._primary.delete_prefix(change.key)
            return
        left_s = change.expires_at - self._clock()
        value = self._fallback.get(change.key) if change.kind == "put" and left_s > 0 else None
        if value is None:
            # Also for a put whose value has meanwhile given way in memory: the one that the primary
            # holds is older.
            self._primary.delete(change.key)
        else:
            self._primary.put(change.key, value, ttl_s=left_s)
