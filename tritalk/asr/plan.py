"""Which clips of an utterance's audio are recognised together."""

from __future__ import annotations

from dataclasses import dataclass

from tritalk.asr import vad
from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.asr.tape import Tape
from tritalk.asr.utterance import Utterance
from tritalk.asr.vad import WINDOW
from tritalk.asr.whisper import WINDOW_S, Clip

_LONGEST = int((WINDOW_S - 1.0) * SAMPLE_RATE_HZ)
"""Longest clip for one look of the model; it wants some silence behind it."""

_SHORTEST = int(0.3 * SAMPLE_RATE_HZ)

# Somebody who does not pause is cut between these two lengths of a piece. Where in the audio a word
# lies is not known, but that those that are certain by then were heard before.
_FROZEN = 10 * SAMPLE_RATE_HZ
_CUT = 13 * SAMPLE_RATE_HZ

_Span = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """Clips of an utterance.

    Attributes:
        clips: In their order; together they are the audio from the piece's begin.
        settling: How many of the first ones are a piece that is over.
        begin: The first sample behind those.
        covered: The sample behind all.
        frozen: See `Utterance.hear`.
    """

    clips: tuple[Clip, ...]
    settling: int
    begin: int
    covered: int
    frozen: bool = False

    @property
    def audio_s(self) -> float:
        """Seconds of audio."""
        return sum(len(clip.samples) for clip in self.clips) / SAMPLE_RATE_HZ


def plan_end(utterance: Utterance, audio: Tape, probabilities: Tape) -> Plan:
    """The next piece of an utterance that is over; one at a time, since others wait."""
    span, *_ = _pieces(probabilities, utterance.begin, utterance.end)
    return Plan(_clips(utterance, audio, [span]), 1, begin=span[1], covered=span[1])


def plan_growing(utterance: Utterance, audio: Tape, probabilities: Tape) -> Plan:
    """What has been said since the current piece of an utterance began, up to now."""
    begin, end = utterance.begin, audio.end
    split = utterance.split
    if split is None and end - begin > _CUT:
        split = _quietest(probabilities, utterance.certain, end - _SHORTEST)
    if split is None:
        spans = _pieces(probabilities, begin, end)
        settling = len(spans) - 1
    else:
        spans = _pieces(probabilities, begin, split)
        settling = len(spans)
        if end - split >= _SHORTEST:
            spans += _pieces(probabilities, split, end)
            settling = len(spans) - 1
    return Plan(
        clips=_clips(utterance, audio, spans),
        settling=settling,
        begin=spans[settling][0] if settling < len(spans) else spans[-1][1],
        covered=end,
        frozen=not settling and end - begin > _FROZEN,
    )


def _clips(utterance: Utterance, audio: Tape, spans: list[_Span]) -> tuple[Clip, ...]:
    language = utterance.language
    first, *others = [audio.part(begin, end) for begin, end in spans]
    return (
        Clip(first, language, utterance.settled, utterance.draft),
        *(Clip(samples, language) for samples in others),
    )


def _pieces(probabilities: Tape, begin: int, end: int) -> list[_Span]:
    """A span in pieces that the model can look at."""
    first = begin // WINDOW
    heard = probabilities.part(first, probabilities.end)
    shift = first * WINDOW
    found = vad.cuts(heard, begin - shift, end - shift, longest=_LONGEST)
    return [(first + shift, last + shift) for first, last in found]


def _quietest(probabilities: Tape, begin: int, end: int) -> int:
    """The sample between two others at which speech is best cut."""
    first, last = begin // WINDOW + 1, end // WINDOW
    return (first + vad.quietest(probabilities.part(first, last))) * WINDOW + WINDOW // 2
