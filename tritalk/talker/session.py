"""One conversation: a thread that takes its requests, and what comes of them, in their order."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tritalk.metrics import Registry
from tritalk.talker.clock import Now
from tritalk.talker.dialogue import Dialogue
from tritalk.talker.ears import MAX_WAITING_BYTES, Microphone
from tritalk.talker.manner import Manner
from tritalk.talker.memory import Memory
from tritalk.talker.reply import Reply
from tritalk.talker.settings import TalkerSettings
from tritalk.talker.shared import Shared
from tritalk.talker.stages import Stages, unforeseen
from tritalk.talker.turn import Turn
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_JOIN_S = 5.0
_LOOK_S = 2.0
"""How often a conversation looks whether the client of an open microphone is still there."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Submission:
    """A request with the time of its arrival."""

    request: wire.Request
    audio: bytes
    reply: Reply
    arrived_s: float


@dataclass(frozen=True)
class _Heard:
    """What was heard through a microphone."""

    microphone: Microphone
    hearing: wire.Hearing | TritalkError | None


@dataclass(frozen=True)
class _Ended:
    """A turn that has ended."""

    turn: Turn


class Session:
    """A conversation with a thread of its own.

    Args:
        stages: The other models.
        settings: Defaults and deadlines.
        registry: Where the metrics of turns go.
        shared: What all conversations share.
        now: A monotonic clock in seconds.
        claim: Called before a session is gone on with: ends the conversation that it is in now.
        on_closed: Called once when the conversation has ended, in its own thread.
    """

    def __init__(
        self,
        stages: Stages,
        settings: TalkerSettings,
        registry: Registry,
        shared: Shared,
        now: Now,
        *,
        claim: Callable[[Session, str], None],
        on_closed: Callable[[Session], None],
    ) -> None:
        self._stages = stages
        self._settings = settings
        self._now = now
        self._claim = claim
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._closed = False
        self._waiting_bytes = 0
        self._inbox: queue.SimpleQueue[_Submission | _Heard | _Ended | None] = queue.SimpleQueue()
        self._touched_s = now()
        self._opened = False
        self._goodbye: Reply | None = None
        """Of the request that ends the conversation: closed when nothing is left of it."""
        self._memory = Memory(
            shared.saved, Manner.default(settings), limit_tokens=settings.history_tokens
        )
        self._dialogue = Dialogue(
            stages,
            settings,
            registry,
            shared,
            self._memory,
            now,
            heard=lambda microphone, hearing: self._inbox.put(_Heard(microphone, hearing)),
            ended=lambda turn: self._inbox.put(_Ended(turn)),
        )
        self._thread = threading.Thread(target=self._run, name="session", daemon=True)
        self._thread.start()

    @property
    def session_id(self) -> str:
        """The name by which it can be gone on with."""
        return self._memory.session_id

    def submit(self, request: wire.Request, audio: bytes, reply: Reply) -> None:
        """Take a request; returns at once. An interruption takes effect before it returns.

        Raises:
            TritalkError: BAD_REQUEST when the conversation has ended, BUSY when more audio waits
                than an utterance may have.
        """
        if isinstance(request, wire.Interrupt):
            self._dialogue.interrupt("request")
        elif isinstance(request, wire.Close):
            self._dialogue.interrupt("gone")
        with self._lock:
            if self._closed:
                raise closed()
            if audio and self._waiting_bytes + len(audio) > MAX_WAITING_BYTES:
                raise TritalkError(
                    ErrorCode.BUSY,
                    f"more than {wire.MAX_AUDIO_S:g} s of audio wait to be recognised, "
                    "send it at the speed of speech",
                )
            self._waiting_bytes += len(audio)
            self._inbox.put(_Submission(request, audio, reply, self._now()))

    def close(self, timeout_s: float = _JOIN_S) -> None:
        """End the conversation and wait so long for its threads."""
        self._dialogue.interrupt("gone")
        self._inbox.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while self._step():
                pass
        finally:
            try:
                self._dialogue.close()
            finally:
                self._leave()

    def _leave(self) -> None:
        """Give the place of the conversation to another."""
        with self._lock:
            self._closed = True
        self._clear()
        self._on_closed(self)
        if self._goodbye is not None:
            self._goodbye.close()

    def _clear(self) -> None:
        """Answer what is left in the inbox; nothing comes after it."""
        while not self._inbox.empty():
            left = self._inbox.get_nowait()
            if isinstance(left, _Submission):
                left.reply.refuse(closed())
            elif isinstance(left, _Ended):
                self._dialogue.turn_ended(left.turn)

    def _step(self) -> bool:
        """Take what comes next; False when the conversation ends."""
        try:
            item = self._inbox.get(timeout=_LOOK_S)
        except queue.Empty:
            return not self._is_over()
        if item is None:
            return False
        if isinstance(item, _Heard):
            self._dialogue.hear(item.microphone, item.hearing)
            return True
        if isinstance(item, _Ended):
            self._dialogue.turn_ended(item.turn)
            self._touched_s = self._now()
            return True
        with self._lock:
            self._waiting_bytes -= len(item.audio)
        self._touched_s = self._now()
        return self._serve(item)

    def _is_over(self) -> bool:
        """Whether nobody uses the conversation any more."""
        if self._dialogue.is_abandoned():
            _log.info("the client of a conversation has gone")
            return True
        idle_s = self._now() - self._touched_s
        if idle_s < self._settings.session_idle_s or self._dialogue.has_turn():
            return False
        _log.info("a conversation was idle for too long")
        return True

    def _serve(self, submission: _Submission) -> bool:
        """Serve one request, whatever happens; False when it ends the conversation."""
        served = False
        try:
            goes_on = self._take(submission)
            served = True
        finally:
            if not served:
                submission.reply.refuse(unforeseen("talker"))
        return goes_on

    def _take(self, submission: _Submission) -> bool:
        """Serve one request; False when it ends the conversation."""
        request, reply = submission.request, submission.reply
        try:
            if isinstance(request, wire.Audio):
                self._dialogue.listen(request, submission.audio, reply)
            elif isinstance(request, wire.Ask):
                self._dialogue.ask(request.text, reply, submission.arrived_s)
            elif isinstance(request, wire.Say):
                self._dialogue.say(request.text, reply, submission.arrived_s)
            elif isinstance(request, wire.Configure):
                self._configure(request, reply)
            elif isinstance(request, wire.Close):
                self._goodbye = reply
            else:
                # Again, for an answer to what had come before it and was not yet begun then.
                self._dialogue.interrupt("request")
                reply.close()
        except TritalkError as error:
            reply.refuse(error)
            return self._opened
        return not isinstance(request, wire.Close)

    def _configure(self, request: wire.Configure, reply: Reply) -> None:
        memory = self._memory
        begins = not self._opened
        if request.session_id is not None and begins:
            self._claim(self, request.session_id)
            memory.resume(request.session_id)
        manner = memory.manner.changed(request)
        if begins or request.avatar_id is not None:
            self._stages.avatar(manner.avatar_id)
        memory.manner = manner
        memory.save()
        self._opened = True
        reply.send(
            wire.Started(
                manner.avatar_id,
                manner.voice,
                manner.language,
                memory.session_id,
                memory.resumed,
                len(memory.messages),
            )
        )
        reply.close()
        if not self._dialogue.is_answering():
            self._dialogue.begin()


def closed() -> TritalkError:
    """The error of a request to a conversation that has ended."""
    return TritalkError(
        ErrorCode.BAD_REQUEST,
        "this conversation is closed; open one with the START of a sequence",
    )
