"""One turn: relays what the pipeline makes to the client, in order and within deadlines."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Literal

from tritalk.talker.animation import Piece
from tritalk.talker.clauses import ClauseSplitter
from tritalk.talker.clock import Now, StageClock
from tritalk.talker.pipeline import Assignment, Finished, Pipeline, Wake
from tritalk.talker.reply import Reply
from tritalk.talker.stages import Stages, unforeseen
from tritalk.talker.watch import StageWatch
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

Outcome = Literal["answered", "interrupted", "failed"]

_LOOK_S = 0.25
"""How often a turn looks whether its client is still there; a look is a message to Triton."""


class Turn:
    """Runs an assignment in threads of its own and tells the client through `reply`.

    Whatever happens, the turn ends with one `TurnCompleted`, after which `on_done` is called and
    `reply` is closed.

    Args:
        stages: The other models.
        assignment: What to do.
        reply: Where events and media go.
        clock: Stamps of this turn.
        splitter: Cuts the answer into clauses.
        limits_s: Longest silence of `llm`, `tts` and `animate`, in seconds.
        now: A monotonic clock in seconds.
        on_done: Called once at the end, in the turn's own thread.
    """

    def __init__(
        self,
        stages: Stages,
        assignment: Assignment,
        reply: Reply,
        clock: StageClock,
        splitter: ClauseSplitter,
        limits_s: Mapping[str, float],
        now: Now,
        on_done: Callable[[Turn], None],
    ) -> None:
        self.assignment = assignment
        self.clock = clock
        self.outcome: Outcome = "failed"
        self.spoken: list[str] = []
        """The clauses whose media was sent, or begun to be."""
        self.media_s = 0.0
        self.interrupt_latency_ms: float | None = None
        self._reply = reply
        self._now = now
        self._on_done = on_done
        self._watch = StageWatch(limits_s, now)
        self._pipeline = Pipeline(stages, assignment, clock, splitter, self._watch)
        self._interrupted_s: float | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"turn-{assignment.turn_id}", daemon=True
        )

    @property
    def text(self) -> str:
        """The whole answer as far as it was made."""
        return self._pipeline.text

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def interrupt(self) -> None:
        """Cut the answer off; returns at once."""
        if self._interrupted_s is None:
            self._interrupted_s = self._now()
        self._pipeline.outbox.put(Wake())

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False when it has not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        turn_id = self.assignment.turn_id
        self._reply.send(wire.TurnStarted(turn_id, self.assignment.question))
        self._pipeline.start()
        error: TritalkError | None = unforeseen("talker")
        try:
            self.outcome = self._relay()
            error = None
        except TritalkError as caught:
            error = caught
        finally:
            if self._interrupted_s is not None:
                self.interrupt_latency_ms = (self._now() - self._interrupted_s) * 1000
            self._pipeline.stop(cancel=self.outcome != "answered")
            self._end(error)

    def _end(self, error: TritalkError | None) -> None:
        """Tell how the turn ended."""
        turn_id = self.assignment.turn_id
        if error is not None:
            self._reply.send(
                wire.Failure(error.stage, error.code, error.message, error.retryable, turn_id)
            )
        if self.outcome == "interrupted":
            spoken = " ".join(self.spoken)
            self._reply.send(wire.Interrupted(turn_id, round(self.media_s, 3), spoken))
        self.clock.mark("total")
        # Before the last event, so that a client who asks again at once finds it in the history.
        self._on_done(self)
        self._reply.send(
            wire.TurnCompleted(
                turn_id,
                self.outcome,
                self.text.strip(),
                round(self.media_s, 3),
                self.clock.times,
                self._pipeline.usage,
            )
        )
        self._reply.close()

    def _relay(self) -> Outcome:
        """Pass on what the stages make until the last of it."""
        looked_s = self._now()
        while True:
            if self._interrupted_s is not None:
                return "interrupted"
            if self._now() - looked_s >= _LOOK_S:
                looked_s = self._now()
                if self._reply.cancelled():
                    return "interrupted"
            patience_s = min(_LOOK_S, max(0.0, self._watch.patience_s()))
            try:
                item = self._pipeline.outbox.get(timeout=patience_s)
            except queue.Empty:
                late = self._watch.overdue()
                if late is not None:
                    raise late from None
                continue
            if isinstance(item, TritalkError):
                raise item
            if isinstance(item, Finished):
                if not self.spoken:
                    raise self._speechless()
                return "answered"
            if isinstance(item, wire.ReplyText):
                self._reply.send(item)
            elif isinstance(item, Piece):
                self._send_media(item)

    def _speechless(self) -> TritalkError:
        if self.assignment.messages:
            return TritalkError(ErrorCode.INTERNAL, "the answer has no words to speak", stage="llm")
        return TritalkError(
            ErrorCode.NOTHING_TO_SAY, "the text has no words to speak", stage="talker"
        )

    def _send_media(self, piece: Piece) -> None:
        fragment = piece.fragment
        if fragment.spoken:
            self.clock.mark("first_frame")
        if piece.clause:
            self.spoken.append(piece.clause)
        self.media_s = fragment.start_s + fragment.duration_s
        self._reply.send(
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
