"""Making turns: out of the stages, or out of the cache of answers."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from tritalk import metrics
from tritalk.metrics import Registry
from tritalk.talker.answers import AnswerCache, StoredAnswer, StoredPiece
from tritalk.talker.clauses import ClauseSplitter
from tritalk.talker.clock import Now, StageClock
from tritalk.talker.memory import Memory
from tritalk.talker.pipeline import Assignment, Pipeline, Source
from tritalk.talker.replayed import Replayed
from tritalk.talker.settings import TalkerSettings
from tritalk.talker.stages import Stages
from tritalk.talker.turn import Turn
from tritalk.talker.watch import StageWatch
from tritalk_client.errors import TritalkError

_log = logging.getLogger(__name__)


class Answering:
    """Makes the turns of one conversation, and keeps what comes of them.

    Args:
        stages: The other models.
        settings: Defaults and deadlines.
        registry: Where the metrics of turns go.
        memory: What was said.
        answers: The cache of answers.
        settle: Called before the language model is asked.
        now: A monotonic clock in seconds.
        ended: Takes a turn that has ended, in the turn's thread.
    """

    def __init__(
        self,
        stages: Stages,
        settings: TalkerSettings,
        registry: Registry,
        memory: Memory,
        answers: AnswerCache,
        *,
        settle: Callable[[], None],
        now: Now,
        ended: Callable[[Turn], None],
    ) -> None:
        self._stages = stages
        self._settings = settings
        self._registry = registry
        self._memory = memory
        self._answers = answers
        self._settle = settle
        self._now = now
        self._ended = ended

    def make(
        self, turn_id: str, clock: StageClock, *, question: str = "", script: str = ""
    ) -> Turn:
        """A turn that has not begun."""
        manner, settings = self._memory.manner, self._settings
        alone = not self._memory.messages
        key = ""
        if question and manner.answer_cache and (alone or settings.answer_cache_any_turn):
            key = self._answers.key(question, manner)
        stored = self._answers.find(key) if key else None
        assignment = Assignment(
            turn_id=turn_id,
            animation_id=secrets.randbits(62) | 1,
            animation=manner.animation(),
            voice=manner.voice,
            speed=manner.speed,
            question=question,
            messages=self._memory.prompt(question) if question else [],
            sampling=manner.sampling,
            script=script,
            cached=stored is not None,
            # What was said before may have shaped the answer, and is not to be told to others.
            cache_key=key if stored is None and alone else "",
        )
        limits_s = {
            "llm": settings.llm_timeout_s,
            "tts": settings.tts_timeout_s,
            "animate": settings.animate_timeout_s,
        }
        watch = StageWatch(limits_s, self._now)
        source: Source
        if stored is not None:
            source = Replayed(turn_id, stored, clock)
        else:
            splitter = ClauseSplitter(
                first_clause_chars=settings.first_clause_chars,
                first_clause_longest_chars=settings.first_clause_longest_chars,
                clause_chars=settings.clause_chars,
            )
            source = Pipeline(self._stages, assignment, clock, splitter, watch, self._settle)
        return Turn(
            assignment,
            source,
            clock,
            watch,
            lead_s=manner.lead_s if manner.paced else None,
            kept_bytes=settings.answer_max_mib * 2**20 if assignment.cache_key else 0,
            now=self._now,
            on_end=self._record,
            on_told=self._trim,
        )

    def count_failed(self) -> None:
        """Count a turn that failed before it began."""
        self._registry(metrics.TURNS, "failed").increment(1)

    def _record(self, turn: Turn) -> None:
        """Remember what was heard, and count."""
        try:
            if turn.released:
                self._count(turn)
                if turn.outcome in ("answered", "interrupted"):
                    self._memory.add(turn.assignment.question, turn.heard)
                    # Who goes on with the session at once, elsewhere, finds this turn in it.
                    self._memory.save()
                self._keep_answer(turn)
        finally:
            # A conversation that does not hear of the end of a turn is never idle.
            self._ended(turn)

    def _keep_answer(self, turn: Turn) -> None:
        key = turn.assignment.cache_key
        if key and turn.outcome == "answered" and turn.pieces:
            pieces = (StoredPiece(p.fragment, p.media, p.clause) for p in turn.pieces)
            self._answers.put(key, StoredAnswer(turn.text, tuple(pieces)))

    def _trim(self, turn: Turn) -> None:
        """Keep the history short; nobody waits for that."""
        if turn.outcome not in ("answered", "interrupted"):
            return
        try:
            if self._memory.trim(self._stages.count_tokens):
                self._memory.save()
        except TritalkError as error:
            _log.warning("the history is not trimmed this time: %s", error)

    def _count(self, turn: Turn) -> None:
        self._registry(metrics.TURNS, turn.outcome).increment(1)
        for stage, milliseconds in turn.clock.shares().items():
            self._registry(metrics.TURN_LATENCY, stage).observe(milliseconds)
        if turn.interrupt_latency_ms is not None:
            self._registry(metrics.TURN_INTERRUPT).observe(turn.interrupt_latency_ms)
