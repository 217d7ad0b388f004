"""Words, voice and picture of one answer, each made while the next is under way."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from tritalk.talker.animation import Animation, Piece
from tritalk.talker.clauses import ClauseSplitter, ends_sentence
from tritalk.talker.clock import StageClock
from tritalk.talker.stages import Speech, Stages, unforeseen
from tritalk.talker.watch import StageWatch
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_CANCEL_TIMEOUT_S = 1.0
_POLL_S = 1.0
_CLAUSES_AHEAD = 2

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assignment:
    """What a turn has to do."""

    turn_id: str
    animation_id: int
    """Sequence id of its animation."""
    animation: wire.AnimateOptions
    voice: str
    speed: float
    question: str
    messages: Sequence[wire.ChatMessage]
    """The prompt; empty when `script` is spoken as it is."""
    sampling: wire.Sampling
    script: str = ""
    cached: bool = False
    """Whether the answer is there already."""
    cache_key: str = ""
    """Under which the answer is to be kept; empty when it is not."""


class Finished:
    """The animation has ended; nothing follows."""


class Wake:
    """Not a product: the reader of the outbox should look up."""


Item: TypeAlias = wire.ReplyText | Piece | TritalkError | Finished | Wake


class Source(Protocol):
    """Where an answer comes from: the stages, or the cache."""

    outbox: queue.SimpleQueue[Item]
    text: str
    """The answer so far."""
    usage: wire.Usage | None

    def start(self) -> None:
        """Begin to fill the outbox; returns at once."""
        ...

    def stop(self) -> None:
        """Put nothing more into the outbox; returns at once."""
        ...

    def cancel(self) -> None:
        """Have the stages stop what they still do for this answer; returns at once."""
        ...

    def join(self) -> None:
        """Wait until they have been told, for a moment at the most."""
        ...


class Pipeline:
    """A `Source` of fresh answers: language model, voice and animation in a thread each.

    The threads are joined by queues; what they make, and the first error, goes to `outbox`.

    Args:
        stages: The other models.
        assignment: What to do.
        clock: Stamped with each stage's first result.
        splitter: Cuts the answer into clauses.
        watch: Told when a stage works and when it rests.
        settle: Called before the language model is asked.
    """

    def __init__(
        self,
        stages: Stages,
        assignment: Assignment,
        clock: StageClock,
        splitter: ClauseSplitter,
        watch: StageWatch,
        settle: Callable[[], None],
    ) -> None:
        self.outbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self.text = ""
        self.usage: wire.Usage | None = None
        self._stages = stages
        self._assignment = assignment
        self._clock = clock
        self._splitter = splitter
        self._watch = watch
        self._settle = settle
        self._stop = threading.Event()
        self._spoke = False
        self._animation = Animation(
            stages,
            assignment.animation_id,
            assignment.animation,
            self.outbox.put,
            watch,
            self._stop,
        )
        self._clauses: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._speeches: queue.SimpleQueue[Speech | None] = queue.SimpleQueue()
        self._cancels: list[threading.Thread] = []
        # The voice is at most so many clauses ahead of the picture.
        self._room = threading.BoundedSemaphore(_CLAUSES_AHEAD)

    def start(self) -> None:
        """See `Source.start`."""
        for worker in (self._think, self._speak, self._animate):
            self._spawn(self._guard, worker)

    def stop(self) -> None:
        """See `Source.stop`."""
        self._stop.set()
        self._clauses.put(None)
        self._speeches.put(None)

    def cancel(self) -> None:
        """See `Source.cancel`."""
        self._cancels = [
            self._spawn(self._attempt, self._cancel_generation),
            self._spawn(self._attempt, self._animation.cancel),
        ]

    def join(self) -> None:
        """See `Source.join`."""
        for thread in self._cancels:
            thread.join(_CANCEL_TIMEOUT_S)

    def _spawn(
        self, target: Callable[[Callable[[], None]], None], work: Callable[[], None]
    ) -> threading.Thread:
        name = f"{self._assignment.turn_id}-{work.__name__}"
        thread = threading.Thread(target=target, args=(work,), name=name, daemon=True)
        thread.start()
        return thread

    def _guard(self, worker: Callable[[], None]) -> None:
        error: TritalkError | None = unforeseen("talker")
        try:
            worker()
            error = None
        except TritalkError as caught:
            error = caught
        finally:
            if error is not None:
                self.outbox.put(error)

    def _attempt(self, cancel: Callable[[], None]) -> None:
        try:
            cancel()
        except TritalkError as error:
            _log.warning("turn %s: cancel: %s", self._assignment.turn_id, error)

    def _cancel_generation(self) -> None:
        if self._assignment.messages:
            self._stages.cancel_generation(self._assignment.turn_id)

    def _next(self, source: queue.SimpleQueue[_T | None]) -> _T | None:
        """The next item of a queue; None at its end and when the turn is over."""
        while not self._stop.is_set():
            try:
                return source.get(timeout=_POLL_S)
            except queue.Empty:
                continue
        return None

    def _think(self) -> None:
        """Ask the language model, or take the script, and cut the words into clauses."""
        if self._assignment.messages:
            self._settle()
            self._watch.beat("llm")
            self._generate()
            self._watch.rest("llm")
        else:
            self.text = self._assignment.script
            self._say(self._splitter.feed(self.text))
        self._say_rest()
        self._clauses.put(None)

    def _generate(self) -> None:
        assignment = self._assignment
        stream = self._stages.generate(assignment.turn_id, assignment.messages, assignment.sampling)
        for item in stream:
            # A stream that was cancelled is read to its end, which frees it.
            if self._stop.is_set():
                continue
            self._watch.beat("llm")
            if isinstance(item, wire.Usage):
                self.usage = item
                continue
            self._clock.mark("first_token")
            self.text += item
            self.outbox.put(wire.ReplyText(assignment.turn_id, item, self._clock.times))
            self._say(self._splitter.feed(item))
        self._clock.mark("last_token")

    def _say_rest(self) -> None:
        """Speak what is left; half a sentence at the token limit is dropped after a whole one."""
        rest = self._splitter.flush()
        cut_off = self.usage is not None and self.usage.finish_reason == "length"
        if cut_off and self._spoke and rest and not ends_sentence(rest[-1]):
            for word in reversed(rest.pop().split()):
                self.text = self.text.rstrip().removesuffix(word)
        self._say(rest)

    def _say(self, clauses: list[str]) -> None:
        for clause in clauses:
            self._spoke = True
            self._clock.mark("first_clause")
            self._clauses.put(clause)

    def _speak(self) -> None:
        """Turn clauses into speech."""
        while (clause := self._next(self._clauses)) is not None and self._wait_for_room():
            self._watch.beat("tts")
            speech = self._synthesise(clause)
            self._watch.rest("tts")
            if speech is None:
                self._room.release()
                continue
            self._clock.mark("first_audio")
            self._speeches.put(speech)
        self._speeches.put(None)

    def _wait_for_room(self) -> bool:
        """Wait until the picture has caught up; False when the turn is over."""
        while not self._stop.is_set():
            if self._room.acquire(timeout=_POLL_S):
                return True
        return False

    def _synthesise(self, clause: str) -> Speech | None:
        """The speech of a clause; None when it has nothing to say, as a line of code has not."""
        try:
            return self._stages.synthesise(clause, self._assignment.voice, self._assignment.speed)
        except TritalkError as error:
            if error.code is ErrorCode.NOTHING_TO_SAY:
                return None
            raise

    def _animate(self) -> None:
        """Turn speech into media."""
        while (speech := self._next(self._speeches)) is not None:
            self._animation.speak(speech)
            self._room.release()
        self._animation.finish()
        if not self._stop.is_set():
            self.outbox.put(Finished())
