"""One turn: relays an answer to the client, in order, at its pace and within deadlines."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

from tritalk.playback import Playback
from tritalk.talker.animation import Piece
from tritalk.talker.clock import Now, StageClock
from tritalk.talker.heard import Spoken, heard_text
from tritalk.talker.pipeline import Assignment, Finished, Source, Wake
from tritalk.talker.reply import Reply
from tritalk.talker.stages import unforeseen
from tritalk.talker.watch import StageWatch
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

Outcome = Literal["answered", "interrupted", "failed", "discarded"]
Cause: TypeAlias = Literal["speech", "request", "question", "gone"]

_LOOK_S = 0.25
"""How often a turn looks whether its client is still there; a look is a message to Triton."""


class Turn:
    """Gives an answer in a thread of its own.

    It may begin held back: the answer is made, and the client hears nothing of it. `release` gives
    it to the client, `discard` ends it without a trace. Once released it ends with one
    `TurnCompleted`, whatever happens, after which the reply is closed. A paced answer ends when it
    has been played.

    Args:
        assignment: What to do.
        source: Where the answer comes from.
        clock: Stamps of this turn.
        watch: Knows when a stage of the source is overdue.
        lead_s: Most seconds of media that the client holds; None is no bound.
        kept_bytes: Media that is kept until the end, for who wants to store the answer.
        now: A monotonic clock in seconds.
        on_end: Called once, in the turn's own thread, when how it ends is certain, and before the
            client is told.
        on_told: Called once, in the turn's own thread, when nobody waits for it any more.
    """

    def __init__(
        self,
        assignment: Assignment,
        source: Source,
        clock: StageClock,
        watch: StageWatch,
        *,
        lead_s: float | None,
        kept_bytes: int,
        now: Now,
        on_end: Callable[[Turn], None],
        on_told: Callable[[Turn], None],
    ) -> None:
        self.assignment = assignment
        self.clock = clock
        self.outcome: Outcome = "failed"
        self.media_s = 0.0
        """Seconds of media that were sent."""
        self.interrupt_latency_ms: float | None = None
        self.pieces: list[Piece] | None = []
        """The media that was sent; None when it is more than is kept."""
        self._source = source
        self._watch = watch
        self._lead_s = lead_s
        self._kept_bytes = kept_bytes
        self._now = now
        self._on_end = on_end
        self._on_told = on_told
        self._playback = Playback()
        self._clauses: list[Spoken] = []
        self._reply: Reply | None = None
        self._discarded = False
        self._interrupted_s: float | None = None
        self._cause: Cause = "request"
        self._error: TritalkError | None = None
        self._began = False
        self._finished = False
        self._words: deque[wire.ReplyText] = deque()
        self._waiting: deque[Piece] = deque()
        self._looked_s = now()
        self._ended = threading.Event()
        self._ending = threading.Lock()
        self._told = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"turn-{assignment.turn_id}", daemon=True
        )

    @property
    def text(self) -> str:
        """The whole answer as far as it was made."""
        return self._source.text.strip()

    @property
    def released(self) -> bool:
        """Whether the client hears of it."""
        return self._reply is not None

    @property
    def ended(self) -> bool:
        """Whether how it ends is certain: nothing more is sent of the answer."""
        return self._ended.is_set()

    @property
    def heard_s(self) -> float:
        """Seconds of the answer that had been played when it was cut off; all of it otherwise."""
        if self._interrupted_s is None or self._lead_s is None:
            return self.media_s
        return min(self.media_s, self._playback.position_s(self._interrupted_s))

    @property
    def heard(self) -> str:
        """The words of the answer that were heard."""
        if self.outcome == "answered":
            return self.text
        return heard_text(self._clauses, self.heard_s)

    @property
    def spoken(self) -> str:
        """The words of the answer that the client has, played or about to be."""
        return " ".join(clause.text for clause in list(self._clauses))

    def start(self, reply: Reply | None = None) -> None:
        """Begin to make the answer; returns at once.

        Args:
            reply: Where it goes; None holds it back until it is released.
        """
        self._reply = reply
        self._thread.start()

    def release(self, reply: Reply) -> bool:
        """Give the answer to the client through `reply`, which the turn closes.

        Returns:
            False when the turn has failed already; `reply` is not used then.
        """
        with self._ending:
            if self._ended.is_set():
                return False
            self._reply = reply
        self._source.outbox.put(Wake())
        return True

    def discard(self) -> None:
        """End an answer that was not released; returns at once."""
        self._discarded = True
        self._source.outbox.put(Wake())

    def interrupt(self, cause: Cause) -> None:
        """Cut the answer off; returns at once."""
        if self._interrupted_s is None:
            self._cause = cause
            self._interrupted_s = self._now()
        self._source.outbox.put(Wake())

    def wait(self, timeout_s: float) -> bool:
        """Wait until the client has been told of the end; False when that was not in time."""
        return self._told.wait(timeout_s)

    def join(self, timeout_s: float) -> bool:
        """Wait until the stages have been told, too; False when that was not in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._source.start()
        self._error = unforeseen("talker")
        try:
            self.outcome = self._relay()
            self._error = None
        except TritalkError as caught:
            self._error = caught
        finally:
            with self._ending:
                self._ended.set()
            self._source.stop()
            if self.outcome != "answered":
                self._source.cancel()
            if self._interrupted_s is not None and self.outcome == "interrupted":
                self.interrupt_latency_ms = (self._now() - self._interrupted_s) * 1000
            try:
                self._end()
            finally:
                self._told.set()
                self._source.join()
            self._on_told(self)

    def _end(self) -> None:
        """Tell how the turn ended."""
        reply = self._reply
        if reply is None:
            self._on_end(self)
            return
        try:
            self._tell_end(reply)
        finally:
            # Whatever happens: Triton keeps a request that is not closed for good.
            reply.close()

    def _tell_end(self, reply: Reply) -> None:
        turn_id = self.assignment.turn_id
        self._begin(reply)
        error = self._error
        if error is not None:
            reply.send(
                wire.Failure(error.stage, error.code, error.message, error.retryable, turn_id)
            )
        if self.outcome == "interrupted":
            heard_s = round(self.heard_s, 3)
            reply.send(wire.Interrupted(turn_id, heard_s, self.heard, self._cause))
        self.clock.mark("total")
        # Before the last event, so that a client who asks again at once finds it in the history.
        self._on_end(self)
        reply.send(
            wire.TurnCompleted(
                turn_id,
                "failed" if self.outcome == "discarded" else self.outcome,
                self.text,
                round(self.media_s, 3),
                self.clock.times,
                self._source.usage,
            )
        )

    def _relay(self) -> Outcome:
        """Pass on what the source makes until the client has played the last of it."""
        while True:
            if self._discarded:
                return "discarded"
            if self._interrupted_s is not None:
                return "interrupted"
            reply = self._reply
            if reply is not None:
                self._begin(reply)
                if self._is_gone(reply):
                    self.interrupt("gone")
                    continue
                self._pass_on(reply)
                if self._finished and not self._waiting and self._is_played():
                    return "answered"
            self._take(self._patience_s())

    def _patience_s(self) -> float:
        """How long the next look can wait."""
        waits = [_LOOK_S, max(0.0, self._watch.patience_s())]
        if self._reply is not None:
            if self._waiting:
                waits.append(self._wait_s(self._waiting[0]))
            elif self._finished:
                waits.append(self._playback.lead_s(self._now()))
        return min(waits)

    def _take(self, timeout_s: float) -> None:
        """Take the next thing that the source has made, if it comes in time."""
        try:
            item = self._source.outbox.get(timeout=max(timeout_s, 1e-4))
        except queue.Empty:
            late = self._watch.overdue()
            if late is not None:
                raise late from None
            return
        if isinstance(item, TritalkError):
            raise item
        if isinstance(item, Finished):
            if not self._clauses and not any(piece.clause for piece in self._waiting):
                raise self._speechless()
            self._finished = True
        elif isinstance(item, wire.ReplyText):
            self._words.append(item)
        elif isinstance(item, Piece):
            self._waiting.append(item)

    def _begin(self, reply: Reply) -> None:
        if not self._began:
            self._began = True
            assignment = self.assignment
            reply.send(wire.TurnStarted(assignment.turn_id, assignment.question, assignment.cached))

    def _is_gone(self, reply: Reply) -> bool:
        if self._now() - self._looked_s < _LOOK_S:
            return False
        self._looked_s = self._now()
        return reply.cancelled()

    def _pass_on(self, reply: Reply) -> None:
        """Send all that may be sent now."""
        while self._words:
            reply.send(self._words.popleft())
        while self._waiting and self._wait_s(self._waiting[0]) <= 0:
            if self._interrupted_s is not None:
                return
            self._send(reply, self._waiting.popleft())

    def _wait_s(self, piece: Piece) -> float:
        """Seconds until a piece may be sent: until the client would hold no more than he may."""
        if self._lead_s is None:
            return 0.0
        held_s = self._playback.lead_s(self._now())
        # A piece that is longer than the lead by itself goes when there is nothing else to play.
        return min(held_s, held_s + piece.fragment.duration_s - self._lead_s)

    def _is_played(self) -> bool:
        return self._lead_s is None or self._playback.lead_s(self._now()) <= 0

    def _speechless(self) -> TritalkError:
        if self.assignment.messages:
            return TritalkError(ErrorCode.INTERNAL, "the answer has no words to speak", stage="llm")
        return TritalkError(
            ErrorCode.NOTHING_TO_SAY, "the text has no words to speak", stage="talker"
        )

    def _send(self, reply: Reply, piece: Piece) -> None:
        fragment = piece.fragment
        if fragment.spoken:
            self.clock.mark("first_frame")
        self._playback.sent(fragment.duration_s, self._now())
        self.media_s = fragment.start_s + fragment.duration_s
        self._note(piece)
        reply.send(
            wire.Media(
                self.assignment.turn_id,
                fragment.index,
                fragment.start_s,
                fragment.duration_s,
                fragment.frames,
                fragment.spoken,
                self.clock.times,
                piece.clause,
            ),
            piece.media,
        )

    def _note(self, piece: Piece) -> None:
        """Remember which words lie where, and the media while it is not too much."""
        fragment = piece.fragment
        if piece.clause:
            self._clauses.append(Spoken(piece.clause, fragment.start_s, self.media_s))
        elif self._clauses and fragment.spoken:
            last = self._clauses[-1]
            self._clauses[-1] = Spoken(last.text, last.start_s, self.media_s)
        self._kept_bytes -= len(piece.media)
        if self.pieces is not None and self._kept_bytes >= 0:
            self.pieces.append(piece)
        else:
            self.pieces = None
