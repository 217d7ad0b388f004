"""The choice between the speech synthesis engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tritalk.tts.engine import EngineError, Voice
from tritalk.tts.settings import TtsSettings


def load(settings: TtsSettings, folder: Path) -> Mapping[str, Voice]:
    """Load the voices of the engine that the settings name.

    Args:
        settings: The model's settings.
        folder: The version folder in the model repository, which holds the weights.

    Returns:
        The voices by their names, the default first.

    Raises:
        EngineError: The weights are missing, or the default voice is not among them.
        ModelError: The weights are broken.
    """
    # An engine's library is imported only where that engine is used.
    from tritalk.tts import hibari

    engines: dict[str, Callable[[Path, int], Mapping[str, Voice]]] = {"hibari": hibari.load}
    voices = engines[settings.engine](folder, settings.threads)
    first = settings.voice or next(iter(voices))
    if first not in voices:
        raise EngineError(f"voice is {first}, but the voices in {folder} are: {', '.join(voices)}")
    return {first: voices[first], **voices}
