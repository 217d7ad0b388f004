"""Text in, speech out: one request of the `tts` model."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping

import numpy as np

from tritalk import audio, metrics
from tritalk.tts import shaping
from tritalk.tts.cache import SpeechCache
from tritalk.tts.engine import Phrase, Spoken, Voice
from tritalk.tts.settings import TtsSettings
from tritalk.tts.speakable import speakable
from tritalk.tts.speech import Speech
from tritalk_client.errors import ErrorCode, TritalkError

DEFAULT_VOICE = "default"
MIN_SPEED, MAX_SPEED = 0.5, 2.0

_SENTENCE_ENDS = ".!?…"
_CLOSING = '"”)'


class SpeechService:
    """Speaks texts; may be used from several threads.

    Args:
        voices: By their names, the default first.
        settings: The model's settings.
        registry: Where the metrics live.
    """

    def __init__(
        self, voices: Mapping[str, Voice], settings: TtsSettings, registry: metrics.Registry
    ) -> None:
        self._voices = voices
        self._settings = settings
        self._cache = SpeechCache(settings.cache_mib * 1024 * 1024)
        self._closed = threading.Event()
        self._duration = registry(metrics.TTS_DURATION)
        self._rtf = registry(metrics.TTS_RTF)
        self._sample_rate = registry(metrics.OUTPUT_SAMPLE_RATE)

    def speak(self, text: str, voice: str = DEFAULT_VOICE, speed: float = 1.0) -> Speech:
        """Speak a text; the same request always gives the same samples.

        Args:
            text: Whatever a language model may write.
            voice: Name of the voice; `default` or an empty name is the default voice.
            speed: 1 is the voice's own pace, 2 twice as fast.

        Raises:
            TritalkError: NOTHING_TO_SAY when the voice can speak nothing in the text, BAD_REQUEST
                when the speed is out of bounds, TOO_LARGE when the text is too long, UNKNOWN_VOICE.
        """
        name = self._voice_name(voice)
        if not (math.isfinite(speed) and MIN_SPEED <= speed <= MAX_SPEED):
            raise TritalkError(
                ErrorCode.BAD_REQUEST,
                f"SPEED must be between {MIN_SPEED} and {MAX_SPEED}, got {speed:g}",
            )
        if len(text) > self._settings.max_chars:
            raise TritalkError(
                ErrorCode.TOO_LARGE,
                f"TEXT has {len(text)} characters, at most {self._settings.max_chars} are spoken: "
                "send it in parts",
            )
        key = (text, name, speed)
        speech = self._cache.get(key)
        if speech is None:
            speech = self._synthesise(text, self._voices[name], speed)
            self._cache.put(key, speech)
        return speech

    def is_long(self, text: str) -> bool:
        """Whether speaking this text would make others wait noticeably."""
        return len(text) > self._settings.long_chars

    def close(self) -> None:
        """End the synthesis that is under way, with an error."""
        self._closed.set()

    def _synthesise(self, text: str, speaker: Voice, speed: float) -> Speech:
        began = time.monotonic()
        rate_hz = speaker.sample_rate_hz
        spoken: list[Spoken] = []
        for phrase in self._phrases(speaker, text):
            if self._closed.is_set():
                raise TritalkError(ErrorCode.UNAVAILABLE, "the speech synthesis is being unloaded")
            pause_ms = (
                self._settings.sentence_pause_ms
                if phrase.phonemes.rstrip(_CLOSING)[-1:] in _SENTENCE_ENDS
                else self._settings.clause_pause_ms
            )
            spoken.append(
                shaping.trim(
                    speaker.speak(phrase, speed, len(spoken)),
                    rate_hz,
                    lead_s=self._settings.lead_silence_ms / 1000,
                    tail_s=pause_ms / 1000 / speed,
                )
            )
        samples = np.concatenate([phrase.samples for phrase in spoken])
        speech = Speech(
            audio.to_pcm(shaping.level(samples, rate_hz, self._settings.level_dbfs)),
            rate_hz,
            shaping.timing(spoken),
        )
        seconds = time.monotonic() - began
        self._duration.observe(seconds)
        self._rtf.observe(seconds * rate_hz / len(samples))
        self._sample_rate.set(rate_hz)
        return speech

    def _voice_name(self, name: str) -> str:
        if name in ("", DEFAULT_VOICE):
            return next(iter(self._voices))
        if name not in self._voices:
            raise TritalkError(
                ErrorCode.UNKNOWN_VOICE,
                f"there is no voice {name[:64]!r}; the voices are: {', '.join(self._voices)}",
            )
        return name

    def _phrases(self, speaker: Voice, text: str) -> list[Phrase]:
        phrases = speaker.phrases(speakable(text))
        if not phrases:
            raise TritalkError(
                ErrorCode.NOTHING_TO_SAY, "nothing in TEXT can be spoken by this voice"
            )
        phonemes = sum(len(phrase.phonemes) for phrase in phrases)
        if phonemes > self._settings.max_phonemes:
            raise TritalkError(
                ErrorCode.TOO_LARGE,
                f"TEXT would be {phonemes} phonemes long, at most {self._settings.max_phonemes} "
                "are spoken: send it in parts",
            )
        return phrases
