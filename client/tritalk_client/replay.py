"""Holds a conversation by a script, at real pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tritalk_client.conversation import Conversation
from tritalk_client.director import Director, OpenMicrophone
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event, Media
from tritalk_client.script import Script, Step

_TICK_S = 0.02
_PATIENCE_S = 120.0
"""Longest time from the last step to the end."""


class Cue(msgspec.Struct, tag="cue", frozen=True):
    """The user begins or ends a step of the script."""

    step: int
    action: str
    """What he does."""
    what: Literal["begins", "ends"]


@dataclass(frozen=True)
class TimedEvent:
    """Something that happened.

    Attributes:
        at_s: When, in seconds since the script began.
        event: An event of the conversation, or what the user did.
    """

    at_s: float
    event: Event | Cue

    def to_builtins(self) -> dict[str, Any]:
        """The event as JSON knows it: `at_s`, `type` and its fields; media without its bytes."""
        fields: dict[str, Any] = msgspec.to_builtins(self.event)
        if isinstance(self.event, Media):
            fields["bytes"] = len(self.event.data)
            del fields["data"]
        return {"at_s": round(self.at_s, 4), **fields}


def replay(
    conversation: Conversation,
    script: Script,
    *,
    watch: Callable[[TimedEvent], None] | None = None,
) -> list[TimedEvent]:
    """Hold a conversation by a script, whose user speaks hands-free or types.

    It ends when all steps have been done, every turn has ended, and nothing has happened for
    `script.quiet_s`.

    Args:
        conversation: The conversation, open; it is left open.
        script: The script, with its voices; see `Script.voiced`.
        watch: Called with everything that happens, as it happens.

    Returns:
        Everything that happened; the first event is `Started`.

    Raises:
        TritalkError: BAD_REQUEST when a step has no voice, TIMEOUT when what a step waits for does
            not come, or the conversation does not come to its end; else as iterating over the
            conversation does.
    """
    return _Replay(conversation, script, watch).run()


class _Replay:
    def __init__(
        self,
        conversation: Conversation,
        script: Script,
        watch: Callable[[TimedEvent], None] | None,
    ) -> None:
        for number, step in enumerate(script.steps):
            if (step.speak or step.text) and number not in script.voices:
                raise TritalkError(
                    ErrorCode.BAD_REQUEST,
                    f"steps[{number}] ({step.action}) has no voice: "
                    "give it one with script.voiced(talker.synthesise)",
                )
        self._conversation = conversation
        self._script = script
        self._watch = watch
        self._director = Director(script)
        self._microphone = OpenMicrophone()
        self._pauses: dict[int, float] = {}
        self._happened: list[TimedEvent] = []
        self._began_s = time.monotonic()

    def run(self) -> list[TimedEvent]:
        self._note(self._conversation.started, 0.0)
        done_s: float | None = None
        while not self._conversation.closed:
            now_s = self._now_s()
            self._act(now_s)
            self._speak(now_s)
            event = self._conversation.poll(self._rest_s())
            if event is not None:
                now_s = self._now_s()
                self._note(event, now_s)
                self._director.saw(event, now_s)
                continue
            if self._director.is_over(self._now_s()) and self._conversation.answered:
                break
            if self._director.all_done:
                done_s = self._now_s() if done_s is None else done_s
                self._check_patience(self._now_s() - done_s)
        return self._happened

    def _act(self, now_s: float) -> None:
        """Do what is due."""
        for number in [number for number, end_s in self._pauses.items() if end_s <= now_s]:
            self._end(number, self._pauses.pop(number))
        while (due := self._director.due(now_s)) is not None:
            self._begin(*due, now_s)

    def _begin(self, number: int, step: Step, now_s: float) -> None:
        self._note(Cue(number, step.action, "begins"), now_s)
        if step.pause_s is not None:
            self._pauses[number] = now_s + step.pause_s
        elif number in self._script.voices:
            self._microphone.say(number, self._script.voices[number])
        else:
            if step.typed is not None:
                self._conversation.ask(text=step.typed)
            else:
                self._conversation.interrupt()
            self._end(number, now_s)

    def _end(self, number: int, now_s: float) -> None:
        self._director.ended(number, now_s)
        self._note(Cue(number, self._script.steps[number].action, "ends"), now_s)

    def _speak(self, now_s: float) -> None:
        """Send what the open microphone has heard by now."""
        while self._script.is_spoken and self._microphone.next_s <= now_s:
            chunk_s = self._microphone.next_s
            chunk, ended = self._microphone.take()
            self._conversation.send_audio(chunk, hands_free=True)
            for number in ended:
                self._end(number, chunk_s)

    def _rest_s(self) -> float:
        if not self._script.is_spoken:
            return _TICK_S
        return min(_TICK_S, max(0.0, self._microphone.next_s - self._now_s()))

    def _check_patience(self, since_s: float) -> None:
        if since_s > _PATIENCE_S:
            raise TritalkError(
                ErrorCode.TIMEOUT,
                f"the conversation did not end within {_PATIENCE_S:g} s of the last step: "
                "end the script with an answer that comes to its end",
            )

    def _now_s(self) -> float:
        return time.monotonic() - self._began_s

    def _note(self, event: Event | Cue, at_s: float) -> None:
        timed = TimedEvent(at_s, event)
        self._happened.append(timed)
        if self._watch is not None:
            self._watch(timed)
