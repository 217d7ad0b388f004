"""Whatever happens in whatever order: what holds for every conversation."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.conversations import (
    CHUNK,
    Conversation,
    Conversations,
    eventually,
    kinds,
    only,
    unhurried,
)
from tests.fakes import FakeStages, RecordingReply
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

QUESTIONS = ("How are you?", "And you?", "Why?", "Stop.")


class Witness(RecordingReply):
    """A reply that also notes what comes in one order with all others, as on one stream."""

    def __init__(self, seen: list[wire.Event]) -> None:
        super().__init__()
        self._seen = seen

    def send(self, event: wire.Event, media: bytes = b"") -> None:
        self._seen.append(event)
        super().send(event, media)


class RestlessUser:
    """Does something at random, again and again.

    Args:
        conversation: The conversation.
        stages: Its stages.
        choose: Where the choices come from.
    """

    def __init__(
        self, conversation: Conversation, stages: FakeStages, choose: random.Random
    ) -> None:
        self._sessions = conversation.sessions
        self._stages = stages
        self._choose = choose
        self.seen: list[wire.Event] = []
        self.replies: list[Witness] = []
        self.turns_asked = 0
        self._utterance = 0
        self._deeds: list[Callable[[], None]] = [
            self._chunk,
            self._chunk,
            self._speak,
            self._speak,
            self._pause,
            self._pause,
            self._end,
            self._end,
            self._fail,
            self._close_microphone,
            self._press_to_talk,
            lambda: self.send(wire.Ask(self._words())),
            lambda: self.send(wire.Say(self._words())),
            lambda: self.send(wire.Interrupt()),
            lambda: self.send(wire.Configure(end_silence_ms=self._choose.choice((300, 500)))),
            lambda: self.send(wire.Configure(echo_guard=self._choose.random() < 0.5)),
        ]

    def act(self) -> None:
        """Do one thing, and some more at once or a moment later."""
        self._choose.choice(self._deeds)()
        time.sleep(self._choose.choice((0.0, 0.0, 0.002, 0.02)))

    def send(self, request: wire.Request, audio: bytes = b"", **flags: Any) -> None:
        reply = Witness(self.seen)
        self.replies.append(reply)
        self._sessions.submit(7, request, audio, reply, start=flags.get("start", False))

    def _words(self) -> str:
        return self._choose.choice(QUESTIONS)

    def _chunk(self) -> None:
        self.send(wire.Audio(hands_free=True), CHUNK)

    def _close_microphone(self) -> None:
        self.send(wire.Audio(hands_free=True, end_of_speech=True), CHUNK)

    def _press_to_talk(self) -> None:
        self.send(wire.Audio(), CHUNK)
        self.send(wire.Audio(end_of_speech=True), CHUNK)

    def _hear(self, hearing: wire.Hearing | TritalkError) -> None:
        ears = [ear for ear in self._stages.ears if ear.options.endpointing]
        if ears and not (ears[-1].ended or ears[-1].closed):
            ears[-1].deliver(hearing)

    def _speak(self) -> None:
        self._hear(wire.Speaking(self._utterance, self._choose.random()))

    def _pause(self) -> None:
        text = self._words()
        self._hear(
            wire.Transcript(text, False, 1.0, "en", self._utterance, text, True, since_speech_ms=9)
        )

    def _end(self) -> None:
        text = self._words()
        self._hear(
            wire.Transcript(text, True, 1.0, "en", self._utterance, text, since_speech_ms=40)
        )
        self._utterance += 1

    def _fail(self) -> None:
        if self._choose.random() < 0.3:
            self._hear(TritalkError(ErrorCode.UNAVAILABLE, "gone", stage="asr"))


@pytest.mark.parametrize("seed", range(8))
def test_every_turn_has_one_end_and_every_reply_is_closed(seed: int) -> None:
    choose = random.Random(seed)
    stages = FakeStages(token_delay_s=0.002, fragment_delay_s=0.002)
    lead_s = choose.choice((0.2, 3600.0))
    with Conversations(stages) as converse:
        conversation = converse(unhurried(lead_s=lead_s, answer_cache=seed % 2 == 0))
        user = RestlessUser(conversation, stages, choose)
        user.send(wire.Configure(avatar_id="ada"), start=True)
        for _ in range(150):
            user.act()
        user.send(wire.Close())

        for reply in user.replies:
            reply.wait_closed()
    _check_turns(user.seen)
    _check_speculations(conversation)
    eventually(lambda: _turn_threads() == [])


def _check_turns(seen: list[wire.Event]) -> None:
    started = [event.turn_id for event in only(seen, wire.TurnStarted)]
    ended = [event.turn_id for event in only(seen, wire.TurnCompleted)]
    assert len(started) > 5, kinds(seen)
    assert Counter(started) == Counter(ended)
    assert max(Counter(started).values()) == 1
    # One after the other.
    assert started == ended
    interrupted = {event.turn_id for event in only(seen, wire.Interrupted)}
    for turn_id in started:
        of_turn = [event for event in seen if getattr(event, "turn_id", None) == turn_id]
        assert isinstance(of_turn[0], wire.TurnStarted)
        assert isinstance(of_turn[-1], wire.TurnCompleted)
        indices = [event.index for event in only(of_turn, wire.Media)]
        assert indices == list(range(len(indices)))
        outcome = of_turn[-1].outcome
        assert (outcome == "interrupted") is (turn_id in interrupted)
        if outcome == "interrupted":
            assert isinstance(of_turn[-2], wire.Interrupted)


def _check_speculations(conversation: Conversation) -> None:
    used = sum(conversation.values("speculations_total", outcome="used"))
    turns = sum(
        sum(conversation.values("turns_total", outcome=outcome))
        for outcome in ("answered", "interrupted", "failed")
    )
    assert used <= turns


def _turn_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("turn-")]
