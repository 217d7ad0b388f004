"""How long the client waits, and how it knows that an answer is overdue."""

from __future__ import annotations

from dataclasses import dataclass

from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event, Failure, Transcript, TurnCompleted, TurnStarted
from tritalk_client.question import Question, Spoken, Typed


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Deadlines in seconds.

    Attributes:
        connect_s: Until a connection stands, and until the server has opened a conversation.
        call_s: Until a call that is no turn (registering a portrait, transcribing) has returned.
        turn_s: From the end of a question to the end of its turn; for a narration, until its
            first fragment.
        stall_s: Longest silence of the server while it owes something, and longest wait for a turn
            after the last hands-free speech.
        close_s: Until the server has let go of a conversation that is being closed.
    """

    connect_s: float = 10.0
    call_s: float = 60.0
    turn_s: float = 120.0
    stall_s: float = 30.0
    close_s: float = 2.0


@dataclass(frozen=True)
class _Asked:
    at_s: float
    question: Question


class TurnWatch:
    """Knows what the server owes, and since when; has no clock of its own.

    A question is owed a turn from its end until the turn has ended, or until the server has
    refused it. A turn that the server begins of its own accord, after hands-free speech, is owed
    its end. Calls carry the time, in seconds of any monotonic clock.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._questions: dict[str, _Asked] = {}
        self._turns_s: dict[str, float] = {}
        self._alive_s = 0.0
        self._listens_until_s: float | None = None
        self._speech_ended_s: float | None = None

    @property
    def settled(self) -> bool:
        """Whether the server owes nothing."""
        return not self._questions and not self._turns_s

    @property
    def waiting(self) -> list[Question]:
        """The questions whose turn has not begun, in the order of their asking."""
        return [asked.question for asked in self._questions.values()]

    @property
    def running(self) -> str | None:
        """The turn that began last and has not ended."""
        return next(reversed(self._turns_s), None)

    def renewed(self) -> TurnWatch:
        """The watch of a new connection, on which nothing is owed yet."""
        renewed = TurnWatch(self._timeouts)
        renewed._listens_until_s = self._listens_until_s
        return renewed

    def expects_turns(self, now_s: float) -> bool:
        """Whether a turn may begin, or goes on, without another word of the user's."""
        until_s = self._listens_until_s
        return not self.settled or (until_s is not None and now_s < until_s)

    def asked(self, request_id: str, at_s: float, question: Question) -> None:
        """The question of this request ended, or will end, at `at_s`."""
        self._questions[request_id] = _Asked(at_s, question)
        self._alive_s = max(self._alive_s, at_s)

    def listens(self, at_s: float) -> None:
        """Hands-free speech went up: the server finds the questions in it."""
        self._listens_until_s = at_s + self._timeouts.stall_s

    def seen(self, event: Event, request_id: str, now_s: float) -> None:
        """The server sent an event in response to a request, whose id may be unknown (empty)."""
        self._alive_s = max(self._alive_s, now_s)
        match event:
            case Transcript(final=True, ignored=""):
                self._speech_ended_s = now_s - (event.since_speech_ms or 0.0) / 1000
            case TurnStarted():
                self._turns_s[event.turn_id] = self._asked_s(event, request_id, now_s)
            case TurnCompleted():
                self._turns_s.pop(event.turn_id, None)
            case Failure(turn_id=None):
                if not request_id and self._listens_until_s is None:
                    request_id = next(iter(self._questions), "")
                self._questions.pop(request_id, None)

    def asked_s(self, turn_id: str) -> float | None:
        """When the question of a turn ended, None when the turn is not under way."""
        return self._turns_s.get(turn_id)

    def patience_s(self, now_s: float) -> float | None:
        """Seconds until something is overdue, None while nothing is owed."""
        if self.settled:
            return None
        asked_s = [asked.at_s for asked in self._questions.values()]
        first_s = min([*asked_s, *self._turns_s.values()])
        deadline_s = min(self._alive_s + self._timeouts.stall_s, first_s + self._timeouts.turn_s)
        return deadline_s - now_s

    def overdue(self, now_s: float) -> TritalkError | None:
        """The error to raise when the server has been silent or slow for too long."""
        patience_s = self.patience_s(now_s)
        if patience_s is None or patience_s > 0:
            return None
        if now_s - self._alive_s >= self._timeouts.stall_s:
            return stalled(self._timeouts.stall_s)
        return TritalkError(
            ErrorCode.TIMEOUT,
            f"the turn did not end within {self._timeouts.turn_s:g} s: "
            "allow more time, or ask for a shorter answer",
        )

    def _asked_s(self, started: TurnStarted, request_id: str, now_s: float) -> float:
        """When the question of a turn that begins had ended."""
        question_id = self._question_of(started, request_id)
        if question_id:
            return self._questions.pop(question_id).at_s
        ended_s, self._speech_ended_s = self._speech_ended_s, None
        return now_s if ended_s is None else ended_s

    def _question_of(self, started: TurnStarted, request_id: str) -> str:
        """The request that asked the question of a turn, empty when none did."""
        if request_id in self._questions:
            return request_id
        if self._speech_ended_s is None or self._listens_until_s is None:
            # A turn may begin, and fail, before its question has been sent to the end.
            return next(iter(self._questions), "")
        # Hands-free speech may have begun it; a typed question is known by its words.
        words = started.question.strip()
        for each, asked in self._questions.items():
            question = asked.question
            typed = question.text.strip() if isinstance(question, Typed) else ""
            if not isinstance(question, Spoken) and typed == words:
                return each
        return ""


def stalled(seconds: float) -> TritalkError:
    """The error of a server that has gone silent while it owed something."""
    return TritalkError(
        ErrorCode.STALLED,
        f"the server sent nothing for {seconds:g} s in the middle of its work: "
        "see its log, then try again",
    )


class NarrationWatch:
    """Knows when the next fragment of a narration is overdue; has no clock of its own."""

    def __init__(self, timeouts: Timeouts, began_s: float) -> None:
        self._timeouts = timeouts
        # The first fragment waits for the speech of the whole script.
        self._limit_s = timeouts.turn_s
        self._alive_s = began_s

    def seen(self, now_s: float) -> None:
        """A fragment has come."""
        self._limit_s = self._timeouts.stall_s
        self._alive_s = now_s

    def patience_s(self, now_s: float) -> float:
        """Seconds until the next fragment is overdue."""
        return self._alive_s + self._limit_s - now_s

    def overdue(self) -> TritalkError:
        """The error to raise then."""
        return stalled(self._limit_s)
