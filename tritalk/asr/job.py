"""What a sequence wants to have recognised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from tritalk.asr.plan import Plan
from tritalk.asr.utterance import Utterance


class Urgency(IntEnum):
    """What is wanted of a transcript; the first is the most urgent."""

    FINAL = 0
    """The utterance is over."""
    PAUSE = 1
    """Nobody speaks for the time being."""
    PARTIAL = 2
    """Somebody speaks."""
    BACKLOG = 3
    """The utterance is over, and was in a recording that is sent faster than it was spoken."""


@dataclass(frozen=True, eq=False)
class Job:
    """Clips of one sequence that are to be recognised together.

    Attributes:
        utterance: To which the clips belong.
        urgency: What is wanted.
        plan: The clips.
        last: The window behind the last speech.
        arrived_s: When the last chunk that the clips cover came.
    """

    utterance: Utterance
    urgency: Urgency
    plan: Plan
    last: int
    arrived_s: float

    @property
    def unheard(self) -> int:
        """Samples that no transcript covers yet."""
        return self.plan.covered - self.utterance.covered


def batch(jobs: Sequence[Job], *, most_audio_s: float) -> list[Job]:
    """The jobs that are recognised together: the most urgent first, then those that wait longest.

    Args:
        jobs: All that are due.
        most_audio_s: Most seconds of audio; one job goes whatever its length.
    """
    chosen: list[Job] = []
    audio_s = 0.0
    for job in sorted(jobs, key=lambda job: (job.urgency, -job.unheard)):
        audio_s += job.plan.audio_s
        if chosen and audio_s > most_audio_s:
            break
        chosen.append(job)
    return chosen
