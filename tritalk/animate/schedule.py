"""When a fragment is cut: soon while the viewer waits, later the more he has in hand."""

from __future__ import annotations

from tritalk.animate.encoder import FRAMES_PER_SECOND


def should_cut(
    pending_frames: int, lead_frames: float, *, first_frames: int, longest_frames: int
) -> bool:
    """Whether what is encoded should leave as a fragment now.

    A fragment is sent when it is as long as what the viewer still has to play: the shortest at
    first and whenever he waits, twice as long each time while frames are made faster than they are
    played, the longest from then on. On a machine that only just keeps up they stay short.

    Args:
        pending_frames: Frames that are encoded and not sent.
        lead_frames: Frames that were sent and are not yet played.
        first_frames: Shortest fragment that is cut before the end of a piece.
        longest_frames: Longest fragment.
    """
    return pending_frames >= min(max(lead_frames, first_frames), longest_frames)


def steps(first: int, end: int, length: int) -> list[range]:
    """The frames `first` to `end` in runs of `length`, the last perhaps shorter."""
    return [range(start, min(start + length, end)) for start in range(first, end, length)]


class Playback:
    """What a viewer who plays every fragment as soon as he has it still holds.

    Times are seconds of any one clock.
    """

    def __init__(self) -> None:
        self._ends_at: float | None = None

    def sent(self, frames: int, now: float) -> None:
        """Frames have left for the viewer."""
        begins_at = now if self._ends_at is None else max(self._ends_at, now)
        self._ends_at = begins_at + frames / FRAMES_PER_SECOND

    def lead_frames(self, now: float) -> float:
        """Frames that he has and has not yet played."""
        if self._ends_at is None:
            return 0.0
        return max(0.0, (self._ends_at - now) * FRAMES_PER_SECOND)
