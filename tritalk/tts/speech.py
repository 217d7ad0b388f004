"""What leaves the speech synthesis."""

from __future__ import annotations

from dataclasses import dataclass

from tritalk_client.wire import PhonemeTiming


@dataclass(frozen=True)
class Speech:
    """Synthesised speech."""

    pcm: bytes
    """Signed 16-bit little-endian mono."""
    sample_rate_hz: int
    timing: list[PhonemeTiming]
    """Gapless from 0 to the end of the audio; empty where the engine does not know."""
