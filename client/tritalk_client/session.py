"""What a conversation says and hears, without any I/O; shared by both sides of the SDK."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import msgspec

from tritalk_client import audio, events, wire
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event, Failure, Reconnected, Started
from tritalk_client.outbox import Outgoing
from tritalk_client.protocol import (
    StreamResponse,
    from_server,
    infer_request,
    model_error,
    new_sequence_id,
    output_bytes,
)
from tritalk_client.question import Question, Script, Spoken, Typed
from tritalk_client.timeouts import Timeouts, TurnWatch
from tritalk_client.turns import TurnBook

MODEL = "talker"
"""The model that holds conversations."""

CHUNK_S = 0.1
"""Length of the chunks that a recording is sent in."""


@dataclass(frozen=True)
class _Loss:
    """What a lost connection took with it."""

    turn_id: str | None
    sent_again: int
    unanswered: int


class Session:
    """One conversation: one sequence of requests to the model `talker`.

    After the connection was lost it may be opened again, as another sequence.

    Args:
        server: The address, for messages.
        timeouts: Deadlines.
        settings: What the conversation begins with.
    """

    def __init__(self, server: str, timeouts: Timeouts, settings: wire.Configure) -> None:
        self.sequence_id = 0
        self.watch = TurnWatch(timeouts)
        self.turns = TurnBook()
        self.started: Started | None = None
        self.opened = False
        """Whether the server has taken the sequence."""
        self.asked_s = 0.0
        """The end of the latest question."""
        self._server = server
        self._timeouts = timeouts
        self._settings = settings
        self._unconfirmed: dict[str, wire.Configure] = {}
        self._numbers = itertools.count(1)
        self._utterance_id = ""
        self._utterance_lost = False
        self._spoken_until_s = 0.0
        self._loss = _Loss(None, 0, 0)

    def open(self, now_s: float) -> list[Outgoing]:
        """The requests that begin the sequence, and ask again what was not answered before."""
        self.opened = False
        self.sequence_id = new_sequence_id()
        waiting, changes = self.watch.waiting, list(self._unconfirmed.values())
        typed = [question for question in waiting if not isinstance(question, Spoken)]
        lost_turn = self.watch.running
        if self.started is not None:
            unanswered = len(waiting) - len(typed) + bool(self._utterance_id)
            self._lose(_Loss(lost_turn, len(typed), unanswered))
        settings = self._settings
        if self.started is not None and self.started.session_id:
            settings = msgspec.structs.replace(settings, session_id=self.started.session_id)
        outgoing = [self._message(settings, now_s, start=True)]
        for change in changes:
            outgoing.append(self.configure(change, now_s))
        for question in typed:
            outgoing += self.pose(question, now_s)
        return outgoing

    def configure(self, settings: wire.Configure, now_s: float) -> Outgoing:
        """Change settings; those left out keep their value."""
        request_id = self._new_id()
        self._unconfirmed[request_id] = settings
        return self._message(settings, now_s, request_id=request_id)

    def audio(
        self, pcm: bytes, now_s: float, *, end_of_speech: bool = False, hands_free: bool = False
    ) -> list[Outgoing]:
        """A chunk of live speech."""
        message = wire.Audio(end_of_speech=end_of_speech, hands_free=hands_free)
        if hands_free:
            self.watch.listens(now_s)
            return [self._message(message, now_s, pcm)]
        if self._utterance_lost:
            # Half a question is none: the user must ask it again.
            self._utterance_lost = not end_of_speech
            return []
        request_id = self._utterance_id or self._new_id()
        self._utterance_id = "" if end_of_speech else request_id
        if end_of_speech:
            self._asked(request_id, now_s, Spoken(pcm))
        return [self._message(message, now_s, pcm, request_id=request_id)]

    def pose(self, question: Question, now_s: float) -> list[Outgoing]:
        """A whole question, ready to be sent."""
        match question:
            case Spoken():
                return self._recording(question, now_s)
            case Typed():
                message: wire.Request = wire.Ask(text=question.text)
            case Script():
                message = wire.Say(text=question.text)
        request_id = self._new_id()
        self._asked(request_id, now_s, question)
        return [self._message(message, now_s, request_id=request_id)]

    def interrupt(self, now_s: float) -> Outgoing:
        """Stop the answer."""
        return self._message(wire.Interrupt(), now_s)

    def close(self, now_s: float) -> Outgoing:
        """The request that ends the sequence."""
        return self._message(wire.Close(), now_s, end=True)

    def receive(self, response: StreamResponse, now_s: float) -> Event | None:
        """The event in a response, None when it carries none.

        A request that the server refused is a `Failure` of an open conversation, which goes on.

        Raises:
            TritalkError: The conversation was refused, or has ended with an error of Triton's.
        """
        event = self._read(response)
        if event is None:
            return None
        request_id = response.infer_response.id
        if isinstance(event, Failure):
            if not self.opened:
                raise TritalkError(event.code, event.message, stage=event.stage)
            self._unconfirmed.pop(request_id, None)
        elif isinstance(event, Started):
            self.opened = True
            self.started = event
            self._confirm(request_id)
        self.watch.seen(event, request_id, now_s)
        turn_id = getattr(event, "turn_id", None) or ""
        self.turns.add(event, now_s, self.watch.asked_s(turn_id))
        return event

    def reconnected(self, now_s: float) -> Reconnected:
        """What it means that the sequence was opened again."""
        started, loss = self.started, self._loss
        assert started is not None
        self._loss = _Loss(None, 0, 0)
        event = Reconnected(
            session_id=started.session_id,
            resumed=started.resumed,
            lost=loss.turn_id,
            sent_again=loss.sent_again,
            unanswered=loss.unanswered,
        )
        self.turns.add(event, now_s, None)
        return event

    def lost(self) -> TritalkError:
        """What it means that the server ended the stream while nobody had closed it."""
        moment = "in the middle of a turn" if not self.watch.settled else "between two turns"
        return TritalkError(
            ErrorCode.UNAVAILABLE,
            f"{self._server} ended the conversation {moment}: see its log, then open a new one",
        )

    def unopened(self, seconds: float) -> TritalkError:
        """The error of a server that does not answer the opening request."""
        return TritalkError(
            ErrorCode.UNAVAILABLE,
            f"{self._server} did not open the conversation within {seconds:g} s: "
            "it hangs, or all its conversations are taken",
        )

    def _lose(self, loss: _Loss) -> None:
        """Forget what the old sequence owed, and remember what is to be told of it."""
        before = self._loss
        self._loss = _Loss(
            before.turn_id or loss.turn_id,
            # What was asked again in an attempt that failed is still waiting.
            loss.sent_again,
            before.unanswered + loss.unanswered,
        )
        self._utterance_lost = bool(self._utterance_id)
        self._utterance_id = ""
        self._spoken_until_s = 0.0
        self._unconfirmed.clear()
        self.watch = self.watch.renewed()

    def _confirm(self, request_id: str) -> None:
        change = self._unconfirmed.pop(request_id, None)
        if change is not None:
            given = {
                name: value
                for name, value in msgspec.structs.asdict(change).items()
                if value is not None
            }
            self._settings = msgspec.structs.replace(self._settings, **given)

    def _read(self, response: StreamResponse) -> Event | None:
        if response.error_message:
            error = TritalkError.find_in(response.error_message)
            if error is None:
                raise model_error(response.error_message, self._server)
            return Failure(
                stage=error.stage,
                code=error.code,
                message=error.message,
                retryable=error.retryable,
            )
        data = output_bytes(response.infer_response, "EVENT")
        if not data:
            return None
        event = from_server(wire.decode_event, data)
        return events.join(event, output_bytes(response.infer_response, "MEDIA"))

    def _recording(self, question: Spoken, now_s: float) -> list[Outgoing]:
        request_id = self._new_id()
        # Two recordings at the speed of speech follow each other.
        due_s = max(now_s, self._spoken_until_s)
        chunks = audio.cut(question.pcm, chunk_s=CHUNK_S)
        outgoing = []
        for number, chunk in enumerate(chunks, start=1):
            if question.pace:
                # A microphone has a chunk when its last sample has been spoken.
                due_s += audio.duration_s(chunk)
            message = wire.Audio(end_of_speech=number == len(chunks))
            outgoing.append(self._message(message, due_s, chunk, request_id=request_id))
        self._spoken_until_s = due_s
        self._asked(request_id, due_s, question)
        return outgoing

    def _asked(self, request_id: str, at_s: float, question: Question) -> None:
        self.asked_s = at_s
        self.watch.asked(request_id, at_s, question)

    def _new_id(self) -> str:
        return str(next(self._numbers))

    def _message(
        self,
        message: wire.Request,
        due_s: float,
        pcm: bytes = b"",
        *,
        request_id: str = "",
        start: bool = False,
        end: bool = False,
    ) -> Outgoing:
        tensors = {"REQUEST": wire.encode(message)}
        if pcm:
            tensors["AUDIO"] = pcm
        request = infer_request(
            MODEL,
            tensors,
            request_id=request_id or self._new_id(),
            sequence_id=self.sequence_id,
            start=start,
            end=end,
        )
        return Outgoing(due_s, request)
