"""One conversation: its settings, its history, the turn that is running."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tritalk import metrics
from tritalk.metrics import Registry
from tritalk.talker.clauses import ClauseSplitter
from tritalk.talker.clock import Now, StageClock
from tritalk.talker.history import History
from tritalk.talker.manner import Manner
from tritalk.talker.pipeline import Assignment
from tritalk.talker.reply import Reply
from tritalk.talker.settings import TalkerSettings
from tritalk.talker.stages import Stages, unforeseen
from tritalk.talker.turn import Turn
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_JOIN_S = 5.0
_WAITING_BYTES = int(wire.MAX_AUDIO_S * wire.INPUT_SAMPLE_RATE_HZ) * 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Submission:
    """A request with the time of its arrival."""

    request: wire.Request
    audio: bytes
    reply: Reply
    arrived_s: float


@dataclass
class _Utterance:
    """A question that is being spoken; one recognition sequence."""

    sequence_id: int
    turn_id: str
    failed: bool = False
    started: bool = False


class Session:
    """A conversation with a thread of its own, which takes the requests in their order.

    Args:
        stages: The other models.
        settings: Defaults and deadlines.
        registry: Where the metrics of turns go.
        now: A monotonic clock in seconds.
        on_closed: Called once when the conversation has ended, in its own thread.
    """

    def __init__(
        self,
        stages: Stages,
        settings: TalkerSettings,
        registry: Registry,
        now: Now,
        on_closed: Callable[[Session], None],
    ) -> None:
        self._stages = stages
        self._settings = settings
        self._registry = registry
        self._now = now
        self._on_closed = on_closed
        self._manner = Manner.default(settings)
        self._history = History(settings.history_chars)
        self._utterance: _Utterance | None = None
        self._turn: Turn | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._waiting_bytes = 0
        self._inbox: queue.SimpleQueue[_Submission | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)
        self._thread.start()

    def submit(self, request: wire.Request, audio: bytes, reply: Reply) -> None:
        """Take a request; returns at once. An interruption takes effect before it returns.

        Raises:
            TritalkError: BAD_REQUEST when the conversation has ended, BUSY when more audio waits
                than an utterance may have.
        """
        if isinstance(request, (wire.Interrupt, wire.Close)):
            self._interrupt()
        with self._lock:
            if self._closed:
                raise closed()
            if audio and self._waiting_bytes + len(audio) > _WAITING_BYTES:
                raise TritalkError(
                    ErrorCode.BUSY,
                    f"more than {wire.MAX_AUDIO_S:g} s of audio wait to be recognised, "
                    "send it at the speed of speech",
                )
            self._waiting_bytes += len(audio)
            self._inbox.put(_Submission(request, audio, reply, self._now()))

    def close(self, timeout_s: float = _JOIN_S) -> None:
        """End the conversation and wait so long for its threads."""
        self._interrupt()
        self._inbox.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _interrupt(self) -> None:
        turn = self._turn
        if turn is not None:
            turn.interrupt()

    def _run(self) -> None:
        try:
            while (submission := self._next()) is not None and self._serve(submission):
                pass
        finally:
            self._end_turn()
            with self._lock:
                self._closed = True
            # Nothing comes after what is in the inbox now.
            while not self._inbox.empty():
                left = self._inbox.get_nowait()
                if left is not None:
                    left.reply.refuse(closed())
            self._on_closed(self)

    def _next(self) -> _Submission | None:
        """The next request; None when the conversation was closed, or idle for too long."""
        while True:
            try:
                submission = self._inbox.get(timeout=self._settings.session_idle_s)
            except queue.Empty:
                if self._turn is not None and not self._turn.join(0.0):
                    continue
                _log.info("a conversation was idle for too long")
                return None
            if submission is not None:
                with self._lock:
                    self._waiting_bytes -= len(submission.audio)
            return submission

    def _serve(self, submission: _Submission) -> bool:
        """Serve one request, whatever happens; False when it ends the conversation."""
        served = False
        try:
            goes_on = self._take(submission)
            served = True
        finally:
            if not served:
                submission.reply.refuse(unforeseen("talker"))
        return goes_on

    def _take(self, submission: _Submission) -> bool:
        """Serve one request; False when it ends the conversation."""
        request, reply = submission.request, submission.reply
        try:
            if isinstance(request, wire.Audio):
                self._listen(request, submission)
            elif isinstance(request, wire.Ask):
                self._answer(submission, question=request.text)
            elif isinstance(request, wire.Say):
                self._answer(submission, script=request.text)
            elif isinstance(request, wire.Configure):
                self._configure(request)
                manner = self._manner
                reply.send(wire.Started(manner.avatar_id, manner.voice, manner.language))
                reply.close()
            else:
                self._end_turn()
                reply.close()
        except TritalkError as error:
            reply.refuse(error)
            return not (isinstance(request, wire.Configure) and not self._manner.avatar_id)
        return not isinstance(request, wire.Close)

    def _configure(self, request: wire.Configure) -> None:
        manner = self._manner.changed(request)
        if request.avatar_id is not None:
            self._stages.avatar(request.avatar_id)
        self._manner = manner

    def _listen(self, request: wire.Audio, submission: _Submission) -> None:
        """Pass a chunk on to recognition; answer when the question ends with it."""
        utterance = self._utterance or _Utterance(secrets.randbits(63) | 1, _new_turn_id())
        self._utterance = None if request.end_of_speech else utterance
        reply = submission.reply
        clock = StageClock(submission.arrived_s, self._now)
        options = wire.RecognitionOptions(self._manner.language, request.sample_rate_hz)
        try:
            if utterance.failed:
                reply.close()
                return
            start, utterance.started = not utterance.started, True
            transcript = self._stages.recognise(
                utterance.sequence_id,
                submission.audio,
                options,
                start=start,
                end=request.end_of_speech,
            )
        except TritalkError as error:
            utterance.failed = True
            self._fail_turn(utterance.turn_id, error, clock, reply)
            return
        if not request.end_of_speech:
            reply.close()
            return
        clock.mark("transcript")
        reply.send(transcript)
        self._answer(submission, question=transcript.text, turn_id=utterance.turn_id, clock=clock)

    def _fail_turn(
        self, turn_id: str, error: TritalkError, clock: StageClock, reply: Reply
    ) -> None:
        """Tell that a question could not be understood; there is nothing to answer."""
        reply.send(wire.TurnStarted(turn_id, ""))
        reply.send(wire.Failure(error.stage, error.code, error.message, error.retryable, turn_id))
        clock.mark("total")
        reply.send(wire.TurnCompleted(turn_id, "failed", "", 0.0, clock.times))
        reply.close()
        self._registry(metrics.TURNS, "failed").increment(1)

    def _answer(
        self,
        submission: _Submission,
        *,
        question: str = "",
        script: str = "",
        turn_id: str = "",
        clock: StageClock | None = None,
    ) -> None:
        # First, so that the prompt has what was heard of the answer before.
        self._end_turn()
        settings, manner = self._settings, self._manner
        prompt = (
            self._history.prompt(manner.system_prompt, manner.examples, question)
            if question
            else []
        )
        self._turn = Turn(
            self._stages,
            Assignment(
                turn_id=turn_id or _new_turn_id(),
                animation_id=secrets.randbits(63) | 1,
                avatar_id=manner.avatar_id,
                voice=manner.voice,
                speed=manner.speed,
                question=question,
                messages=prompt,
                sampling=manner.sampling,
                script=script,
            ),
            submission.reply,
            clock or StageClock(submission.arrived_s, self._now),
            ClauseSplitter(
                first_clause_chars=settings.first_clause_chars, clause_chars=settings.clause_chars
            ),
            {
                "llm": settings.llm_timeout_s,
                "tts": settings.tts_timeout_s,
                "animate": settings.animate_timeout_s,
            },
            self._now,
            self._record,
        )
        self._turn.start()

    def _end_turn(self) -> None:
        """Interrupt the answer that is being given and wait for its end."""
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.interrupt()
            if not turn.join(_JOIN_S):
                _log.warning("turn %s did not end in time", turn.assignment.turn_id)

    def _record(self, turn: Turn) -> None:
        """Keep what was heard, and the figures of the turn."""
        heard = turn.text if turn.outcome == "answered" else " ".join(turn.spoken)
        if turn.outcome != "failed":
            self._history.add(turn.assignment.question, heard.strip())
        self._registry(metrics.TURNS, turn.outcome).increment(1)
        for stage, milliseconds in turn.clock.shares().items():
            self._registry(metrics.TURN_LATENCY, stage).observe(milliseconds)
        if turn.interrupt_latency_ms is not None:
            self._registry(metrics.TURN_INTERRUPT).observe(turn.interrupt_latency_ms)


def _new_turn_id() -> str:
    return secrets.token_hex(6)


def closed() -> TritalkError:
    """The error of a request to a conversation that has ended."""
    return TritalkError(
        ErrorCode.BAD_REQUEST,
        "this conversation is closed; open one with the START of a sequence",
    )
