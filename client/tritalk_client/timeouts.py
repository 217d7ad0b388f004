"""How long the client waits, and how it knows that an answer is overdue."""

from __future__ import annotations

from dataclasses import dataclass

from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event, Failure, TurnCompleted, TurnStarted


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Deadlines in seconds.

    Attributes:
        connect_s: Until a connection stands, and until the server has opened a conversation.
        call_s: Until a call that is no turn (registering a portrait, transcribing) has returned.
        turn_s: From the end of a question to the end of its turn; for a narration, until its
            first fragment.
        stall_s: Longest silence of the server while it owes something.
        close_s: Until the server has let go of a conversation that is being closed.
    """

    connect_s: float = 10.0
    call_s: float = 60.0
    turn_s: float = 120.0
    stall_s: float = 30.0
    close_s: float = 2.0


class TurnWatch:
    """Knows what the server owes, and since when; has no clock of its own.

    A question is owed a turn from its end until the turn has ended, or until the server has
    refused it. Calls carry the time, in seconds of any monotonic clock.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._questions_s: dict[str, float] = {}
        self._turns_s: dict[str, float] = {}
        self._alive_s = 0.0

    @property
    def settled(self) -> bool:
        """Whether the server owes nothing."""
        return not self._questions_s and not self._turns_s

    def asked(self, request_id: str, at_s: float) -> None:
        """The question of this request ended, or will end, at `at_s`."""
        self._questions_s[request_id] = at_s
        self._alive_s = max(self._alive_s, at_s)

    def seen(self, event: Event, request_id: str, now_s: float) -> None:
        """The server sent an event in response to a request, whose id may be unknown (empty)."""
        self._alive_s = max(self._alive_s, now_s)
        match event:
            case TurnStarted():
                # A turn may begin, and fail, before its question has been sent to the end.
                asked_s = self._take_question(request_id, or_first=True)
                self._turns_s[event.turn_id] = now_s if asked_s is None else asked_s
            case TurnCompleted():
                self._turns_s.pop(event.turn_id, None)
            case Failure(turn_id=None):
                self._take_question(request_id, or_first=not request_id)

    def patience_s(self, now_s: float) -> float | None:
        """Seconds until something is overdue, None while nothing is owed."""
        if self.settled:
            return None
        first_s = min([*self._questions_s.values(), *self._turns_s.values()])
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

    def _take_question(self, request_id: str, *, or_first: bool) -> float | None:
        if request_id not in self._questions_s and or_first:
            request_id = next(iter(self._questions_s), "")
        return self._questions_s.pop(request_id, None)


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
