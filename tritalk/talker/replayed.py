"""An answer that was given before."""

from __future__ import annotations

import queue

from tritalk.talker.animation import Piece
from tritalk.talker.answers import StoredAnswer
from tritalk.talker.clock import StageClock
from tritalk.talker.pipeline import Finished, Item
from tritalk_client import wire


class Replayed:
    """A `Source` of a stored answer: all of it is there at once.

    Args:
        turn_id: The turn that gives it.
        answer: The answer.
        clock: Stamped when it begins.
    """

    def __init__(self, turn_id: str, answer: StoredAnswer, clock: StageClock) -> None:
        self.outbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self.text = answer.reply
        self.usage: wire.Usage | None = None
        self._turn_id = turn_id
        self._answer = answer
        self._clock = clock

    def start(self) -> None:
        """See `Source.start`."""
        self.outbox.put(wire.ReplyText(self._turn_id, self.text, self._clock.times))
        for piece in self._answer.pieces:
            self.outbox.put(Piece(piece.fragment, piece.media, piece.clause))
        self.outbox.put(Finished())

    def stop(self) -> None:
        """See `Source.stop`; there is nothing to stop."""

    def cancel(self) -> None:
        """See `Source.cancel`; there is nothing to cancel."""

    def join(self) -> None:
        """See `Source.join`; nobody was told anything."""
