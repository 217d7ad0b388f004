"""The voices of hibari-tts: English, 24 kHz, with the time of every phoneme.

hibari-tts is used as a library for what comes before and after the network: pronunciation and
signal processing. The network is ours to run, from `hibari.onnx` as `export.hibari` makes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hibari import dsp
from hibari.g2p import G2P
from hibari.g2p.normalize import normalize
from hibari.tts import ASSETS, Hibari

from tritalk.audio import Samples
from tritalk.onnx_session import open_session
from tritalk.tts.engine import SILENCE, EngineError, Phone, Phrase, Spoken

_OUTPUTS = ["lh", "theta", "ln", "lr", "phi", "f0", "durations"]
_SAMPLES_PER_UNIT = 600
"""Length of one unit of the output `durations`; two hops of the inverse transform."""

_MAX_PHRASE = 400
"""Longest phrase in phonemes; the network has not heard longer ones."""

_PAD = 0
_STRESS = "ˈˌ"
_LENGTH = "ː"
_PUNCTUATION = ';:,.!?—…"()“”'
_CLAUSE_END = re.compile(r"(?<=[,;:—…]) ")


def load(folder: Path, threads: int) -> dict[str, HibariVoice]:
    """The voices in `hibari*.onnx` of a folder, by their names.

    Raises:
        EngineError: There is none, or one is not converted.
        ModelError: One is broken.
    """
    paths = sorted(folder.glob("hibari*.onnx"))
    if not paths:
        raise EngineError(
            f"{folder} holds no hibari.onnx; fetch it with: python -m export get default"
        )
    voices = [HibariVoice(path, threads) for path in paths]
    return {voice.name: voice for voice in voices}


class HibariVoice:
    """One voice of hibari.

    Args:
        path: The converted network.
        threads: Threads of the network.

    Raises:
        EngineError: The file was not converted by `export.hibari`.
        ModelError: The file is broken.
    """

    sample_rate_hz: int = dsp.SR

    def __init__(self, path: Path, threads: int) -> None:
        self._network = open_session(path, threads=threads)
        properties = self._network.get_modelmeta().custom_metadata_map
        made = [output.name for output in self._network.get_outputs()]
        if made != _OUTPUTS or "voice" not in properties:
            raise EngineError(
                f"{path} does not tell the lengths of phonemes; convert it with: "
                "python -m export get hibari-en --replace"
            )
        self.name: str = properties["voice"]
        self._pronunciation = G2P(british=properties.get("british") == "true")
        self._ids: dict[str, int] = json.loads(
            (Path(ASSETS) / "vocab.json").read_text(encoding="utf-8")
        )
        # The network for unknown words is loaded at the first of them.
        for phrase in self.phrases("Hello, Zzyzx."):
            self.speak(phrase, 1.0, 0)

    def phrases(self, text: str) -> list[Phrase]:
        """See `Voice.phrases`."""
        found = []
        for paragraph in text.splitlines():
            # Before sentences are told apart: "No. 5" and "vs. Mr. Jones" end none.
            for sentence in Hibari.split_sentences(normalize(paragraph)):
                phonemes = self._pronunciation(sentence, normalize_text=False)
                known = "".join(c for c in phonemes if c in self._ids)
                found += [
                    Phrase(part)
                    for part in split(known, _MAX_PHRASE)
                    if any(c not in _PUNCTUATION and not c.isspace() for c in part)
                ]
        return found

    def speak(self, phrase: Phrase, speed: float, seed: int) -> Spoken:
        """See `Voice.speak`."""
        ids = [_PAD, *(self._ids[c] for c in phrase.phonemes), _PAD]
        *spectrum, durations = self._network.run(
            _OUTPUTS,
            {"ids": np.array([ids], np.int64), "speed": np.array([speed], np.float32)},
        )
        noise = np.random.default_rng(seed)
        samples: Samples = dsp.synth(*(part[0] for part in spectrum), noise)
        units = [int(unit) * _SAMPLES_PER_UNIT / self.sample_rate_hz for unit in durations]
        return Spoken(samples, phones(phrase.phonemes, units))


def phones(phonemes: str, durations_s: Sequence[float]) -> list[Phone]:
    """What is pronounced for how long.

    A stress mark's time belongs to the vowel behind it and a length mark's to the one before;
    pads and punctuation are silence, and neighbouring silences one. A space is the way from one
    word's sound to the next's.

    Args:
        phonemes: In hibari's alphabet.
        durations_s: One for each, and one for the pad at either end.
    """
    found: list[Phone] = []
    carried_s = 0.0
    for symbol, duration_s in zip(f"^{phonemes}$", durations_s, strict=True):
        if symbol in _STRESS:
            carried_s += duration_s
            continue
        name = SILENCE if symbol in "^$" or symbol in _PUNCTUATION else symbol
        duration_s += carried_s
        carried_s = 0.0
        if found and (symbol == _LENGTH or found[-1].symbol == name == SILENCE):
            found[-1] = Phone(found[-1].symbol, found[-1].duration_s + duration_s)
        else:
            found.append(Phone(name, duration_s))
    return found


def split(phonemes: str, limit: int) -> list[str]:
    """Cut phonemes into short parts: behind clauses, else between words, else anywhere.

    Args:
        phonemes: In hibari's alphabet.
        limit: Most characters of a part.
    """
    parts: list[str] = []
    rest = phonemes.strip()
    while len(rest) > limit:
        clauses = [match.end() for match in _CLAUSE_END.finditer(rest, 0, limit)]
        space = rest.rfind(" ", 0, limit)
        cut = clauses[-1] if clauses else space + 1 if space > 0 else limit
        parts.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    return [*parts, rest] if rest else parts
