"""The conversation itself: who speaks, what is taken for a question, when it is answered."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tritalk import metrics
from tritalk.metrics import Registry
from tritalk.talker.answering import Answering
from tritalk.talker.clock import Now, StageClock
from tritalk.talker.ears import Ears, Heard, Microphone, new_turn_id
from tritalk.talker.memory import Memory
from tritalk.talker.read_ahead import ReadAhead
from tritalk.talker.reply import Reply, SharedReply
from tritalk.talker.settings import TalkerSettings
from tritalk.talker.shared import Shared
from tritalk.talker.stages import Stages
from tritalk.talker.turn import Cause, Turn
from tritalk_client import wire
from tritalk_client.errors import TritalkError

_END_S = 5.0
_ECHO_S = 2.0
"""How long the portrait's last words may still come back through the microphone."""

_log = logging.getLogger(__name__)


class Dialogue:
    """One conversation's turn taking. Only `interrupt` may be called by several threads.

    Args:
        stages: The other models.
        settings: Defaults and deadlines.
        registry: Where the metrics of turns go.
        shared: What all conversations share.
        memory: What this one remembers.
        now: A monotonic clock in seconds.
        heard: Takes what is heard, in any thread, and hands it to `hear`.
        ended: Takes a turn that has ended, in the turn's thread, and hands it to `turn_ended`.
    """

    def __init__(
        self,
        stages: Stages,
        settings: TalkerSettings,
        registry: Registry,
        shared: Shared,
        memory: Memory,
        now: Now,
        *,
        heard: Heard,
        ended: Callable[[Turn], None],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._memory = memory
        self._now = now
        self._ears = Ears(stages, heard, now)
        self._ahead = ReadAhead(stages, enabled=settings.read_ahead)
        self._answering = Answering(
            stages,
            settings,
            registry,
            memory,
            shared.answers,
            settle=self._ahead.settle,
            now=now,
            ended=ended,
        )
        self._outlet: SharedReply | None = None
        """The latest request for audio: what is heard goes there."""
        self._ended_microphones: set[Microphone] = set()
        """Those through which something may still be heard."""
        self._turn: Turn | None = None
        self._guess: Turn | None = None
        """An answer to what may be the whole question; nobody has heard of it yet."""
        self._said = ("", 0.0)
        """What the portrait said last, and when it ended."""

    def begin(self) -> None:
        """Have the language model read what every prompt begins with from now on."""
        self._discard_guess()
        self._ahead.read(self._memory.opening())

    def interrupt(self, cause: Cause) -> None:
        """Cut off the answer that is being given; returns at once."""
        turn = self._turn
        if turn is not None:
            turn.interrupt(cause)

    def is_abandoned(self) -> bool:
        """Whether the client has gone without a goodbye; a look is a message to Triton."""
        return self._outlet is not None and self._outlet.cancelled()

    def is_answering(self) -> bool:
        """Whether an answer is being given."""
        return self._turn is not None and not self._turn.ended

    def has_turn(self) -> bool:
        """Whether there is an answer whose end has not been taken yet by `turn_ended`."""
        return self._turn is not None

    def close(self) -> None:
        """End all that is under way."""
        self._ears.close()
        turns = [turn for turn in (self._turn, self._guess) if turn is not None]
        self._discard_guess()
        self._end_turn("gone")
        for turn in turns:
            turn.join(_END_S)
        self._ahead.settle()
        for microphone in list(self._ended_microphones):
            if microphone.ear is not None:
                microphone.ear.close()
            self._let_go(microphone)
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None

    def _let_go(self, microphone: Microphone) -> None:
        """Nothing more is heard through this microphone."""
        self._ended_microphones.discard(microphone)
        reply, microphone.reply = microphone.reply, None
        if reply is not None:
            reply.close()

    # --- what the client sends ---------------------------------------------------------------

    def listen(self, request: wire.Audio, pcm: bytes, reply: Reply) -> None:
        """Take a chunk of speech."""
        # First, since a chunk that is refused takes nothing from the one before.
        microphone = self._ears.hear(request, pcm, self._memory.manner)
        outlet = SharedReply(reply)
        before, self._outlet = self._outlet, outlet
        if before is not None:
            before.close()
        if not microphone.ended:
            return
        self._outlet = None
        if microphone.failed or microphone.ear is None:
            outlet.close()
        else:
            microphone.reply = outlet
            self._ended_microphones.add(microphone)

    def ask(self, question: str, reply: Reply, arrived_s: float) -> None:
        """Answer a typed question."""
        self._answer(reply, StageClock(arrived_s, self._now), question=question)

    def say(self, script: str, reply: Reply, arrived_s: float) -> None:
        """Speak given words."""
        self._answer(reply, StageClock(arrived_s, self._now), script=script)

    # --- what comes back ---------------------------------------------------------------------

    def hear(self, microphone: Microphone, hearing: wire.Hearing | TritalkError | None) -> None:
        """Take what was heard through a microphone."""
        if isinstance(hearing, TritalkError):
            self._cannot_hear(microphone, hearing)
        elif isinstance(hearing, wire.Speaking):
            self._speaking(microphone, hearing)
        elif isinstance(hearing, wire.Silence):
            self._tell(microphone, hearing)
        elif isinstance(hearing, wire.Transcript):
            if hearing.final:
                self._understood(microphone, hearing)
            else:
                self._words(microphone, hearing)
        if hearing is None:
            self._discard_guess()
        if hearing is None or isinstance(hearing, TritalkError):
            self._let_go(microphone)

    def turn_ended(self, turn: Turn) -> None:
        """Take a turn that has ended."""
        if not turn.released:
            self._registry(metrics.SPECULATIONS, "discarded").increment(1)
            return
        self._said = (turn.spoken, self._now())
        if self._turn is turn:
            self._turn = None
            if self._guess is None:
                self._ahead.read(self._memory.opening())

    def _speaking(self, microphone: Microphone, heard: wire.Speaking) -> None:
        manner, floor = self._memory.manner, microphone.floor
        if floor.is_new(heard.utterance):
            self._tell(microphone, heard)
        self._discard_guess()
        if floor.speaking(
            heard,
            answering=self.is_answering(),
            interrupt_ms=manner.interrupt_ms,
            echo_guard=manner.echo_guard,
        ):
            self.interrupt("speech")

    def _words(self, microphone: Microphone, heard: wire.Transcript) -> None:
        manner = self._memory.manner
        answering, spoken = self.is_answering(), self._spoken()
        self._tell(microphone, heard)
        if microphone.floor.words(heard, spoken, answering=answering, echo_guard=manner.echo_guard):
            self.interrupt("speech")
        if answering or self._turn is not None or (manner.echo_guard and spoken):
            return
        if heard.paused and microphone.hands_free and self._settings.speculation:
            self._make_guess(microphone, heard)
        elif heard.stable:
            self._ahead.read(self._memory.prompt(heard.stable))

    def _make_guess(self, microphone: Microphone, heard: wire.Transcript) -> None:
        """Begin to answer what may be the whole question."""
        _, question = microphone.floor.verdict(heard, "", echo_guard=False)
        if self._guess is not None and self._guess.assignment.question == question:
            return
        self._discard_guess()
        if question:
            self._guess = self._answering.make(new_turn_id(), self._clock(heard), question=question)
            self._guess.start()

    def _understood(self, microphone: Microphone, heard: wire.Transcript) -> None:
        """Answer what was said, if it was meant for the portrait."""
        if not microphone.hands_free:
            self._tell(microphone, heard)
            reply = microphone.reply
            if reply is not None:
                clock = StageClock(microphone.heard_s, self._now)
                clock.mark("transcript")
                self._answer(reply.share(), clock, question=heard.text, turn_id=microphone.turn_id)
            return
        verdict, question = microphone.floor.verdict(
            heard, self._spoken(), echo_guard=self._memory.manner.echo_guard
        )
        heard.ignored = verdict if verdict in ("back_channel", "echo") else ""
        # Also of an utterance without words: it has ended.
        reply = self._tell(microphone, heard)
        if verdict != "question":
            self._discard_guess()
        elif reply is not None:
            self._answer_speech(reply, heard, question)

    def _answer_speech(self, reply: SharedReply, heard: wire.Transcript, question: str) -> None:
        share = reply.share()
        guess, self._guess = self._guess, None
        if guess is not None:
            fits = guess.assignment.question == question
            if fits:
                self._end_turn("question")
                self._stamp(guess.clock, heard)
            if fits and guess.release(share):
                self._registry(metrics.SPECULATIONS, "used").increment(1)
                self._turn = guess
                return
            guess.discard()
        clock = self._clock(heard)
        self._stamp(clock, heard)
        self._answer(share, clock, question=question)

    def _answer(
        self,
        reply: Reply,
        clock: StageClock,
        *,
        question: str = "",
        script: str = "",
        turn_id: str = "",
    ) -> None:
        self._discard_guess()
        # Before the next is made, so that its prompt has what was heard of this one.
        self._end_turn("question")
        self._turn = self._answering.make(
            turn_id or new_turn_id(), clock, question=question, script=script
        )
        self._turn.start(reply)

    def _cannot_hear(self, microphone: Microphone, error: TritalkError) -> None:
        self._ears.lose(microphone)
        if microphone.hands_free:
            self._discard_guess()
            failure = wire.Failure(error.stage, error.code, error.message, error.retryable)
            self._tell(microphone, failure)
            return
        reply = microphone.reply or self._outlet
        if reply is None:
            return
        turn_id = microphone.turn_id
        clock = StageClock(microphone.heard_s, self._now)
        clock.mark("total")
        reply.send(wire.TurnStarted(turn_id, ""))
        reply.send(wire.Failure(error.stage, error.code, error.message, error.retryable, turn_id))
        reply.send(wire.TurnCompleted(turn_id, "failed", "", 0.0, clock.times))
        self._answering.count_failed()

    def _tell(self, microphone: Microphone, event: wire.Event) -> SharedReply | None:
        """Send what was heard; returns where it went."""
        reply = microphone.reply or self._outlet
        if reply is not None:
            reply.send(event)
        return reply

    def _clock(self, heard: wire.Transcript) -> StageClock:
        """A clock from the end of the speech that a transcript covers."""
        return StageClock(self._now() - (heard.since_speech_ms or 0.0) / 1000, self._now)

    def _stamp(self, clock: StageClock, heard: wire.Transcript) -> None:
        clock.mark("transcript")
        if heard.endpoint_ms is not None:
            # On the way from recognition the end of speech is known a little less exactly.
            clock.mark("endpoint", min(heard.endpoint_ms, clock.times.transcript or 0.0))

    def _spoken(self) -> str:
        """What the portrait is saying, or has said a moment ago."""
        if self._turn is not None:
            return self._turn.spoken
        text, ended_s = self._said
        return text if self._now() - ended_s < _ECHO_S else ""

    def _discard_guess(self) -> None:
        guess, self._guess = self._guess, None
        if guess is not None:
            guess.discard()

    def _end_turn(self, cause: Cause) -> None:
        """Interrupt the answer that is being given and wait for its end."""
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.interrupt(cause)
            if not turn.wait(_END_S):
                _log.warning("turn %s did not end in time", turn.assignment.turn_id)
