"""One sequence: what is heard in it, and jobs for the recognition."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from tritalk.asr import text
from tritalk.asr.ear import Ear, Sound
from tritalk.asr.endpointing import Change, Endpointer
from tritalk.asr.job import Job, Urgency
from tritalk.asr.manner import WINDOW_S, Manner
from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.asr.pace import Pace
from tritalk.asr.plan import plan_end, plan_growing
from tritalk.asr.reply import Reply
from tritalk.asr.tape import Tape
from tritalk.asr.teller import Meters, Teller
from tritalk.asr.utterance import Spelling, Utterance
from tritalk.asr.vad import WINDOW
from tritalk.asr.whisper import Tokens
from tritalk_client.errors import TritalkError

_STALL_S = 1.5
_STALL_CHUNKS = 1.5
"""Audio that is late by so long, and so many chunks, will not come for a while: a client that sends
speech alone has ended it. Less would cut questions in two where the machine is busy."""

_REAL_PAUSE = 6
"""Windows of silence in which no word is going on; 0.2 s."""

_PIECE_S = 5.0
"""A piece of an utterance may end in a real pause from here on."""


class Stream:
    """One sequence. Every method is called under one lock, and time is passed in.

    What is said of the sequence goes to the reply of its latest chunk, which stays open as long as
    there may be more to say before the next chunk comes.

    Args:
        ear: Listens to its audio; used by whoever takes chunks in, without the lock.
        manner: How it is treated.
        spelling: What the model's tokens mean.
        meters: Where latencies go.
        now_s: A clock that only rises.

    Attributes:
        ear: See the arguments.
        touched_s: When the last chunk came.
    """

    def __init__(
        self, ear: Ear, manner: Manner, spelling: Spelling, meters: Meters, now_s: float
    ) -> None:
        self.ear = ear
        self.touched_s = now_s
        self._manner = manner
        self._spelling = spelling
        self._teller = Teller(manner, meters)
        self._pace = Pace(now_s)
        self._endpointer = Endpointer(manner.hysteresis)
        self._audio = Tape()
        self._probabilities = Tape()
        self._utterance: Utterance | None = None
        """The one that goes on."""
        self._over: deque[Utterance] = deque()
        """Those whose final transcript is not out yet."""
        self._utterances = 0
        self._free = 0
        """The first sample that is of no utterance yet."""
        self._busy = False
        """Whether a job is being recognised."""
        self._stall_s = _STALL_S
        self._spoken_s = now_s
        """When the last speech came, or the sequence began."""
        self._told_silence = False

    @property
    def gone(self) -> bool:
        """Whether there is nothing more to do for it."""
        return self._teller.gone

    @property
    def buffered_s(self) -> float:
        """Seconds of audio held for utterances that have not ended."""
        pending = [*self._over, *([self._utterance] if self._utterance else [])]
        if not pending or self.gone:
            return 0.0
        return (self._audio.end - pending[0].begin) / SAMPLE_RATE_HZ

    @property
    def wake_s(self) -> float:
        """When `tick` has something to do, unless audio comes before."""
        if self.gone or self._utterance is None or not self._manner.endpointing:
            return float("inf")
        missing_s = (self._limit() - self._endpointer.silent) * WINDOW_S
        return self.touched_s + max(missing_s, self._stall_s)

    def hear(self, sound: Sound, reply: Reply, *, end: bool, now_s: float) -> None:
        """Go on with a chunk.

        Args:
            sound: What `ear` made of it.
            reply: Takes what is said of the sequence from here on.
            end: Whether it is the last.
            now_s: When it came.
        """
        self._teller.answer_on(reply)
        self._teller.received += sound.length
        self.touched_s = now_s
        self._stall_s = max(_STALL_S, _STALL_CHUNKS * sound.duration_s)
        self._pace.took(sound.duration_s, now_s)
        self._audio.append(sound.samples)
        self._probabilities.append(sound.probabilities)
        spoke = self._endpointer.speaking and not len(sound.probabilities)
        for probability in sound.probabilities:
            self._window(float(probability), now_s)
            spoke |= self._endpointer.speaking
        if end:
            self._end(now_s)
        elif spoke:
            self._tell_speech()
        elif self._utterance is None:
            self._tell_silence(now_s)
        self._rest()

    def tick(self, now_s: float) -> None:
        """End an utterance whose audio does not come any more."""
        if now_s >= self.wake_s:
            self._close_if_silent(now_s - self.touched_s, now_s)
            self._rest()

    def due(self) -> Job | None:
        """What is to be recognised now; the caller does, and calls `take`, `put_off` or `fail`."""
        urgency = self._wanted()
        if urgency is None:
            return None
        if self._teller.unheard:
            self.drop()
            return None
        self._busy = True
        if self._utterance is None or self._over:
            over = self._over[0]
            plan = plan_end(over, self._audio, self._probabilities)
            return Job(over, urgency, plan, over.last, over.arrived_s)
        plan = plan_growing(self._utterance, self._audio, self._probabilities)
        return Job(self._utterance, urgency, plan, self._endpointer.last, self.touched_s)

    def put_off(self) -> None:
        """The job that was due is not begun; it comes again, with what has been heard by then."""
        self._busy = False

    def take(self, job: Job, found: Sequence[Tokens], now_s: float) -> None:
        """Go on with what has been recognised.

        Args:
            job: The job.
            found: The tokens of each of its clips.
            now_s: The time.
        """
        self._busy = False
        if self.gone:
            return
        utterance, plan = job.utterance, job.plan
        if plan.settling:
            utterance.settle(found[: plan.settling], plan.begin)
        for tokens in found[plan.settling :]:
            utterance.hear(tokens, plan.covered, frozen=plan.frozen)
        if job.urgency is not Urgency.PARTIAL and plan.covered >= utterance.end:
            utterance.paused_at = job.last
        if utterance is self._utterance:
            paused = utterance.paused_at == self._endpointer.last
            self._teller.growing(utterance, paused=paused, arrived_s=job.arrived_s, now_s=now_s)
            utterance.settle_recognised_pause()
            self._close_if_silent(0.0, now_s)
        self._deliver(now_s)
        self._rest()

    def fail(self, error: TritalkError) -> None:
        """End the sequence with an error."""
        self._teller.fail(error)

    def drop(self) -> None:
        """End the sequence without a word."""
        self._teller.drop()

    def _window(self, probability: float, now_s: float) -> None:
        endpointer, manner = self._endpointer, self._manner
        change = endpointer.hear(probability)
        if change is Change.BEGUN:
            begin = max(self._free, endpointer.resumed * WINDOW - manner.margin)
            number, self._utterances = self._utterances, self._utterances + 1
            self._utterance = Utterance(number, begin, manner.language, self._spelling)
            self._told_silence = False
        utterance = self._utterance
        if utterance is None:
            return
        if change is Change.RESUMED and self._pace.is_live:
            self._note_pause(utterance)
        if endpointer.speaking:
            utterance.spoken, utterance.arrived_s = endpointer.spoken, now_s
            self._spoken_s = now_s
        elif manner.endpointing and endpointer.silent >= self._limit():
            self._close(endpointer.heard * WINDOW, now_s)

    def _note_pause(self, utterance: Utterance) -> None:
        """Let a piece that has become long end in the pause that is just over."""
        paused, resumed = self._endpointer.paused, self._endpointer.resumed
        piece_s = paused * WINDOW_S - utterance.begin / SAMPLE_RATE_HZ
        if resumed - paused >= _REAL_PAUSE and piece_s >= _PIECE_S:
            before = min(self._manner.margin, (resumed - paused) * WINDOW // 2)
            utterance.pause_was(paused, resumed * WINDOW - before)

    def _limit(self) -> int:
        """Windows of silence that end the utterance."""
        utterance = self._utterance
        pause_is_known = utterance is not None and utterance.paused_at == self._endpointer.last
        if utterance is not None and pause_is_known and text.is_complete(utterance.text):
            return self._manner.sentence_end
        return self._manner.end

    def _close_if_silent(self, missing_s: float, now_s: float) -> None:
        """End the utterance when it has been silent for long enough.

        Args:
            missing_s: Time without audio that counts as silence.
            now_s: The time.
        """
        if self._utterance is None or not self._manner.endpointing:
            return
        if self._endpointer.silent + missing_s / WINDOW_S >= self._limit():
            self._close(self._audio.end, now_s)

    def _close(self, heard: int, now_s: float) -> None:
        """The utterance is over.

        Args:
            heard: The sample up to which it is known that nobody speaks.
            now_s: The time.
        """
        utterance = self._utterance
        if utterance is None:
            return
        utterance.last, utterance.ended_s = self._endpointer.last, now_s
        utterance.end = min(self._endpointer.last * WINDOW + self._manner.margin, heard)
        self._free = utterance.end
        self._endpointer.end()
        self._utterance = None
        self._over.append(utterance)
        self._deliver(now_s)

    def _end(self, now_s: float) -> None:
        self._teller.ended_s = now_s
        if self._utterance is not None:
            self._close(self._audio.end, now_s)
        elif not self._manner.endpointing:
            self._teller.nothing_said()

    def _wanted(self) -> Urgency | None:
        if self._busy or self.gone:
            return None
        if self._over:
            waited_for = self._pace.is_live or self._teller.ended_s is not None
            return Urgency.FINAL if waited_for else Urgency.BACKLOG
        utterance, endpointer = self._utterance, self._endpointer
        if utterance is None or not self._pace.is_live:
            return None
        if endpointer.silent >= self._manner.pause:
            return None if utterance.paused_at == endpointer.last else Urgency.PAUSE
        covered = max(utterance.covered, endpointer.resumed * WINDOW)
        due = endpointer.speaking and self._audio.end - covered >= self._manner.interval
        return Urgency.PARTIAL if due else None

    def _deliver(self, now_s: float) -> None:
        """Say what is final: the pause at the end of it has been recognised, or all of it."""
        while self._over and self._over[0].paused_at == self._over[0].last:
            utterance = self._over.popleft()
            last = self._teller.ended_s is not None and not self._over
            self._teller.final(utterance, last=last, now_s=now_s)

    def _tell_speech(self) -> None:
        # There is none when its final transcript is out already.
        utterance = self._utterance or (self._over[-1] if self._over else None)
        if utterance is not None:
            self._teller.speaking(utterance)

    def _tell_silence(self, now_s: float) -> None:
        heard_s = self._audio.end / SAMPLE_RATE_HZ - self._endpointer.last * WINDOW_S
        silent_s = max(heard_s, now_s - self._spoken_s)
        timeout_s = self._manner.silence_timeout_s
        if timeout_s and silent_s >= timeout_s and not self._told_silence:
            self._told_silence = True
            self._teller.silence(silent_s)

    def _rest(self) -> None:
        """Forget what is not needed any more, and end the responses when nothing will follow."""
        kept = self._endpointer.heard * WINDOW - self._manner.margin
        kept -= (1 + self._manner.hysteresis.windows) * WINDOW
        pending = [*self._over, *([self._utterance] if self._utterance else [])]
        kept = min([kept, *(utterance.begin for utterance in pending)])
        self._audio.forget(kept)
        self._probabilities.forget(kept // WINDOW)
        waiting = self._busy or self._wanted() is not None
        ended = self._teller.ended_s is not None
        if self._manner.endpointing and not ended:
            waiting |= self._utterance is not None
        if not waiting and ended:
            self.drop()
        elif not waiting:
            self._teller.pause()
