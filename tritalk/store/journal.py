"""What changed while a store could not be reached, so that it can be told afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_LIMIT = 100_000


@dataclass(frozen=True, eq=False)
class Change:
    """One change; each is itself, however alike two of them are."""

    kind: Literal["put", "delete", "delete_prefix"]
    key: str
    """The key, or the prefix."""
    expires_at: float = 0.0
    """When the value of a put is past its time, by the clock of whoever notes it."""


class Journal:
    """The last change of every key, and the prefixes that were removed before those.

    Args:
        limit: Most keys, and most prefixes; the oldest are forgotten first.
    """

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._prefixes: dict[str, Change] = {}
        self._keys: dict[str, Change] = {}

    def __len__(self) -> int:
        """How many changes are noted."""
        return len(self._prefixes) + len(self._keys)

    def note(self, change: Change) -> None:
        """Note a change; what it makes void is forgotten."""
        changes = self._keys
        if change.kind == "delete_prefix":
            changes = self._prefixes
            for group in (self._prefixes, self._keys):
                for key in [key for key in group if key.startswith(change.key)]:
                    del group[key]
        changes.pop(change.key, None)
        changes[change.key] = change
        if len(changes) > self._limit:
            del changes[next(iter(changes))]

    def first(self) -> Change | None:
        """The change to be told next, None when all are.

        Prefixes go first: the keys under them that are still noted were changed afterwards.
        """
        for group in (self._prefixes, self._keys):
            if group:
                return next(iter(group.values()))
        return None

    def told(self, change: Change) -> None:
        """Forget a change, unless its key has changed again meanwhile."""
        changes = self._prefixes if change.kind == "delete_prefix" else self._keys
        if changes.get(change.key) is change:
            del changes[change.key]
