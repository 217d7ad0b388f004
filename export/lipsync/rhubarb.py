"""Rhubarb Lip Sync: mouth shapes of a recording, found phonetically, whatever the language."""

from __future__ import annotations

import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

from tritalk.audio import Samples, to_pcm
from tritalk.mel import SAMPLE_RATE_HZ

# About five times faster than real time on one thread; generous for a busy machine.
_LIMIT_S_PER_AUDIO_S = 5.0
_LEAST_LIMIT_S = 60.0


@dataclass(frozen=True)
class MouthShape:
    """One mouth shape, held until the next one starts."""

    start_s: float
    name: str
    """A–H or X, as Rhubarb's documentation shows them; X is rest."""


def mouth_shapes(samples: Samples, folder: Path) -> list[MouthShape]:
    """Mouth shapes of speech.

    Args:
        samples: Mono samples at 16 kHz.
        folder: Where Rhubarb lies, its `res/` beside the `rhubarb` program.

    Raises:
        FileNotFoundError: There is no program in the folder.
        RuntimeError: Rhubarb refuses the audio; the message is its own.
        subprocess.TimeoutExpired: It takes far longer than it should.
    """
    program = folder / "rhubarb"
    if not program.is_file():
        raise FileNotFoundError(f"{program}: not found; that is where Rhubarb's program should be")
    with tempfile.TemporaryDirectory() as scratch:
        recording = Path(scratch, "speech.wav")
        with wave.open(str(recording), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE_HZ)
            file.writeframes(to_pcm(samples))
        done = subprocess.run(
            [program, "-q", "-r", "phonetic", "--threads", "1", "-f", "tsv", recording],
            capture_output=True,
            text=True,
            timeout=max(_LEAST_LIMIT_S, _LIMIT_S_PER_AUDIO_S * len(samples) / SAMPLE_RATE_HZ),
        )
    if done.returncode:
        raise RuntimeError(f"Rhubarb failed: {done.stderr.strip()}")
    return parse_tsv(done.stdout)


def parse_tsv(text: str) -> list[MouthShape]:
    """Shapes of Rhubarb's TSV: a time in seconds, a tab, a shape's letter."""
    rows = (line.split("\t") for line in text.splitlines() if line.strip())
    return [MouthShape(float(start), name.strip()) for start, name in rows]
