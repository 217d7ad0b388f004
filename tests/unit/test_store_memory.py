from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.stores import FakeClock
from tritalk.store.memory import MemoryByKind, MemoryStore

KIB = 1024


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(10 * KIB, clock)


def test_what_was_put_is_got_until_it_is_deleted(store: MemoryStore) -> None:
    assert store.get("a") is None
    assert store.put("a", b"\x00one", ttl_s=10)
    assert store.get("a") == b"\x00one"
    assert store.delete("a")
    assert not store.delete("a")
    assert store.get("a") is None


def test_a_value_takes_the_place_of_the_one_before(store: MemoryStore) -> None:
    store.put("a", b"x" * 5 * KIB, ttl_s=10)
    store.put("a", b"y" * KIB, ttl_s=10)

    assert store.get("a") == b"y" * KIB
    assert store.used_bytes < 2 * KIB


def test_a_value_is_gone_when_its_time_is_up(store: MemoryStore, clock: FakeClock) -> None:
    store.put("a", b"one", ttl_s=10)
    clock.advance(9.9)
    assert store.get("a") == b"one"

    clock.advance(0.1)

    assert store.get("a") is None
    assert not store.delete("a")
    assert store.delete_prefix("") == 0


def test_putting_again_begins_its_time_anew(store: MemoryStore, clock: FakeClock) -> None:
    store.put("a", b"one", ttl_s=10)
    clock.advance(9)
    store.put("a", b"two", ttl_s=10)
    clock.advance(9)

    assert store.get("a") == b"two"


def test_values_past_their_time_do_not_keep_their_memory(
    store: MemoryStore, clock: FakeClock
) -> None:
    # given many values that nobody asks for again
    for n in range(9):
        store.put(f"old-{n}", b"x" * KIB, ttl_s=10)

    # when their time is long over, and something else is asked for
    clock.advance(100)
    store.get("other")

    # then their memory is free
    assert store.used_bytes == 0


def test_those_not_used_for_the_longest_give_way(store: MemoryStore) -> None:
    for name in "abc":
        store.put(name, b"x" * 3 * KIB, ttl_s=10)
    store.get("a")

    store.put("d", b"x" * 3 * KIB, ttl_s=10)

    assert [name for name in "abcd" if store.get(name)] == ["a", "c", "d"]
    assert store.used_bytes <= 10 * KIB


def test_many_small_values_are_bounded_too(store: MemoryStore) -> None:
    for n in range(1000):
        store.put(f"key-{n}", b"", ttl_s=10)

    assert store.delete_prefix("key-") < 40


def test_what_is_larger_than_the_store_is_not_kept_and_neither_is_the_one_before(
    store: MemoryStore,
) -> None:
    store.put("a", b"old", ttl_s=10)
    store.put("b", b"other", ttl_s=10)

    assert not store.put("a", b"x" * 11 * KIB, ttl_s=10)

    assert store.get("a") is None
    assert store.get("b") == b"other"


def test_a_prefix_is_taken_as_it_is_written(store: MemoryStore) -> None:
    for key in ("a*:1", "a*:2", "ab:1", "b"):
        store.put(key, b"x", ttl_s=10)

    assert store.delete_prefix("a*:") == 2

    assert store.get("ab:1") == b"x"
    assert store.get("b") == b"x"


def test_threads_use_it_at_once(store: MemoryStore) -> None:
    def use(n: int) -> None:
        key = f"key-{n % 7}"
        store.put(key, b"x" * (n % 3 * KIB), ttl_s=10)
        store.get(key)
        store.delete(f"key-{n % 5}")
        store.delete_prefix("key-6")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(2000)))

    # then what it believes to hold is what it holds
    store.delete_prefix("")
    assert store.used_bytes == 0


def test_large_values_of_one_kind_do_not_drive_out_another_kind(clock: FakeClock) -> None:
    store = MemoryByKind({"session": 2 * KIB, "answer": 10 * KIB}, clock)
    store.put("session:1", b"what was said", ttl_s=10)

    for n in range(50):
        store.put(f"answer:{n}", b"x" * 3 * KIB, ttl_s=10)

    assert store.get("session:1") == b"what was said"
    assert store.delete_prefix("answer:") == 3
    assert store.delete_prefix("") == 1


def test_a_kind_without_a_limit_is_a_mistake_of_the_program(clock: FakeClock) -> None:
    with pytest.raises(KeyError):
        MemoryByKind({"session": KIB}, clock).put("answer:1", b"", ttl_s=1)
