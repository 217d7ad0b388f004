"""What a conversation says and hears, without any I/O; shared by both sides of the SDK."""

from __future__ import annotations

import itertools

from tritalk_client import audio, events, wire
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event, Failure, Started
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

MODEL = "talker"
"""The model that holds conversations."""

CHUNK_S = 0.1
"""Length of the chunks that a recording is sent in."""


class Session:
    """One conversation: one sequence of requests to the model `talker`.

    Args:
        server: The address, for messages.
        timeouts: Deadlines.
    """

    def __init__(self, server: str, timeouts: Timeouts) -> None:
        self.sequence_id = new_sequence_id()
        self.watch = TurnWatch(timeouts)
        self.started: Started | None = None
        self.asked_s = 0.0
        """The end of the latest question."""
        self._server = server
        self._numbers = itertools.count(1)
        self._utterance_id = ""
        self._spoken_until_s = 0.0

    def open(self, settings: wire.Configure, now_s: float) -> Outgoing:
        """The request that begins the sequence."""
        return self._message(settings, now_s, start=True)

    def configure(self, settings: wire.Configure, now_s: float) -> Outgoing:
        """Change settings; those left out keep their value."""
        return self._message(settings, now_s)

    def audio(self, pcm: bytes, now_s: float, *, end_of_speech: bool) -> Outgoing:
        """A chunk of live speech."""
        request_id = self._utterance_id or self._new_id()
        self._utterance_id = "" if end_of_speech else request_id
        if end_of_speech:
            self._asked(request_id, now_s)
        message = wire.Audio(end_of_speech=end_of_speech)
        return self._message(message, now_s, pcm, request_id=request_id)

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
        self._asked(request_id, now_s)
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
        if isinstance(event, Failure) and self.started is None:
            raise TritalkError(event.code, event.message, stage=event.stage)
        if isinstance(event, Started):
            self.started = event
        self.watch.seen(event, response.infer_response.id, now_s)
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
        self._asked(request_id, due_s)
        return outgoing

    def _asked(self, request_id: str, at_s: float) -> None:
        self.asked_s = at_s
        self.watch.asked(request_id, at_s)

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
