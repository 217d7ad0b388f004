"""Speech to train on: sentences made from a grammar, read by the voices that are at hand."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr
import yaml
from hibari import Hibari

from tritalk.audio import Samples
from tritalk.mel import SAMPLE_RATE_HZ

Speaker = Callable[[str, random.Random], Samples]
"""Reads a sentence: text in, samples at 16 kHz out; what it varies it draws from the generator."""

FLITE_VOICES = ("slt", "rms", "awb", "kal16")
"""Voices of the `flite` program (its Debian package has them all); used where it is installed."""

_HIBARI_SPEEDS = (0.8, 1.25)
# Played slower or faster, the one voice becomes larger and smaller people.
_HIBARI_PITCHES = (0.84, 0.92, 1.0, 1.0, 1.1, 1.2)
_FLITE_STRETCH = (0.85, 1.25)
_PAUSES_S = (0.1, 0.7)
_SYNTHESIS_LIMIT_S = 60


@dataclass(frozen=True)
class Clip:
    """One recording of the training set."""

    name: str
    samples: Samples
    """At 16 kHz, peak 0.7."""


def clips(
    *, seed: int, hibari_minutes: float, flite_minutes: float, clip_s: float = 25.0
) -> Iterator[Clip]:
    """The training set, the same for the same seed and versions of the voices.

    Args:
        seed: Decides the sentences and how they are read.
        hibari_minutes: Speech of the hibari voice.
        flite_minutes: Speech of each flite voice; 0 for none.
        clip_s: Least length of a clip.

    Raises:
        FileNotFoundError: flite's voices are asked for and the program is not installed.
    """
    plans: list[tuple[str, Speaker, float]] = [("hibari", _hibari_speaker(), hibari_minutes)]
    if flite_minutes > 0:
        plans += [
            (f"flite-{voice}", _flite_speaker(voice), flite_minutes) for voice in FLITE_VOICES
        ]
    for voice, speaker, minutes in plans:
        for number in range(round(minutes * 60 / clip_s)):
            draw = random.Random(f"{seed}/{voice}/{number}")
            yield Clip(f"{voice}-{number:03d}", _read(speaker, draw, clip_s))


def _read(speaker: Speaker, draw: random.Random, least_s: float) -> Samples:
    parts: list[Samples] = []
    total = 0
    while total < least_s * SAMPLE_RATE_HZ:
        pause = np.zeros(int(draw.uniform(*_PAUSES_S) * SAMPLE_RATE_HZ), np.float32)
        parts += [pause, speaker(sentence(draw), draw)]
        total += len(parts[-1]) + len(pause)
    samples = np.concatenate(parts)
    return (samples * (0.7 / max(1e-6, float(np.abs(samples).max())))).astype(np.float32)


def _hibari_speaker() -> Speaker:
    voice = Hibari(threads=1)

    def read(text: str, draw: random.Random) -> Samples:
        spoken = voice(text, speed=draw.uniform(*_HIBARI_SPEEDS), seed=draw.randrange(2**31))
        pitch = draw.choice(_HIBARI_PITCHES)
        resampled: Samples = soxr.resample(
            spoken.astype(np.float32), voice.sample_rate * pitch, SAMPLE_RATE_HZ
        )
        return resampled

    return read


def _flite_speaker(voice: str) -> Speaker:
    program = shutil.which("flite")
    if program is None:
        raise FileNotFoundError(
            "flite is not installed (Debian: apt install flite); --flite-minutes 0 does without it"
        )

    def read(text: str, draw: random.Random) -> Samples:
        stretch = f"duration_stretch={draw.uniform(*_FLITE_STRETCH):.3f}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "speech.wav")
            subprocess.run(
                [program, "-voice", voice, "--setf", stretch, "-t", text, "-o", str(path)],
                check=True,
                timeout=_SYNTHESIS_LIMIT_S,
                capture_output=True,
            )
            return load_wav(path)

    return read


def load_wav(path: Path) -> Samples:
    """Samples at 16 kHz of a WAV file of 16 bits, its channels mixed."""
    with wave.open(str(path)) as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path}: WAV of 16 bits expected, got {file.getsampwidth() * 8}")
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        mono = data.reshape(-1, file.getnchannels()).mean(1)
        samples: Samples = soxr.resample(mono, file.getframerate(), SAMPLE_RATE_HZ)
    return samples


def sentence(draw: random.Random) -> str:
    """A sentence of the grammar in `sentences.yaml`."""
    grammar = _grammar()
    kinds = {
        **dict.fromkeys(("a", "a2"), "adjectives"),
        **dict.fromkeys(("n", "n2", "n3"), "nouns"),
        **dict.fromkeys(("v", "v2"), "verbs"),
        "d": "adverbs",
        **dict.fromkeys(("N", "N2"), "names"),
    }
    chosen = {key: draw.choice(grammar[kind]) for key, kind in kinds.items()}
    number = draw.choice([draw.randint(1, 99), draw.randint(100, 9999), draw.randint(1900, 2030)])
    return draw.choice(grammar["frames"]).format(number=number, **chosen)


@lru_cache(maxsize=1)
def _grammar() -> dict[str, list[str]]:
    text = Path(__file__).with_name("sentences.yaml").read_text(encoding="utf-8")
    grammar: dict[str, list[str]] = yaml.safe_load(text)
    return grammar
