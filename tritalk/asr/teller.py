"""Says what is heard in a sequence, on the reply of its latest chunk."""

from __future__ import annotations

from dataclasses import dataclass

from tritalk.asr import text
from tritalk.asr.manner import WINDOW_S, Manner
from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.asr.reply import Reply
from tritalk.asr.utterance import Utterance
from tritalk.metrics import Instrument
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import Hearing, Silence, Speaking, Transcript


@dataclass(frozen=True)
class Meters:
    """Where latencies are measured, in milliseconds."""

    final: Instrument
    partial: Instrument


class Teller:
    """Says what is heard in one sequence.

    Args:
        manner: How the sequence is treated.
        meters: Where latencies go.

    Attributes:
        received: Samples that have come.
        ended_s: When the sequence's last chunk came.
        gone: Whether nothing will be said any more.
    """

    def __init__(self, manner: Manner, meters: Meters) -> None:
        self.received = 0
        self.ended_s: float | None = None
        self.gone = False
        self._manner = manner
        self._meters = meters
        self._reply: Reply | None = None

    @property
    def unheard(self) -> bool:
        """Whether nobody waits for what is said."""
        return self._reply is not None and self._reply.cancelled()

    def answer_on(self, reply: Reply) -> None:
        """From here on, answer another chunk."""
        self.pause()
        self._reply = reply

    def pause(self) -> None:
        """There is nothing more to say before the next chunk comes."""
        if self._reply is not None:
            self._reply.close()
        self._reply = None

    def drop(self) -> None:
        """There is nothing more to say."""
        self.pause()
        self.gone = True

    def fail(self, error: TritalkError) -> None:
        """End with an error."""
        if self._reply is not None:
            self._reply.fail(error)
        self._reply, self.gone = None, True

    def nothing_said(self) -> None:
        """End with the error that there was no speech."""
        if not self.received:
            self.fail(TritalkError(ErrorCode.BAD_AUDIO, "there is no audio in the sequence"))
            return
        seconds = self.received / SAMPLE_RATE_HZ
        message = f"nobody speaks in the {seconds:.1f} s of audio; check the microphone"
        self.fail(TritalkError(ErrorCode.NO_SPEECH, message))

    def speaking(self, utterance: Utterance) -> None:
        """Somebody speaks."""
        self._say(Speaking(utterance.number, utterance.spoken * WINDOW_S))

    def silence(self, silent_s: float) -> None:
        """Nobody has spoken for a long time."""
        self._say(Silence(silent_s))

    def growing(
        self, utterance: Utterance, *, paused: bool, arrived_s: float, now_s: float
    ) -> None:
        """Say what has been understood so far, if that is a word.

        Args:
            utterance: Which goes on, perhaps.
            paused: Whether nobody has spoken since.
            arrived_s: When the last audio that the text covers came.
            now_s: The time.
        """
        if not text.says_something(utterance.text):
            return
        self._meters.partial.observe((now_s - arrived_s) * 1000)
        since_ms = (now_s - utterance.arrived_s) * 1000 if paused else None
        covered = utterance.covered - (utterance.first if self._manner.endpointing else 0)
        self._say(
            Transcript(
                text=utterance.text,
                final=False,
                audio_s=covered / SAMPLE_RATE_HZ,
                language=self._manner.language,
                utterance=utterance.number,
                stable=utterance.stable,
                paused=paused,
                since_speech_ms=since_ms,
            )
        )

    def final(self, utterance: Utterance, *, last: bool, now_s: float) -> None:
        """Say what has been understood in an utterance that is over.

        Args:
            utterance: It.
            last: Whether it is the last of a sequence that has ended.
            now_s: The time.
        """
        endpointing = self._manner.endpointing
        said = utterance.text if text.says_something(utterance.text) else ""
        if not said and not endpointing:
            self.nothing_said()
            return
        asked_s = utterance.arrived_s if endpointing or self.ended_s is None else self.ended_s
        self._meters.final.observe((now_s - asked_s) * 1000)
        endpoint_ms = (utterance.ended_s - utterance.arrived_s) * 1000
        length = utterance.end - utterance.first if endpointing else self.received
        transcript = Transcript(
            text=said,
            final=True,
            audio_s=length / SAMPLE_RATE_HZ,
            language=self._manner.language,
            utterance=utterance.number,
            stable=said,
            since_speech_ms=(now_s - utterance.arrived_s) * 1000,
            endpoint_ms=endpoint_ms if endpointing else None,
        )
        self._say(transcript, last=last)

    def _say(self, hearing: Hearing, *, last: bool = False) -> None:
        if self._reply is None:
            return
        self._reply.send(hearing, last=last)
        if last:
            self._reply, self.gone = None, True
