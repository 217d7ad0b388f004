"""The animation of one answer: the next piece is handed over while the one before is drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from tritalk.talker.stages import Speech, Stages, unforeseen
from tritalk.talker.watch import StageWatch
from tritalk_client import wire
from tritalk_client.errors import TritalkError

_POLL_S = 1.0


@dataclass(frozen=True)
class Piece:
    """One media fragment on its way to the client."""

    fragment: wire.Fragment
    media: bytes
    clause: str
    """The clause that begins in it, empty when it goes on with the one before."""


class Animation:
    """Sends an answer's speech to `animate` and its fragments on, in their order.

    A piece is handed over as soon as the one before has given its first fragment, so that the
    drawing does not pause between clauses and sees which sound comes next.

    Args:
        stages: The other models.
        sequence_id: The sequence of this answer.
        options: Which portrait, and how far ahead of its viewer.
        deliver: Takes the fragments in their order, and the first error.
        watch: Told when the stage works and when it rests.
        stop: Set when the answer is over.
    """

    def __init__(
        self,
        stages: Stages,
        sequence_id: int,
        options: wire.AnimateOptions,
        deliver: Callable[[Piece | TritalkError], None],
        watch: StageWatch,
        stop: threading.Event,
    ) -> None:
        self._stages = stages
        self._sequence_id = sequence_id
        self._options = options
        self._deliver = deliver
        self._watch = watch
        self._stop = stop
        self._lock = threading.Lock()
        self._early: dict[int, Piece] = {}
        self._next_index = 0
        self._in_work = 0
        self._at_work: list[threading.Thread] = []
        self._begun = False
        self._failed = False

    def speak(self, speech: Speech) -> None:
        """Hand over a clause; returns when its first fragment has come."""
        start, self._begun = not self._begun, True
        self._hand_over(speech, start=start, end=False)

    def finish(self) -> None:
        """End the sequence; returns when its last fragment has come."""
        if self._begun:
            self._hand_over(None, start=False, end=True)
        for thread in self._at_work:
            self._wait(thread)

    def cancel(self) -> None:
        """End the sequence at the next fragment boundary.

        Raises:
            TritalkError: The stage does not take it.
        """
        if self._begun:
            self._stages.cancel_animation(self._sequence_id)

    def _hand_over(self, speech: Speech | None, *, start: bool, end: bool) -> None:
        while len(self._at_work) > 1:
            self._wait(self._at_work.pop(0))
        if self._failed or self._stop.is_set():
            return
        first_came = threading.Event()
        with self._lock:
            self._in_work += 1
            self._watch.beat("animate")
        thread = threading.Thread(
            target=self._receive,
            args=(speech, first_came),
            kwargs={"start": start, "end": end},
            name=f"animation-{self._sequence_id}",
            daemon=True,
        )
        self._at_work.append(thread)
        thread.start()
        while not first_came.wait(_POLL_S) and not self._stop.is_set():
            pass

    def _wait(self, thread: threading.Thread) -> None:
        while thread.is_alive() and not self._stop.is_set():
            thread.join(_POLL_S)

    def _receive(
        self, speech: Speech | None, first_came: threading.Event, *, start: bool, end: bool
    ) -> None:
        clause = speech.text if speech is not None else ""
        cancelled = False
        error: TritalkError | None = unforeseen("animate")
        try:
            pieces = self._stages.animate(
                self._sequence_id, self._options, speech, start=start, end=end
            )
            for fragment, media in pieces:
                first_came.set()
                if self._stop.is_set():
                    cancelled = cancelled or self._cancel_again()
                    continue
                self._watch.beat("animate")
                self._in_order(Piece(fragment, media, clause))
                clause = ""
            if self._stop.is_set() and not end and not cancelled:
                self._cancel_again()
            error = None
        except TritalkError as caught:
            error = caught
        finally:
            if error is not None:
                self._failed = True
                if not self._stop.is_set():
                    self._deliver(error)
            first_came.set()
            with self._lock:
                self._in_work -= 1
                if self._in_work == 0:
                    self._watch.rest("animate")

    def _cancel_again(self) -> bool:
        """Cancel once more: what ended the turn may have cancelled before the sequence began."""
        self.cancel()
        return True

    def _in_order(self, piece: Piece) -> None:
        """Two pieces are received by two threads; the file needs the order of the fragments."""
        with self._lock:
            self._early[piece.fragment.index] = piece
            while (following := self._early.pop(self._next_index, None)) is not None:
                self._next_index += 1
                self._deliver(following)
