"""How one sequence is treated: the model's settings and the sequence's options, in windows."""

from __future__ import annotations

from dataclasses import dataclass

from tritalk.asr.endpointing import PAUSE_MS, Hysteresis
from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.asr.settings import AsrSettings
from tritalk.asr.vad import WINDOW
from tritalk_client.wire import RecognitionOptions

WINDOW_S = WINDOW / SAMPLE_RATE_HZ

_BEGINNING_WINDOWS = 3
_GOES_ON_BELOW = 0.15


@dataclass(frozen=True)
class Manner:
    """How a sequence is treated.

    Attributes:
        language: Code of the language that is spoken.
        endpointing: Whether the ends of utterances are to be found.
        hysteresis: When speech begins and ends.
        margin: Samples kept before the first and behind the last speech.
        interval: Samples from one transcript to the next while somebody speaks.
        pause: Windows of silence that may be the end.
        end: Windows of silence that are the end.
        sentence_end: Windows of silence that are the end of a complete sentence.
        silence_timeout_s: Silence that is told, 0 is never.
        limit_s: Longest audio of the sequence, None is any.
    """

    language: str
    endpointing: bool
    hysteresis: Hysteresis
    margin: int
    interval: int
    pause: int
    end: int
    sentence_end: int
    silence_timeout_s: float
    limit_s: float | None


def manner(settings: AsrSettings, options: RecognitionOptions | None) -> Manner:
    """How a sequence with these options is treated."""
    options = options or RecognitionOptions(language=settings.default_language)
    threshold = settings.vad_threshold
    # Who says himself where his question ends has no stray noise in it; every sound counts.
    hysteresis = Hysteresis(begins=threshold, windows=1, goes_on=threshold)
    if options.endpointing:
        goes_on = max(threshold - _GOES_ON_BELOW, threshold / 2)
        hysteresis = Hysteresis(threshold, _BEGINNING_WINDOWS, goes_on)
    end_ms = options.end_silence_ms or settings.end_silence_ms
    # Who gives people more time, or less, does so at the end of a sentence, too.
    sentence_end = settings.sentence_end_silence_ms / settings.end_silence_ms
    timeout_s = options.silence_timeout_s
    return Manner(
        language=options.language,
        endpointing=options.endpointing,
        hysteresis=hysteresis,
        margin=int(settings.speech_margin_s * SAMPLE_RATE_HZ),
        interval=int(settings.partial_interval_s * SAMPLE_RATE_HZ),
        pause=_windows(PAUSE_MS),
        end=_windows(end_ms),
        sentence_end=_windows(end_ms * min(1.0, sentence_end)),
        silence_timeout_s=settings.silence_timeout_s if timeout_s is None else timeout_s,
        limit_s=None if options.endpointing else settings.max_audio_s,
    )


def _windows(milliseconds: float) -> int:
    return max(1, round(milliseconds / 1000 / WINDOW_S))
