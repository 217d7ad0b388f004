"""When a step is begun and a fragment cut: soon while the viewer waits, later the more he has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tritalk.animate.encoder import FRAMES_PER_SECOND
from tritalk.animate.settings import AnimateSettings


@dataclass(frozen=True)
class Pace:
    """How long the steps and fragments of one turn are, and how far it runs ahead of its viewer."""

    step_frames: int
    """Frames that are drawn at once."""
    longest_fragment_frames: int
    lead_s: float | None
    """Most seconds that are animated and not yet played; None is as fast as it goes."""

    @classmethod
    def of(cls, settings: AnimateSettings, lead_s: float | None) -> Pace:
        """The settings' lengths, none of which is longer than the lead."""
        most = settings.longest_fragment_frames
        if lead_s is not None:
            most = min(most, max(1, math.floor(lead_s * FRAMES_PER_SECOND)))
        return cls(min(settings.step_frames, most), most, lead_s)

    def room_in_s(self, unsent_frames: int, held_s: float) -> float:
        """Seconds until the next step may begin; 0 or less is now.

        Args:
            unsent_frames: Frames up to the end of that step that have not left for the viewer.
            held_s: Seconds of media that he holds and has not yet played.
        """
        if self.lead_s is None:
            return 0.0
        return held_s + unsent_frames / FRAMES_PER_SECOND - self.lead_s

    def due_in_s(self, pending_frames: int, held_s: float) -> float:
        """Seconds until what is encoded should leave as a fragment; 0 or less is now.

        A fragment is sent when it is as long as what the viewer still has to play: the shortest at
        first and whenever he waits, twice as long each time while frames are made faster than they
        are played, the longest from then on. On a machine that only just keeps up they stay short;
        with a lead to be kept they become half of it.

        Args:
            pending_frames: Frames that are encoded and not sent.
            held_s: Seconds of media that he holds and has not yet played.
        """
        if pending_frames >= self.longest_fragment_frames:
            return 0.0
        if pending_frames < self.step_frames:
            return math.inf
        return held_s - pending_frames / FRAMES_PER_SECOND


def steps(first: int, end: int, length: int) -> list[range]:
    """The frames `first` to `end` in runs of `length`, the last perhaps shorter."""
    return [range(start, min(start + length, end)) for start in range(first, end, length)]
