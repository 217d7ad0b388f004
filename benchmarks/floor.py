"""The floor of a turn: the same engines called one after the other in this process.

No server, no hops, no threads that compete; and no overlap either: each step begins when the one
before has ended, as in a programme that is written step by step.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tritalk import environment, metrics, slo
from tritalk.animate.portrait import Portrait
from tritalk.animate.settings import AnimateSettings
from tritalk.animate.turn import Meters, Turn
from tritalk.asr.recognizer import Recognizer
from tritalk.asr.settings import AsrSettings
from tritalk.audio import from_pcm
from tritalk.image_store import ImageStore
from tritalk.llm import engines as llm_engines
from tritalk.llm.settings import LlmSettings
from tritalk.onnx_session import open_session
from tritalk.settings import Settings
from tritalk.talker.clauses import ClauseSplitter
from tritalk.talker.history import History
from tritalk.talker.settings import TalkerSettings
from tritalk.tts import engines as tts_engines
from tritalk.tts.service import SpeechService
from tritalk.tts.settings import TtsSettings
from tritalk_client import wire


class Unmeasured:
    """A metric family, and a series of it, that go nowhere."""

    COUNTER = GAUGE = HISTOGRAM = ""

    def __init__(self, **_: object) -> None: ...

    def Metric(self, **_: object) -> Unmeasured:  # noqa: N802 - Triton's name
        """A series."""
        return self

    def increment(self, value: float) -> None:
        """Forget."""

    def set(self, value: float) -> None:
        """Forget."""

    def observe(self, value: float) -> None:
        """Forget."""


@dataclass(frozen=True)
class Steps:
    """Seconds of each step until the first spoken media fragment."""

    asr: float
    llm: float
    tts: float
    animate: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.asr + self.llm + self.tts + self.animate


class Floor:
    """The engines of one conversation, loaded as the model repository's configuration says.

    Args:
        avatar_id: A portrait in the state folder.
    """

    def __init__(self, avatar_id: str) -> None:
        registry = metrics.Registry(Unmeasured, slo.default())
        asr = _settings("asr", AsrSettings)
        self.end_silence_s = asr.sentence_end_silence_ms / 1000
        """Silence after which a sentence is known to have ended: no programme answers before."""
        self._recognizer = Recognizer(_folder("asr"), asr, registry)
        self._recognizer.warm_up()
        self._llm = llm_engines.load(_settings("llm", LlmSettings), _folder("llm"))
        tts = _settings("tts", TtsSettings).model_copy(update={"cache_mib": 0})
        self._tts = SpeechService(tts_engines.load(tts, _folder("tts")), tts, registry)
        self._talker = _settings("talker", TalkerSettings)
        self._animate = _settings("animate", AnimateSettings)
        self._generator = open_session(_folder("wav2lip") / "model.onnx")
        avatar = ImageStore(self._animate.store_url).load(avatar_id)
        self._portrait = Portrait.of(avatar, self._animate.step_frames)
        self._history = History()

    def close(self) -> None:
        """Free the engines."""
        self._recognizer.close()
        self._llm.close()

    def first_fragment(self, pcm: bytes) -> Steps:
        """Answer a spoken question up to the first spoken fragment; raises when nobody speaks."""
        times = [time.monotonic()]
        question = self._recognise(pcm)
        times.append(time.monotonic())
        clause = self._first_clause(question)
        times.append(time.monotonic())
        speech = self._tts.speak(clause)
        times.append(time.monotonic())
        self._animate_first(speech.pcm, speech.sample_rate_hz)
        times.append(time.monotonic())
        return Steps(*np.diff(times).tolist())

    def _recognise(self, pcm: bytes) -> str:
        return self._recognizer.transcribe(pcm).text

    def _first_clause(self, question: str) -> str:
        """Generate until the first clause is complete, as a turn does before it can speak."""
        talker = self._talker
        splitter = ClauseSplitter(
            first_clause_chars=talker.first_clause_chars,
            first_clause_longest_chars=talker.first_clause_longest_chars,
            clause_chars=talker.clause_chars,
        )
        found: list[str] = []
        sampling = wire.Sampling(
            max_new_tokens=talker.max_new_tokens,
            temperature=talker.temperature,
            repeat_penalty=talker.repeat_penalty,
        )
        messages = self._history.prompt(talker.system_prompt, talker.examples, question)
        self._llm.generate(
            messages, sampling, lambda text: found.extend(splitter.feed(text)), lambda: bool(found)
        )
        return (found or splitter.flush())[0]

    def _animate_first(self, pcm: bytes, rate_hz: int) -> None:
        meters = Meters(fps=Unmeasured(), mel_ms=Unmeasured())
        turn = Turn(self._portrait, rate_hz, self._generate, settings=self._animate, meters=meters)
        try:
            for media in turn.speak(from_pcm(pcm), True):
                if media.fragment.spoken:
                    return
        finally:
            turn.close()

    def _generate(self, mel: Any, faces: Any) -> Any:
        inputs: Mapping[str, Any] = {"MEL": mel, "FACE": faces}
        (mouths,) = self._generator.run(["MOUTH"], inputs)
        return mouths


def _folder(model: str) -> Path:
    return environment.repository_root() / "model_repository" / model / "1"


def _settings(model: str, kind: type[Any]) -> Any:
    """A model's settings, from its config.pbtxt."""
    path = environment.repository_root() / "model_repository" / model / "config.pbtxt"
    config = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    assert issubclass(kind, Settings)
    return kind.model_validate(
        {name: parameter.string_value for name, parameter in config.parameters.items()}
    )
