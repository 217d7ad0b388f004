"""The choice between the language model engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tritalk.llm.engine import Engine
from tritalk.llm.settings import LlmSettings


def load(settings: LlmSettings, folder: Path) -> Engine:
    """Load the engine that the settings name, and warm it up.

    Args:
        settings: The model's settings.
        folder: The version folder in the model repository, which holds the weights.

    Raises:
        EngineError: The weights are missing, broken, or do not fit the settings.
    """
    # An engine's library is imported only where that engine is used.
    from tritalk.llm.llama_cpp import LlamaCpp

    engines: dict[str, Callable[[LlmSettings, Path], Engine]] = {"llama_cpp": LlamaCpp}
    return engines[settings.engine](settings, folder)
