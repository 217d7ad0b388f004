from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from tests.fakes import FakeFamily, metric_values
from tests.stores import FakeClock, FlakyStore
from tritalk import metrics, slo
from tritalk.metrics import Registry
from tritalk.store.degrading import DegradingStore
from tritalk.store.memory import MemoryStore

NEVER_S = 10_000.0


class Replica:
    """A process with its own memory, before a store that others use as well."""

    def __init__(
        self,
        far: FlakyStore,
        clock: FakeClock,
        *,
        retry_s: float = NEVER_S,
        limit_bytes: int = 1_000_000,
    ) -> None:
        class Family(FakeFamily):
            series = {}

        self._family = Family
        self.store = DegradingStore(
            far,
            MemoryStore(limit_bytes, clock),
            name="far-store",
            degraded=Registry(Family, slo.default())(metrics.STORE_DEGRADED),
            retry_s=retry_s,
            clock=clock,
        )

    @property
    def gauge(self) -> float:
        return metric_values(self._family, "store_degraded")[0]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def far(clock: FakeClock) -> FlakyStore:
    return FlakyStore(clock)


@pytest.fixture
def replica(far: FlakyStore, clock: FakeClock) -> Iterator[Replica]:
    replica = Replica(far, clock)
    yield replica
    replica.store.close()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "tritalk.store")
    return caplog


def test_while_the_primary_works_it_says_what_there_is(far: FlakyStore, replica: Replica) -> None:
    # given a value that this replica has put, and so has a copy of
    replica.store.put("a", b"mine", ttl_s=10)

    # when another replica changes it, removes it, and puts others
    far.content.put("a", b"theirs", ttl_s=10)
    far.content.put("b", b"theirs", ttl_s=10)
    assert replica.store.get("a") == b"theirs"
    assert replica.store.get("b") == b"theirs"
    far.content.delete("a")

    # then this one sees it
    assert replica.store.get("a") is None
    assert not replica.store.delete("a")
    assert replica.gauge == 0


def test_when_the_primary_fails_memory_answers_at_once(
    far: FlakyStore, replica: Replica, log: pytest.LogCaptureFixture
) -> None:
    # given what this replica has put
    replica.store.put("a", b"one", ttl_s=10)

    # when the primary cannot be reached, over many calls
    far.cut_off = True
    before = far.calls
    values = [replica.store.get("a") for _ in range(50)]
    assert replica.store.put("b", b"two", ttl_s=10)

    # then memory serves it all, one call has waited for the primary, and one line says so
    assert values == [b"one"] * 50
    assert replica.store.get("b") == b"two"
    assert far.calls == before + 1
    assert replica.gauge == 1
    assert [record.message for record in log.records] == [
        "far-store failed: nobody there; memory is used until it works again, "
        "which is tried every 10000 s"
    ]


@pytest.mark.parametrize("call", ["get", "put", "delete", "delete_prefix"])
def test_the_call_during_which_it_fails_is_answered_too(
    far: FlakyStore, replica: Replica, call: str
) -> None:
    replica.store.put("k:a", b"one", ttl_s=10)
    far.cut_off = True

    answer = {
        "get": lambda: replica.store.get("k:a"),
        "put": lambda: replica.store.put("k:b", b"two", ttl_s=10),
        "delete": lambda: replica.store.delete("k:a"),
        "delete_prefix": lambda: replica.store.delete_prefix("k:"),
    }[call]()

    assert answer == {"get": b"one", "put": True, "delete": True, "delete_prefix": 1}[call]
    assert replica.store.degraded


def test_what_changed_meanwhile_is_told_before_the_primary_is_used_again(
    far: FlakyStore, replica: Replica, clock: FakeClock, log: pytest.LogCaptureFixture
) -> None:
    # given values in the primary, and an outage
    for key in ("kept", "changed", "deleted", "old:1", "old:2"):
        replica.store.put(key, b"before", ttl_s=100)
    far.cut_off = True

    # when values are changed, removed and added while it lasts
    replica.store.put("changed", b"first", ttl_s=100)
    replica.store.put("changed", b"last", ttl_s=100)
    replica.store.delete("deleted")
    replica.store.put("old:1", b"void", ttl_s=100)
    replica.store.delete_prefix("old:")
    replica.store.put("old:2", b"after", ttl_s=100)
    replica.store.put("new", b"new", ttl_s=100)
    assert not replica.store.recover()
    far.cut_off = False
    clock.advance(7)
    assert replica.store.recover()

    # then the primary holds what this replica says there is
    for where in (far.content, replica.store):
        assert where.get("kept") == b"before"
        assert where.get("changed") == b"last"
        assert where.get("deleted") is None
        assert where.get("old:1") is None
        assert where.get("old:2") == b"after"
        assert where.get("new") == b"new"
    assert replica.gauge == 0
    assert [record.message for record in log.records][1:] == [
        "far-store is used again, after 7 s; it was told 5 changes"
    ]


def test_what_is_written_back_keeps_the_rest_of_its_time(
    far: FlakyStore, replica: Replica, clock: FakeClock
) -> None:
    far.content.put("short", b"older", ttl_s=1000)
    far.cut_off = True
    replica.store.put("short", b"x", ttl_s=10)
    replica.store.put("long", b"y", ttl_s=100)
    clock.advance(60)
    far.cut_off = False
    replica.store.recover()

    assert far.content.get("short") is None
    assert far.content.get("long") == b"y"
    clock.advance(40)
    assert far.content.get("long") is None


def test_a_change_that_has_given_way_in_memory_takes_the_older_value_with_it(
    far: FlakyStore, clock: FakeClock
) -> None:
    # given a memory that holds one value only, and a value in the primary
    replica = Replica(far, clock, limit_bytes=2000)
    far.content.put("a", b"older", ttl_s=100)

    # when it is changed in an outage, and the change gives way to another one
    far.cut_off = True
    replica.store.put("a", b"x" * 1000, ttl_s=100)
    replica.store.put("b", b"y" * 1000, ttl_s=100)
    far.cut_off = False
    replica.store.recover()

    # then nobody is given the older one for the newer
    assert replica.store.get("a") is None
    assert replica.store.get("b") == b"y" * 1000
    replica.store.close()


def test_a_value_too_large_for_memory_is_not_kept_and_the_older_one_goes(
    far: FlakyStore, clock: FakeClock
) -> None:
    replica = Replica(far, clock, limit_bytes=2000)
    far.content.put("a", b"older", ttl_s=100)
    far.cut_off = True

    assert not replica.store.put("a", b"x" * 3000, ttl_s=100)

    far.cut_off = False
    replica.store.recover()
    assert replica.store.get("a") is None
    replica.store.close()


def test_what_the_primary_itself_has_lost_stays_lost(far: FlakyStore, replica: Replica) -> None:
    # given a value of before the outage
    replica.store.put("a", b"one", ttl_s=100)
    replica.store.put("b", b"one", ttl_s=100)
    far.cut_off = True
    assert replica.store.get("a") == b"one"
    replica.store.put("b", b"two", ttl_s=100)

    # when the primary comes back empty
    far.content.delete_prefix("")
    far.cut_off = False
    replica.store.recover()

    # then nothing is brought back that may have been removed by another replica
    assert replica.store.get("a") is None
    assert replica.store.get("b") == b"two"


def test_a_copy_that_the_primary_has_denied_is_not_served_in_an_outage(
    far: FlakyStore, replica: Replica
) -> None:
    replica.store.put("a", b"one", ttl_s=100)
    far.content.delete("a")
    assert replica.store.get("a") is None

    far.cut_off = True

    assert replica.store.get("a") is None


def test_a_primary_that_takes_no_writes_is_not_used_again_for_its_reads(
    far: FlakyStore, replica: Replica
) -> None:
    far.refuses_writes = True
    replica.store.put("a", b"one", ttl_s=100)

    assert not replica.store.recover()
    assert replica.store.get("a") == b"one"


def test_a_failure_while_it_is_told_loses_no_change(far: FlakyStore, replica: Replica) -> None:
    # given two changes of an outage
    far.cut_off = True
    replica.store.put("a", b"one", ttl_s=100)
    replica.store.put("b", b"two", ttl_s=100)
    far.cut_off = False

    # when the primary fails again after the first
    start = far.calls

    def fail_at_the_third() -> None:
        far.cut_off = far.calls - start >= 3

    far.before_answer = fail_at_the_third
    assert not replica.store.recover()
    assert replica.gauge == 1
    far.before_answer = lambda: None
    far.cut_off = False
    assert replica.store.recover()

    # then both have come
    assert far.content.get("a") == b"one"
    assert far.content.get("b") == b"two"


def test_a_change_made_while_it_is_told_is_told_as_well(far: FlakyStore, replica: Replica) -> None:
    # given a change of an outage
    far.cut_off = True
    replica.store.put("a", b"one", ttl_s=100)
    far.cut_off = False

    # when the same key is changed again just as it is being told
    start = far.calls

    def change_once() -> None:
        if far.calls - start == 2:
            replica.store.put("a", b"two", ttl_s=100)

    far.before_answer = change_once
    assert replica.store.recover()

    # then the primary has the last value
    assert far.content.get("a") == b"two"


def test_a_primary_that_is_not_there_at_first_is_found_out_before_it_is_needed(
    far: FlakyStore, replica: Replica, log: pytest.LogCaptureFixture
) -> None:
    far.cut_off = True
    replica.store.check()
    calls = far.calls

    replica.store.put("a", b"one", ttl_s=10)

    assert far.calls == calls
    assert replica.gauge == 1
    assert len(log.records) == 1


def test_it_is_tried_again_without_anybody_waiting(far: FlakyStore, clock: FakeClock) -> None:
    # given a replica that tries often, and a primary that hangs when it is tried
    replica = Replica(far, clock, retry_s=0.01)
    far.cut_off = True
    hung, go_on = threading.Event(), threading.Event()
    replica.store.put("a", b"one", ttl_s=10)

    def hang() -> None:
        hung.set()
        assert go_on.wait(10)

    far.before_answer = hang
    assert hung.wait(10)

    # when it is used meanwhile
    began = time.monotonic()
    assert replica.store.get("a") == b"one"
    took_s = time.monotonic() - began

    # then that call does not wait, and the primary is used again once it works
    assert took_s < 1
    far.cut_off = False
    go_on.set()
    deadline = time.monotonic() + 10
    while replica.gauge == 1:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert far.content.get("a") == b"one"
    replica.store.close()


def test_many_callers_of_a_primary_that_fails_make_one_line_and_lose_nothing(
    far: FlakyStore, replica: Replica, log: pytest.LogCaptureFixture
) -> None:
    # given callers that are all inside the primary when it fails
    inside = threading.Barrier(8)
    far.before_answer = lambda: inside.wait(10) and None
    far.cut_off = True
    callers = [
        threading.Thread(target=replica.store.put, args=(f"k{n}", b"x"), kwargs={"ttl_s": 10})
        for n in range(8)
    ]

    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)

    assert len(log.records) == 1
    assert [replica.store.get(f"k{n}") for n in range(8)] == [b"x"] * 8
    far.before_answer = lambda: None
    far.cut_off = False
    assert replica.store.recover()
    assert far.content.delete_prefix("k") == 8


def test_closing_ends_its_thread_and_the_primary(far: FlakyStore, clock: FakeClock) -> None:
    replica = Replica(far, clock)
    far.cut_off = True
    replica.store.get("a")
    assert any(thread.name == "store-recovery" for thread in threading.enumerate())

    replica.store.close()

    assert not any(thread.name == "store-recovery" for thread in threading.enumerate())
    assert far.closed


def test_a_straggler_after_the_end_starts_nothing(
    far: FlakyStore, clock: FakeClock, log: pytest.LogCaptureFixture
) -> None:
    replica = Replica(far, clock)
    replica.store.close()
    far.cut_off = True

    assert replica.store.get("a") is None

    assert not log.records
    assert not any(thread.name == "store-recovery" for thread in threading.enumerate())
