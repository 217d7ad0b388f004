"""One thread for each turn, so that taking a request never waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tritalk.animate.turn import NO_SAMPLES, Media, Turn
from tritalk.audio import Samples
from tritalk_client.errors import ErrorCode, TritalkError

_STOP_S = 5.0


class Reply(Protocol):
    """Where the media of one request goes; ends with `done` or `fail`, once."""

    @property
    def gone(self) -> bool:
        """Whether nobody listens any more."""

    def send(self, media: Media) -> None:
        """One fragment."""

    def done(self) -> None:
        """No more follows."""

    def fail(self, error: TritalkError) -> None:
        """No more follows, because of this."""


@dataclass(frozen=True)
class Piece:
    """One request of a sequence."""

    reply: Reply
    samples: Samples
    last: bool = False
    cancel: bool = False


class Sequence:
    """Animates the pieces of one turn in their order, in a thread that ends with the turn.

    The turn ends with its last piece, a cancel, a failure, `idle_timeout_s` without a request, a
    listener that has gone, or `stop`; pieces that wait then are answered with the reason.

    Args:
        name: The thread's name.
        open_turn: Makes the turn; runs in the thread.
        idle_timeout_s: Longest wait for the next piece.
        queued_pieces: Most pieces that wait.
        queued_samples: Most samples that wait; a piece that waits alone may have more.
        on_end: Called once, in the thread, when no more pieces are taken.
    """

    def __init__(
        self,
        name: str,
        open_turn: Callable[[], Turn],
        *,
        idle_timeout_s: float,
        queued_pieces: int,
        queued_samples: int,
        on_end: Callable[[Sequence], None],
    ) -> None:
        self._open_turn = open_turn
        self._idle_timeout_s = idle_timeout_s
        self._queued_pieces = queued_pieces
        self._queued_samples = queued_samples
        self._on_end = on_end
        self._changed = threading.Condition()
        self._waiting: deque[Piece] = deque()
        self._in_work: Piece | None = None
        self._turn: Turn | None = None
        self._cancelled = False
        self._over: TritalkError | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def begin(self, first: Piece) -> None:
        """Start the thread with the first piece."""
        self._waiting.append(first)
        self._thread.start()

    def put(self, piece: Piece) -> None:
        """Take the next piece; a `cancel` goes before all that wait.

        Raises:
            TritalkError: BUSY when too many wait, or the reason why the turn is over.
        """
        with self._changed:
            if self._over is not None:
                raise self._over
            if not piece.cancel:
                self._check_room(piece)
            self._waiting.append(piece)
            if piece.cancel:
                self._cancel()
            self._changed.notify()

    def cancel(self) -> None:
        """End the turn after the step in work."""
        with self._changed:
            self._cancel()
            self._changed.notify()

    def join(self) -> None:
        """Wait until the thread of a turn that was cancelled has ended."""
        self._thread.join(timeout=_STOP_S)

    def _check_room(self, piece: Piece) -> None:
        if not self._waiting:
            return
        samples = sum(len(waiting.samples) for waiting in self._waiting) + len(piece.samples)
        if len(self._waiting) >= self._queued_pieces:
            limit = "queued_pieces"
        elif len(piece.samples) and samples > self._queued_samples:
            limit = "queued_s"
        else:
            return
        raise TritalkError(
            ErrorCode.BUSY,
            f"{len(self._waiting)} pieces of this answer wait already ({limit}); "
            "send the next one when media has come",
        )

    def _cancel(self) -> None:
        self._cancelled = True
        if self._turn is not None:
            self._turn.cancel()

    def _run(self) -> None:
        reason = TritalkError(
            ErrorCode.INTERNAL, "the animation ended unexpectedly; the server's log says why"
        )
        try:
            reason = self._animate()
        except TritalkError as error:
            reason = error
        finally:
            # Also when something unforeseen ends the thread: no request stays without an answer.
            with self._changed:
                self._over = reason
                left = [piece for piece in (self._in_work, *self._waiting) if piece is not None]
                self._waiting.clear()
            self._on_end(self)
            for piece in left:
                if piece.cancel:
                    # The turn is over, which is all that a cancel wants.
                    piece.reply.done()
                else:
                    piece.reply.fail(reason)

    def _animate(self) -> TritalkError:
        """Work until the turn ends; returns what later pieces are told."""
        turn = self._open_turn()
        try:
            with self._changed:
                self._turn = turn
                if self._cancelled:
                    turn.cancel()
            while (piece := self._next()) is not None:
                self._answer(piece, turn.speak(piece.samples, piece.last, self._following))
                if piece.last and not self._cancelled:
                    return _ended("it has ended")
            if not self._cancelled:
                return _ended(f"it was idle for {self._idle_timeout_s:g} s")
            while (piece := self._next_cancel()) is not None:
                self._answer(piece, turn.finish())
            return _ended("it was cancelled", ErrorCode.CANCELLED)
        finally:
            with self._changed:
                self._turn = None
            turn.close()

    def _answer(self, piece: Piece, media: Iterator[Media]) -> None:
        for fragment in media:
            piece.reply.send(fragment)
            if piece.reply.gone:
                self.cancel()
        piece.reply.done()
        self._in_work = None

    def _next(self) -> Piece | None:
        """The next piece, None when the turn is cancelled or was idle for too long."""
        with self._changed:
            self._changed.wait_for(self._is_called, timeout=self._idle_timeout_s)
            if self._cancelled or not self._waiting:
                return None
            self._in_work = self._waiting.popleft()
            return self._in_work

    def _is_called(self) -> bool:
        return bool(self._waiting) or self._cancelled

    def _next_cancel(self) -> Piece | None:
        with self._changed:
            for piece in self._waiting:
                if piece.cancel:
                    self._waiting.remove(piece)
                    self._in_work = piece
                    return piece
            return None

    def _following(self) -> Samples:
        with self._changed:
            return self._waiting[0].samples if self._waiting else NO_SAMPLES


def _ended(how: str, code: ErrorCode = ErrorCode.BAD_REQUEST) -> TritalkError:
    return TritalkError(
        code, f"this answer takes no more speech: {how}; begin the next one with START"
    )
