"""Whether the voice can be understood: typical replies, spoken and transcribed back.

`python -m benchmarks.tts_intelligibility` prints what was misheard and the word error rate, and
writes `out/tts_intelligibility.json`.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import jiwer
import soxr
from hibari.g2p import numbers
from rich.console import Console

from benchmarks import results
from tritalk import audio, environment, slo
from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.asr.whisper import Clip, Whisper
from tritalk.metrics import Registry
from tritalk.tts import engines
from tritalk.tts.service import SpeechService
from tritalk.tts.settings import TtsSettings

NAME = "tts_intelligibility"
AT_MOST_WER = 0.10

REPLIES = (
    "The capital of France is Paris.",
    "I am fine, thank you. How can I help you today?",
    "To make a cup of tea, start by boiling water in a kettle.",
    "The sky is blue because the air scatters blue light more than red light.",
    "Two plus three is equal to five.",
    "The ocean is filled with tiny organisms called plankton.",
    "I am a friendly assistant, and I am here to help with any questions you have.",
    "I would recommend a light dish, such as grilled fish with vegetables.",
    "The moon is about 238,000 miles away from Earth.",
    "You are welcome. I hope you have a wonderful day!",
    "Water boils at 100 degrees at sea level.",
    "There are seven days in a week and twelve months in a year.",
    "She sells sea shells by the sea shore.",
    "Please turn left at the second traffic light.",
    "The museum opens at nine in the morning and closes at five in the evening.",
    "It was written in 1984 and published the following year.",
    "**Photosynthesis** is how plants make food from sunlight.",
    "1. Wash the rice.\n2. Add two cups of water.\n3. Cook it slowly.",
    "I am sorry to hear that. Would you like to talk about it?",
    "The largest planet in our solar system is Jupiter.",
    "Your package will arrive on Tuesday, between ten and twelve.",
    "A good book can change the way you see the world.",
    "The meeting costs $25 per person, drinks included. 🎉",
    "No, that is not correct. Let me explain it again.",
    "Regular exercise and enough sleep keep your heart healthy.",
    "The train to London leaves from platform four.",
    "My favourite season is autumn, when the leaves turn red and gold.",
    "Could you please repeat the question?",
    "The doctor said that the results look good.",
    "Computers follow instructions, one after another, very quickly.",
)

_SYMBOLS = {"%": " percent", "$": " ", "favorite": "favourite", "seashells": "sea shells"}


def main() -> int:
    """Run the measurement; the exit code is 1 when too much was misheard."""
    console = Console()
    repository = environment.repository_root() / "model_repository"
    settings = TtsSettings()
    voices = engines.load(settings, repository / "tts" / "1")
    service = SpeechService(voices, settings, Registry(_NoFamily, slo.default()))
    whisper = Whisper(repository / "asr" / "1", threads=1)
    heard = [_transcribed(service, whisper, reply) for reply in REPLIES]
    wanted = [_words(reply) for reply in REPLIES]
    for reference, text in zip(wanted, heard, strict=True):
        if reference != text:
            console.print(f"said   {reference}\nheard  [bold]{text}[/bold]")
    wer = float(jiwer.wer(wanted, heard))
    rtf = _real_time_factor(service)
    ok = wer <= AT_MOST_WER
    path = _write(whisper.name, wer, rtf, ok)
    console.print(
        f"word error rate {wer:.1%} (at most {AT_MOST_WER:.0%}), "
        f"real-time factor {rtf:.3f}, {len(REPLIES)} replies: {path}"
    )
    return 0 if ok else 1


def _transcribed(service: SpeechService, whisper: Whisper, text: str) -> str:
    speech = service.speak(text)
    samples = soxr.resample(audio.from_pcm(speech.pcm), speech.sample_rate_hz, SAMPLE_RATE_HZ)
    (transcript,) = whisper.transcribe([Clip(samples, "en")])
    return _words(transcript)


def _real_time_factor(service: SpeechService) -> float:
    """Seconds of work per second of speech, of texts that were not spoken before."""
    spoken_s = 0.0
    began = time.perf_counter()
    for number, reply in enumerate(REPLIES):
        speech = service.speak(f"{reply} This was reply {number}.")
        spoken_s += len(speech.pcm) / 2 / speech.sample_rate_hz
    return (time.perf_counter() - began) / spoken_s


def _words(text: str) -> str:
    """Words as they are heard: small letters, numbers spelled out, nothing else."""
    text = re.sub(r"(?m)^\d\. ", lambda match: f"{match[0][0]} ", text.lower())
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, word)
    text = re.sub(r"(?<=\d),(?=\d)", "", text)
    text = re.sub(r"\d+", lambda match: _number(int(match[0])), text)
    return " ".join(re.sub(r"[^a-z' ]", " ", text).replace(" and ", " ").split())


def _number(value: int) -> str:
    words: str = numbers.year(value) if 1900 <= value < 2000 else numbers.cardinal(value)
    return words


def _write(asr: str, wer: float, rtf: float, ok: bool) -> Path:
    measures: dict[str, Any] = {
        "tts_intelligibility_wer": {"value": wer, "unit": "ratio", "goal": AT_MOST_WER, "ok": ok},
        "tts_real_time_factor": {"value": rtf, "unit": "ratio"},
        "asr": asr,
        "replies": len(REPLIES),
    }
    return results.write(NAME, measures)


class _NoFamily:
    """A metric family that keeps nothing."""

    COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

    def __init__(self, **_: Any) -> None:
        pass

    def Metric(self, **_: Any) -> _NoSeries:  # noqa: N802 - Triton's name
        return _NoSeries()


class _NoSeries:
    def increment(self, value: float) -> None:
        pass

    def set(self, value: float) -> None:
        pass

    def observe(self, value: float) -> None:
        pass


if __name__ == "__main__":
    sys.exit(main())
