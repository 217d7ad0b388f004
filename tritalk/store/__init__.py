"""Where what outlives a conversation is kept: in memory, or in Redis."""

from tritalk.store.interface import Store, StoreUnavailableError
from tritalk.store.opening import open_store
from tritalk.store.records import Records

__all__ = ["Records", "Store", "StoreUnavailableError", "open_store"]
