"""Files of models that are missing or broken."""

from __future__ import annotations

from pathlib import Path


class ModelError(ValueError):
    """A file of a model is missing or broken; the message says how to make it."""

    @classmethod
    def of(cls, path: Path, why: Exception | str) -> ModelError:
        """The error of a file that cannot be used."""
        return cls(f"{path} cannot be used ({why}); make it with: python -m export get default")
