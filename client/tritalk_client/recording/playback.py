"""When a player would have shown which fragment; pure, without a clock of its own."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from tritalk_client.events import Media

FRAMES_PER_SECOND = 25
"""The frame rate of tritalk's video."""


@dataclass
class Showing:
    """A fragment on the time line of the player.

    Attributes:
        media: The fragment.
        begin_s: When its first frame is shown.
        end_s: When its last frame has been shown, or when it is cut off.
    """

    media: Media
    begin_s: float
    end_s: float

    @property
    def shift_s(self) -> float:
        """What to add to a time of its turn to get the player's time."""
        return self.begin_s - self.media.start_s

    @property
    def is_cut_off(self) -> bool:
        """Whether the fragment is not shown to its end."""
        return self.end_s < self.begin_s + self.media.duration_s


class Playback:
    """Plays each fragment when it comes, or when the one before has ended.

    Times are in seconds of the player's time line. Fragments begin at the next frame of 25 a
    second, so that sound and picture stay together.
    """

    def __init__(self) -> None:
        self._waiting: deque[Showing] = deque()
        self._shown: Showing | None = None
        self._cut_off: set[str] = set()
        self._end_s = 0.0

    @property
    def end_s(self) -> float:
        """When everything has been shown."""
        return self._end_s

    def add(self, media: Media, now_s: float) -> None:
        """Take a fragment that came at `now_s`; those of an answer that was cut off are ignored."""
        if media.turn_id in self._cut_off:
            return
        begin_s = _next_frame_s(max(now_s, self._end_s))
        self._end_s = begin_s + media.duration_s
        self._waiting.append(Showing(media, begin_s, self._end_s))

    def cut_off(self, turn_id: str, now_s: float) -> float:
        """End an answer now.

        Returns:
            When the picture stops, in whole frames.
        """
        cut_s = _next_frame_s(now_s)
        # Turn ids are many in an hour, but only the running turn still sends.
        self._cut_off = {turn_id}
        self._waiting = deque(
            each for each in self._waiting if each.media.turn_id != turn_id or each.begin_s < cut_s
        )
        for showing in (self._shown, *self._waiting):
            if showing is not None and showing.media.turn_id == turn_id:
                showing.end_s = min(showing.end_s, cut_s)
        last = self._waiting[-1] if self._waiting else self._shown
        self._end_s = last.end_s if last is not None else 0.0
        return cut_s

    def next_before(self, until_s: float) -> Showing | None:
        """The next fragment, when it begins before `until_s`; each is given once."""
        if not self._waiting or self._waiting[0].begin_s >= until_s:
            return None
        self._shown = self._waiting.popleft()
        return self._shown


def _next_frame_s(at_s: float) -> float:
    # A hair's breadth, so that what is on a frame already stays there.
    return math.ceil(at_s * FRAMES_PER_SECOND - 1e-6) / FRAMES_PER_SECOND
