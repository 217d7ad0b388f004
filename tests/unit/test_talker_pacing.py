from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from tests.conversations import Conversations, eventually, kinds, only, unhurried
from tests.fakes import FakeStages, RecordingReply
from tests.stores import FakeClock
from tritalk.talker.animation import Piece
from tritalk.talker.clock import StageClock
from tritalk.talker.pipeline import Assignment, Finished, Item
from tritalk.talker.turn import Turn
from tritalk.talker.watch import StageWatch
from tritalk_client import wire

LEAD_S = 1.0


class Script:
    """A source whose products the test hands over."""

    def __init__(self) -> None:
        self.outbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self.text = "Hello."
        self.usage: wire.Usage | None = None
        self.stopped = threading.Event()
        self.cancelled = threading.Event()
        self._made_s = 0.0
        self._made = 0

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped.set()

    def cancel(self) -> None:
        self.cancelled.set()

    def join(self) -> None: ...

    def makes(self, *durations_s: float) -> None:
        """Media fragments of these lengths; quarters of a second have no rounding."""
        for duration_s in durations_s:
            clause = "Hello." if self._made == 0 else ""
            fragment = wire.Fragment(self._made, self._made_s, duration_s, 5, 4800, True)
            self._made += 1
            self._made_s += duration_s
            self.outbox.put(Piece(fragment, b"media", clause))

    def finishes(self) -> None:
        self.outbox.put(Finished())


class Viewer(RecordingReply):
    """A client who plays media as soon as he has it, and knows how much he held at the most."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self._plays_until_s = clock()
        self.held_s: list[float] = []

    def send(self, event: wire.Event, media: bytes = b"") -> None:
        if isinstance(event, wire.Media):
            now = self._clock()
            self._plays_until_s = max(self._plays_until_s, now) + event.duration_s
            self.held_s.append(self._plays_until_s - now)
        super().send(event, media)

    @property
    def received(self) -> int:
        return len(only(self.events, wire.Media))


class Answer:
    """A turn with a scripted source and a clock that is set by hand."""

    def __init__(self, *, lead_s: float | None = LEAD_S, kept_bytes: int = 0) -> None:
        self.clock = FakeClock()
        self.source = Script()
        self.viewer = Viewer(self.clock)
        self.ends: list[Turn] = []
        self.turn = Turn(
            Assignment(
                turn_id="t",
                animation_id=1,
                animation=wire.AnimateOptions("ada"),
                voice="default",
                speed=1.0,
                question="Hello?",
                messages=[wire.ChatMessage("user", "Hello?")],
                sampling=wire.Sampling(),
            ),
            self.source,
            StageClock(self.clock(), self.clock),
            StageWatch({"llm": 1e9}, self.clock),
            lead_s=lead_s,
            kept_bytes=kept_bytes,
            now=self.clock,
            on_end=self.ends.append,
            on_told=lambda turn: None,
        )

    def look(self) -> int:
        """Media that the viewer has once the turn has looked at all there is."""
        words = wire.ReplyText("t", "Hello", wire.StageTimes())
        self.source.outbox.put(words)
        self.viewer.wait_for(wire.ReplyText)
        # It goes before the media of the same look; the next look comes after it.
        self.source.outbox.put(words)
        self.viewer.wait_for(wire.ReplyText)
        return self.viewer.received

    def close(self) -> None:
        self.turn.interrupt("gone")
        assert self.turn.join(20)


@pytest.fixture
def answer() -> Iterator[Answer]:
    answer = Answer()
    answer.turn.start(answer.viewer)
    yield answer
    answer.close()


def test_media_goes_until_the_viewer_holds_the_lead_and_then_as_he_plays_it(
    answer: Answer,
) -> None:
    answer.source.makes(*[0.25] * 8)
    answer.source.finishes()

    assert answer.look() == 4
    answer.clock.advance(0.125)
    assert answer.look() == 4
    answer.clock.advance(0.125)
    assert answer.look() == 5
    answer.clock.advance(0.5)
    assert answer.look() == 7


def test_the_viewer_never_holds_more_than_the_lead(answer: Answer) -> None:
    answer.source.makes(*[0.125, 0.25, 0.5, 0.375, 1.0, 0.125, 0.25] * 4)
    answer.source.finishes()
    while answer.viewer.received < 28:
        answer.look()
        answer.clock.advance(0.0625)

    assert max(answer.viewer.held_s) <= LEAD_S


def test_the_viewer_never_waits_while_there_is_media(answer: Answer) -> None:
    answer.source.makes(*[0.25] * 12)
    answer.source.finishes()
    while answer.viewer.received < 12:
        answer.look()
        answer.clock.advance(0.25)

    # After the first of the answer he always had something to play when the next one came.
    assert all(held_s > 0.25 for held_s in answer.viewer.held_s[1:])


def test_a_fragment_longer_than_the_lead_goes_when_nothing_is_left_to_play(
    answer: Answer,
) -> None:
    answer.source.makes(0.5, 2.0, 0.25)
    answer.source.finishes()

    assert answer.look() == 1
    answer.clock.advance(0.25)
    assert answer.look() == 1
    answer.clock.advance(0.25)
    assert answer.look() == 2
    answer.clock.advance(1.0)
    assert answer.look() == 2
    answer.clock.advance(0.25)
    assert answer.look() == 3


def test_a_viewer_who_had_to_wait_gets_no_more_than_the_lead_afterwards(answer: Answer) -> None:
    answer.source.makes(0.25)
    assert answer.look() == 1
    answer.clock.advance(10.0)

    answer.source.makes(*[0.25] * 8)

    assert answer.look() == 5
    assert max(answer.viewer.held_s) <= LEAD_S


def test_a_paced_answer_ends_when_it_has_been_played(answer: Answer) -> None:
    answer.source.makes(*[0.25] * 4)
    answer.source.finishes()
    assert answer.look() == 4
    answer.clock.advance(0.75)
    answer.look()
    assert only(answer.viewer.events, wire.TurnCompleted) == []
    assert not answer.turn.ended

    answer.clock.advance(0.25)

    assert answer.viewer.wait_for(wire.TurnCompleted).outcome == "answered"
    assert answer.turn.ended


def test_an_answer_without_pacing_goes_and_ends_at_once() -> None:
    answer = Answer(lead_s=None)
    answer.source.makes(*[0.25] * 40)
    answer.source.finishes()

    answer.turn.start(answer.viewer)

    assert answer.viewer.wait_for(wire.TurnCompleted).media_s == 10.0
    assert answer.viewer.received == 40
    answer.close()


def test_an_interruption_tells_how_much_was_played_and_sends_no_more(answer: Answer) -> None:
    answer.source.makes(*[0.25] * 8)
    answer.source.finishes()
    assert answer.look() == 4
    answer.clock.advance(0.125)

    answer.turn.interrupt("speech")

    interrupted = answer.viewer.wait_for(wire.Interrupted)
    assert (interrupted.heard_s, interrupted.cause) == (0.125, "speech")
    end = answer.viewer.wait_for(wire.TurnCompleted)
    assert (end.outcome, end.media_s) == ("interrupted", 1.0)
    assert answer.viewer.received == 4
    assert answer.source.stopped.wait(20)
    assert answer.source.cancelled.wait(20)


def test_the_first_interruption_counts(answer: Answer) -> None:
    answer.source.makes(*[0.25] * 4)
    answer.look()
    answer.clock.advance(0.25)
    answer.turn.interrupt("speech")
    answer.viewer.wait_for(wire.TurnCompleted)
    answer.clock.advance(0.5)

    answer.turn.interrupt("gone")

    assert only(answer.viewer.events, wire.Interrupted)[0].cause == "speech"
    assert answer.turn.heard_s == 0.25


def test_an_interruption_of_an_answer_that_has_ended_changes_nothing(answer: Answer) -> None:
    answer.source.makes(0.25)
    answer.source.finishes()
    answer.look()
    answer.clock.advance(0.25)
    answer.viewer.wait_for(wire.TurnCompleted)

    answer.turn.interrupt("speech")

    assert answer.turn.outcome == "answered"
    assert answer.turn.heard == "Hello."
    assert only(answer.viewer.events, wire.Interrupted) == []
    assert len(answer.ends) == 1


# --- answers that are held back ------------------------------------------------------------------


def test_an_answer_that_is_held_back_is_given_from_its_beginning_when_it_is_released() -> None:
    answer = Answer()
    answer.turn.start()
    answer.source.makes(*[0.25] * 8)
    answer.source.finishes()
    eventually(answer.source.outbox.empty)
    answer.clock.advance(30.0)

    assert answer.turn.release(answer.viewer)

    # It is paced from its release on.
    assert answer.look() == 4
    assert kinds(answer.viewer.events)[0] == "TurnStarted"
    assert max(answer.viewer.held_s) <= LEAD_S
    answer.close()


def test_an_answer_that_is_discarded_leaves_no_trace() -> None:
    answer = Answer()
    answer.turn.start()
    answer.source.makes(0.25)

    answer.turn.discard()

    assert answer.turn.join(20)
    assert answer.source.cancelled.is_set()
    assert (answer.turn.outcome, answer.turn.released) == ("discarded", False)
    assert not answer.turn.release(answer.viewer)
    assert answer.viewer.events == []
    assert answer.ends == [answer.turn]


# --- media that is kept --------------------------------------------------------------------------


@pytest.mark.parametrize(("kept_bytes", "kept"), [(10, 2), (9, None), (0, None)])
def test_media_is_kept_whole_or_not_at_all(kept_bytes: int, kept: int | None) -> None:
    answer = Answer(lead_s=None, kept_bytes=kept_bytes)
    answer.source.makes(0.25, 0.25)
    answer.source.finishes()

    answer.turn.start(answer.viewer)
    answer.viewer.wait_for(wire.TurnCompleted)

    pieces = answer.turn.pieces
    assert (None if pieces is None else len(pieces)) == kept
    answer.close()


# --- what the animation is told ------------------------------------------------------------------


@pytest.mark.parametrize(("lead_s", "told"), [(0.5, 0.5), (3600.0, None)])
def test_the_animation_keeps_the_clients_pace(lead_s: float, told: float | None) -> None:
    stages = FakeStages(answer=("Hello. ",))
    clock = FakeClock()
    with Conversations(stages) as converse:
        conversation = converse(unhurried(), clock)
        conversation.open(lead_s=lead_s)
        reply = conversation.send(wire.Ask("Hello?"))

        def is_answered() -> bool:
            clock.advance(0.01)
            return "TurnCompleted" in kinds(reply.events)

        eventually(is_answered)

    assert {options.lead_s for options in stages.animated} == {told}
