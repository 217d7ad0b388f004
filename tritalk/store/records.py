"""Records of one kind in a store."""

from __future__ import annotations

import logging
from typing import Generic, TypeVar

import msgspec

from tritalk.store.interface import Store

R = TypeVar("R", bound=msgspec.Struct)

_log = logging.getLogger(__name__)


class Records(Generic[R]):
    """Puts records into a store as MessagePack behind one byte that says how they are laid out.

    Args:
        store: Where they are kept.
        kind: The class of the records; what keys begin with is up to the caller.
        version: 0 to 255; records of another version are as good as none.
        ttl_s: Seconds that a record is kept.
        max_bytes: Largest record.
    """

    def __init__(
        self, store: Store, kind: type[R], *, version: int, ttl_s: float, max_bytes: int
    ) -> None:
        self._store = store
        self._version = bytes([version])
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._name = kind.__name__
        self._decoder = msgspec.msgpack.Decoder(kind)

    def find(self, key: str) -> R | None:
        """The record of a key, None where there is none; one that is damaged is deleted."""
        data = self._store.get(key)
        if not data or data[:1] != self._version:
            return None
        try:
            return self._decoder.decode(memoryview(data)[1:])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("the %s %s was damaged and is deleted: %s", self._name, key, error)
            self._store.delete(key)
            return None

    def put(self, key: str, record: R) -> bool:
        """Keep a record in place of the one that is there; one above the bound is not kept."""
        data = self._version + msgspec.msgpack.encode(record)
        if len(data) > self._max_bytes:
            _log.warning(
                "the %s %s is not kept: it has %d bytes, the most are %d",
                self._name,
                key,
                len(data),
                self._max_bytes,
            )
            self._store.delete(key)
            return False
        return self._store.put(key, data, ttl_s=self._ttl_s)

    def delete(self, key: str) -> bool:
        """Remove a record; whether there was one."""
        return self._store.delete(key)

    def delete_prefix(self, prefix: str) -> int:
        """Remove all records whose key begins with this text; how many there were."""
        return self._store.delete_prefix(prefix)
