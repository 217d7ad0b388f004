"""Who may speak: what the user's sounds mean while the portrait answers. No clock, no threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tritalk.talker import echo
from tritalk_client.wire import Speaking, Transcript

Verdict: TypeAlias = Literal["question", "back_channel", "echo", "nothing"]

_FOREIGN_WORDS = 2
"""Words that are not the portrait's own before a user whose microphone hears it interrupts. A few
at the end of an echo must be heard twice, since there recognition slips; one does where it is
certain."""


@dataclass
class _Utterance:
    number: int
    during_answer: bool = False
    took_floor: bool = False
    spoken: str = ""
    """What the portrait has said while the utterance went on."""
    doubtful: bool = False
    """Whether the transcript before had words that are not the portrait's."""


@dataclass
class Floor:
    """Judges the utterances of one open microphone."""

    _now: _Utterance = field(default_factory=lambda: _Utterance(-1))

    def speaking(
        self, heard: Speaking, *, answering: bool, interrupt_ms: int, echo_guard: bool
    ) -> bool:
        """Whether the answer that is being given must stop now.

        Args:
            heard: The user makes a sound.
            answering: Whether an answer is being given.
            interrupt_ms: Speech that interrupts it.
            echo_guard: Whether a sound may be the portrait's own, so that words must tell.
        """
        utterance = self._utterance(heard.utterance)
        utterance.during_answer |= answering
        if echo_guard or heard.speech_s * 1000 < interrupt_ms:
            return False
        # Also when the answer has ended meanwhile: what goes on is no back-channel sound.
        utterance.took_floor = True
        return answering

    def words(self, heard: Transcript, spoken: str, *, answering: bool, echo_guard: bool) -> bool:
        """Whether the answer must stop for what the user has said so far.

        Args:
            heard: A transcript that is not final.
            spoken: What the portrait is saying, and has said a moment ago.
            answering: Whether an answer is being given.
            echo_guard: As of `speaking`.
        """
        utterance = self._utterance(heard.utterance)
        if not echo_guard:
            return False
        utterance.spoken = spoken or utterance.spoken
        if not utterance.spoken:
            return False
        utterance.during_answer |= answering
        words = len(heard.text.split())
        foreign = len(echo.without(heard.text, utterance.spoken).split())
        certain = len(echo.without(heard.stable, utterance.spoken).split())
        doubtful, utterance.doubtful = utterance.doubtful, foreign >= _FOREIGN_WORDS
        if not certain and not (utterance.doubtful and (doubtful or 2 * foreign >= words)):
            return False
        utterance.took_floor = True
        return answering

    def is_new(self, number: int) -> bool:
        """Whether nothing of this utterance has been heard yet."""
        return number != self._now.number

    def verdict(self, heard: Transcript, spoken: str, *, echo_guard: bool) -> tuple[Verdict, str]:
        """What an utterance was, and the words of the user's in it.

        Args:
            heard: Its transcript.
            spoken: As of `words`; for an utterance that was too short for a transcript before.
            echo_guard: As of `speaking`.
        """
        utterance = self._utterance(heard.utterance)
        text = heard.text.strip()
        spoken = utterance.spoken or spoken
        if echo_guard and spoken:
            own = echo.without(text, spoken)
            words, own_words = len(text.split()), len(own.split())
            utterance.took_floor |= own_words >= _FOREIGN_WORDS and 2 * own_words >= words
            # Fewer than that at the end of an echo are misheard ones.
            if words and 2 * own_words < words and not utterance.took_floor:
                return "echo", ""
            text = own
        if not any(character.isalnum() for character in text):
            return "nothing", ""
        if utterance.during_answer and not utterance.took_floor:
            return "back_channel", text
        return "question", text

    def _utterance(self, number: int) -> _Utterance:
        if self.is_new(number):
            self._now = _Utterance(number)
        return self._now
