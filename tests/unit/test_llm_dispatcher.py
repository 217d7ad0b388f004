from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fakes import FakeFamily, metric_values
from tritalk import slo
from tritalk.llm.dispatcher import Dispatcher
from tritalk.llm.early_cancels import EarlyCancels
from tritalk.llm.engine import Emit, Stopped
from tritalk.llm.job import Kind
from tritalk.metrics import Registry
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import Usage

WAIT_S = 10.0
PLACES = 2
MAX_QUEUE = 1
DEADLINE_S = 30.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Collector:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.endings: list[Usage | TritalkError] = []
        self.ended = threading.Event()
        self.gone = False

    def delta(self, text: str) -> None:
        self.texts.append(text)

    def finish(self, usage: Usage) -> None:
        self.endings.append(usage)
        self.ended.set()

    def fail(self, error: TritalkError) -> None:
        self.endings.append(error)
        self.ended.set()

    def abandoned(self) -> bool:
        return self.gone

    def ending(self) -> Usage | TritalkError:
        assert self.ended.wait(WAIT_S), "the answer has not ended"
        return self.endings[0]


@dataclass
class ScriptedEngine:
    """An engine that makes a token when it is told to, and stops between tokens like a real one."""

    tokens: queue.Queue[str] = field(default_factory=queue.Queue)
    started: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    deaf: bool = False
    """Hangs: does not look whether it should stop."""

    def __call__(self, emit: Emit, stopped: Stopped) -> Usage:
        self.started.set()
        made = 0
        try:
            while True:
                token = self._next(stopped)
                if token is None:
                    return Usage(prompt_tokens=7, completion_tokens=made, finish_reason="cancelled")
                if token == "":
                    return Usage(prompt_tokens=7, completion_tokens=made, finish_reason="stop")
                made += 1
                emit(token)
        finally:
            self.left.set()

    def _next(self, stopped: Stopped) -> str | None:
        while self.deaf or not stopped():
            try:
                return self.tokens.get(timeout=0.01)
            except queue.Empty:
                continue
        return None

    def say(self, *tokens: str) -> ScriptedEngine:
        for token in tokens:
            self.tokens.put(token)
        return self


@pytest.fixture
def family() -> type[FakeFamily]:
    class Family(FakeFamily):
        series = {}

    return Family


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Clock, family: type[FakeFamily], **options: float) -> Dispatcher:
    return Dispatcher(
        Registry(family, slo.default()),
        "tiny",
        places=PLACES,
        max_queue=MAX_QUEUE,
        deadline_s=DEADLINE_S,
        kv_tokens=lambda: 42,
        clock=clock,
        **options,
    )


@pytest.fixture
def dispatcher(family: type[FakeFamily], clock: Clock) -> Iterator[Dispatcher]:
    dispatcher = make(clock, family)
    yield dispatcher
    dispatcher.close()


@pytest.fixture
def full(dispatcher: Dispatcher) -> Iterator[list[tuple[ScriptedEngine, Collector]]]:
    """Answers under way in every place and in the queue, named `job0`, `job1`, …"""
    jobs = [(ScriptedEngine(), Collector()) for _ in range(PLACES + MAX_QUEUE)]
    for number, (engine, sink) in enumerate(jobs):
        dispatcher.submit(f"job{number}", engine, sink)
    for engine, _ in jobs[:PLACES]:
        assert engine.started.wait(WAIT_S)
    yield jobs
    for engine, _ in jobs:
        engine.deaf = False


def test_an_answer_is_its_deltas_and_one_ending(dispatcher: Dispatcher) -> None:
    sink = Collector()

    dispatcher.submit("a", ScriptedEngine().say("Hel", "lo.", ""), sink)

    assert sink.ending() == Usage(prompt_tokens=7, completion_tokens=2, finish_reason="stop")
    assert sink.texts == ["Hel", "lo."]


def test_submitting_does_not_wait_for_the_answer(dispatcher: Dispatcher) -> None:
    engine, sink = ScriptedEngine(), Collector()

    dispatcher.submit("a", engine, sink)

    assert not sink.endings
    engine.say("")
    sink.ending()


def test_one_more_than_places_and_queue_is_refused(
    dispatcher: Dispatcher, full: list[tuple[ScriptedEngine, Collector]]
) -> None:
    with pytest.raises(TritalkError, match="n_parallel") as refusal:
        dispatcher.submit("too many", ScriptedEngine(), Collector())

    assert refusal.value.code is ErrorCode.BUSY
    assert refusal.value.retryable


def test_a_place_that_comes_free_is_taken_by_who_waits(
    full: list[tuple[ScriptedEngine, Collector]],
) -> None:
    (first, first_sink), _, (waiting, waiting_sink) = full
    assert not waiting.started.is_set()

    first.say("")
    first_sink.ending()
    waiting.say("At last.", "")

    waiting_sink.ending()
    assert waiting_sink.texts == ["At last."]


def test_a_cancelled_answer_stops_and_says_what_it_cost(dispatcher: Dispatcher) -> None:
    engine, sink = ScriptedEngine().say("One", " two"), Collector()
    dispatcher.submit("a", engine, sink)
    eventually(lambda: len(sink.texts) == 2)

    dispatcher.cancel("a")

    assert sink.ending() == Usage(prompt_tokens=7, completion_tokens=2, finish_reason="cancelled")
    assert engine.left.is_set()


def test_nothing_is_said_after_a_cancellation(dispatcher: Dispatcher) -> None:
    # given an engine that makes tokens without looking whether it should
    engine, sink = ScriptedEngine(deaf=True).say("One"), Collector()
    dispatcher.submit("a", engine, sink)
    eventually(lambda: sink.texts == ["One"])

    # when it is cancelled and goes on
    dispatcher.cancel("a")
    engine.say(" two", " three", "")

    sink.ending()
    assert sink.texts == ["One"]


def test_who_waits_is_cancelled_at_once(
    dispatcher: Dispatcher, full: list[tuple[ScriptedEngine, Collector]]
) -> None:
    waiting, sink = full[-1]

    dispatcher.cancel(f"job{len(full) - 1}")

    assert sink.endings == [Usage(prompt_tokens=0, completion_tokens=0, finish_reason="cancelled")]
    assert not waiting.started.is_set()


def test_a_cancelled_waiting_request_makes_room(
    dispatcher: Dispatcher, full: list[tuple[ScriptedEngine, Collector]]
) -> None:
    # given places and queue full, so that the next is refused
    with pytest.raises(TritalkError) as refused:
        dispatcher.submit("next", ScriptedEngine(), Collector())
    assert refused.value.code is ErrorCode.BUSY

    # when one that waits is cancelled
    dispatcher.cancel(f"job{len(full) - 1}")
    engine = ScriptedEngine()
    dispatcher.submit("next", engine, Collector())
    dispatcher.cancel("job0")

    # then the next takes its place in the queue, and is served after it
    assert engine.started.wait(WAIT_S)


def test_other_answers_go_on_when_one_is_cancelled(
    dispatcher: Dispatcher, full: list[tuple[ScriptedEngine, Collector]]
) -> None:
    (_, cancelled), (other, other_sink), _ = full

    dispatcher.cancel("job0")
    cancelled.ending()
    other.say("Still here.", "")

    assert isinstance(other_sink.ending(), Usage)
    assert other_sink.texts == ["Still here."]


def test_cancelling_twice_or_an_unknown_id_changes_nothing(dispatcher: Dispatcher) -> None:
    sink = Collector()
    dispatcher.submit("a", ScriptedEngine(), sink)

    for _ in range(3):
        dispatcher.cancel("a")
        dispatcher.cancel("nobody")

    sink.ending()
    assert len(sink.endings) == 1


def test_a_cancellation_that_overtakes_its_request_holds(dispatcher: Dispatcher) -> None:
    engine, sink = ScriptedEngine(), Collector()

    dispatcher.cancel("late")
    dispatcher.submit("late", engine, sink)

    assert sink.ending() == Usage(prompt_tokens=0, completion_tokens=0, finish_reason="cancelled")
    assert not engine.started.is_set()


def test_answers_without_an_id_cannot_be_cancelled(dispatcher: Dispatcher) -> None:
    (under_way, first), (next_one, second) = [(ScriptedEngine(), Collector()) for _ in range(2)]
    dispatcher.submit("", under_way, first)

    with pytest.raises(TritalkError, match="CANCEL is empty") as refusal:
        dispatcher.cancel("")

    assert refusal.value.code is ErrorCode.BAD_REQUEST
    dispatcher.submit("", next_one, second)
    for engine, sink in ((under_way, first), (next_one, second)):
        engine.say("Still here.", "")
        sink.ending()
        assert sink.texts == ["Still here."]


def test_an_early_cancellation_counts_once_and_not_for_long() -> None:
    early = EarlyCancels(keep_s=2.0)
    early.add("a", now=10.0)
    early.add("b", now=10.0)

    assert early.take("a", now=11.0)
    assert not early.take("a", now=11.0)
    assert not early.take("b", now=12.5)


def test_the_oldest_early_cancellation_is_forgotten_over_the_limit() -> None:
    early = EarlyCancels(limit=2)
    for request_id in "abc":
        early.add(request_id, now=1.0)

    assert [early.take(request_id, now=1.0) for request_id in "abc"] == [False, True, True]


def test_an_answer_that_nobody_waits_for_is_stopped(dispatcher: Dispatcher) -> None:
    engine, sink = ScriptedEngine(), Collector()
    dispatcher.submit("a", engine, sink)

    sink.gone = True

    ending = sink.ending()
    assert isinstance(ending, Usage)
    assert ending.finish_reason == "cancelled"


def test_an_answer_past_its_deadline_is_a_timeout(
    dispatcher: Dispatcher, clock: Clock, family: type[FakeFamily]
) -> None:
    engine, sink = ScriptedEngine(), Collector()
    dispatcher.submit("a", engine, sink)

    clock.now += DEADLINE_S

    error = sink.ending()
    assert isinstance(error, TritalkError)
    assert error.code is ErrorCode.TIMEOUT
    assert "deadline_s" in error.message
    assert engine.left.wait(WAIT_S)
    eventually(lambda: metric_values(family, "llm_consecutive_timeouts") == [1])


def test_even_an_engine_that_hangs_is_answered_for(
    dispatcher: Dispatcher, clock: Clock, family: type[FakeFamily]
) -> None:
    # given engines that hang in every place, and one that waits behind them
    hanging = [(ScriptedEngine(deaf=True), Collector()) for _ in range(PLACES)]
    waiting = (ScriptedEngine(), Collector())
    for engine, sink in [*hanging, waiting]:
        dispatcher.submit("", engine, sink)

    clock.now += DEADLINE_S

    # then each is told so once, and they are counted
    for _, sink in [*hanging, waiting]:
        error = sink.ending()
        assert isinstance(error, TritalkError)
        assert error.code is ErrorCode.TIMEOUT
    eventually(lambda: metric_values(family, "llm_consecutive_timeouts") == [PLACES + 1])
    for engine, sink in hanging:
        engine.say("")
        assert engine.left.wait(WAIT_S)
        assert len(sink.endings) == 1


def test_a_good_answer_ends_the_row_of_timeouts(
    dispatcher: Dispatcher, clock: Clock, family: type[FakeFamily]
) -> None:
    late = Collector()
    dispatcher.submit("a", ScriptedEngine(), late)
    clock.now += DEADLINE_S
    late.ending()

    good = Collector()
    dispatcher.submit("b", ScriptedEngine().say("Yes.", ""), good)

    good.ending()
    assert metric_values(family, "llm_consecutive_timeouts") == [0]


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (TritalkError(ErrorCode.TOO_LARGE, "too long"), ErrorCode.TOO_LARGE),
        (RuntimeError("boom"), ErrorCode.INTERNAL),
    ],
)
def test_an_engine_that_fails_ends_its_answer_and_no_other(
    dispatcher: Dispatcher, raised: Exception, code: ErrorCode
) -> None:
    def fail(emit: Emit, stopped: Stopped) -> Usage:
        raise raised

    failed, good = Collector(), Collector()
    dispatcher.submit("a", fail, failed)
    dispatcher.submit("b", ScriptedEngine().say("Fine.", ""), good)

    error = failed.ending()
    assert isinstance(error, TritalkError)
    assert error.code is code
    assert isinstance(good.ending(), Usage)


def test_the_times_to_the_first_and_the_last_token_are_measured(
    dispatcher: Dispatcher, clock: Clock, family: type[FakeFamily]
) -> None:
    engine, sink = ScriptedEngine(), Collector()
    dispatcher.submit("a", engine, sink)
    assert engine.started.wait(WAIT_S)

    clock.now += 0.25
    engine.say("Hm")
    eventually(lambda: sink.texts == ["Hm"])
    clock.now += 0.5
    engine.say("")
    sink.ending()

    durations = "llm_inference_duration_seconds"
    assert metric_values(family, durations, phase="first_token", model="tiny") == [0.25]
    assert metric_values(family, durations, phase="total", model="tiny") == [0.75]
    eventually(lambda: metric_values(family, "kv_cache_size_tokens") == [42])


def read(dispatcher: Dispatcher, engine: ScriptedEngine, request_id: str = "reads") -> Collector:
    sink = Collector()
    dispatcher.submit(request_id, engine, sink, kind=Kind.READ)
    return sink


def test_a_chat_is_read_ahead_and_counts_as_no_answer(
    dispatcher: Dispatcher, family: type[FakeFamily]
) -> None:
    assert isinstance(read(dispatcher, ScriptedEngine().say("")).ending(), Usage)

    durations = "llm_inference_duration_seconds"
    for phase in ("first_token", "total"):
        assert metric_values(family, durations, phase=phase, model="tiny") == []


def test_reading_stops_while_an_answer_begins_and_then_goes_on(dispatcher: Dispatcher) -> None:
    # given a chat that is being read
    reader, answerer, answer = ScriptedEngine(), ScriptedEngine(), Collector()
    reading = read(dispatcher, reader)
    assert reader.started.wait(WAIT_S)

    # when an answer begins
    dispatcher.submit("a", answerer, answer)
    assert reader.left.wait(WAIT_S)
    reader.started.clear()
    assert not reader.started.wait(0.1)

    # then it is read on once the answer has a first clause, and it ends well
    answerer.say("A first clause that is long enough to be spoken.")
    assert reader.started.wait(WAIT_S)
    reader.say("")
    ending = reading.ending()
    assert isinstance(ending, Usage)
    assert ending.finish_reason != "cancelled"
    answerer.say("")
    answer.ending()


def test_reading_that_has_given_way_can_be_cancelled(dispatcher: Dispatcher) -> None:
    reader, answerer = ScriptedEngine(), ScriptedEngine()
    dispatcher.submit("a", answerer, Collector())
    assert answerer.started.wait(WAIT_S)
    reading = read(dispatcher, reader)

    dispatcher.cancel("reads")

    ending = reading.ending()
    assert isinstance(ending, Usage)
    assert ending.finish_reason == "cancelled"
    assert not reader.started.is_set()
    answerer.say("")


def test_an_answer_has_a_place_whatever_is_being_read(dispatcher: Dispatcher) -> None:
    for number in range(MAX_QUEUE):
        read(dispatcher, ScriptedEngine(), f"reads {number}")

    sinks = [Collector() for _ in range(PLACES)]
    for sink in sinks:
        dispatcher.submit("a", ScriptedEngine().say("Fine.", ""), sink)

    assert all(isinstance(sink.ending(), Usage) for sink in sinks)


def test_more_to_be_read_than_can_wait_is_refused(dispatcher: Dispatcher) -> None:
    for _ in range(MAX_QUEUE):
        read(dispatcher, ScriptedEngine())

    with pytest.raises(TritalkError) as refusal:
        read(dispatcher, ScriptedEngine())

    assert refusal.value.code is ErrorCode.BUSY


def test_reading_past_its_deadline_is_cancelled_and_no_timeout(
    dispatcher: Dispatcher, clock: Clock, family: type[FakeFamily]
) -> None:
    reader = ScriptedEngine()
    reading = read(dispatcher, reader)
    assert reader.started.wait(WAIT_S)

    clock.now += DEADLINE_S

    ending = reading.ending()
    assert isinstance(ending, Usage)
    assert ending.finish_reason == "cancelled"
    assert metric_values(family, "llm_consecutive_timeouts") == [0]


def test_counting_waits_for_no_answer(
    dispatcher: Dispatcher, full: list[tuple[ScriptedEngine, Collector]]
) -> None:
    sink = Collector()
    dispatcher.submit("c", lambda _, __: Usage(7, 0, "length"), sink, kind=Kind.COUNT)

    assert sink.ending() == Usage(7, 0, "length")


def test_the_pieces_of_an_answer_are_joined_and_none_is_lost(
    clock: Clock, family: type[FakeFamily]
) -> None:
    dispatcher = make(clock, family, delta_interval_s=0.05)
    sink = Collector()
    clause = "A first clause that is so long that nobody waits for what is said after it"
    dispatcher.submit("a", ScriptedEngine().say(clause, " clock", " is", " old", ""), sink)
    ending = sink.ending()
    dispatcher.close()

    assert isinstance(ending, Usage)
    assert sink.texts == [clause, " clock is old"]


def test_closing_cancels_what_is_under_way_and_refuses_what_comes(
    dispatcher: Dispatcher, full: list[tuple[ScriptedEngine, Collector]]
) -> None:
    dispatcher.close()

    for _, sink in full:
        ending = sink.ending()
        assert isinstance(ending, Usage)
        assert ending.finish_reason == "cancelled"
    with pytest.raises(TritalkError) as refusal:
        dispatcher.submit("late", ScriptedEngine(), Collector())
    assert refusal.value.code is ErrorCode.UNAVAILABLE
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("llm-patrol")]


def eventually(condition: Callable[[], Any]) -> None:
    """Wait until something holds; fail when it never does."""
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(WAIT_S / 1000)
    assert condition()
