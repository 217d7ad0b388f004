"""Sessions and answers in a real Redis: shared by replicas, and what happens when it is gone."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes import FakeFamily, metric_values
from tests.redis_server import RedisServer
from tritalk import metrics, slo
from tritalk.metrics import Registry
from tritalk.store import StoreUnavailableError, open_store
from tritalk.store.degrading import DegradingStore
from tritalk.store.memory import MemoryByKind
from tritalk.store.redis import MAX_VALUE_BYTES, RedisStore

LIMITS_BYTES = {"session": 1_000_000, "answer": 20_000_000}
TIMEOUT_S = 0.2
SLACK_S = 0.8
"""What a busy machine may add to a time-out."""
RETRY_S = 0.2
PASSWORD = "correct horse"


class Replica:
    """What one process of the service has: a store of its own before the Redis of all."""

    def __init__(self, url: str) -> None:
        class Family(FakeFamily):
            series = {}

        self._family = Family
        registry = Registry(Family, slo.default())
        primary = RedisStore(url, timeout_s=TIMEOUT_S)
        self.store = DegradingStore(
            primary,
            MemoryByKind(LIMITS_BYTES),
            name=primary.place,
            degraded=registry(metrics.STORE_DEGRADED),
            retry_s=RETRY_S,
        )
        self.store.check()

    @property
    def gauge(self) -> float:
        return metric_values(self._family, "store_degraded")[0]

    def wait_until_recovered(self) -> None:
        deadline = time.monotonic() + 15
        while self.gauge == 1:
            assert time.monotonic() < deadline, "it does not recover"
            time.sleep(0.01)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def replica(redis_server: RedisServer) -> Iterator[Replica]:
    replica = Replica(redis_server.url)
    yield replica
    replica.store.close()


@pytest.fixture
def other_replica(redis_server: RedisServer) -> Iterator[Replica]:
    replica = Replica(redis_server.url)
    yield replica
    replica.store.close()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING)
    return caplog


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def test_replicas_share_what_is_in_it(replica: Replica, other_replica: Replica) -> None:
    value = bytes(range(256)) * 4000

    assert replica.store.put("answer:1", value, ttl_s=60)

    assert other_replica.store.get("answer:1") == value
    assert other_replica.store.delete("answer:1")
    assert replica.store.get("answer:1") is None
    assert not replica.store.delete("answer:1")


def test_values_are_gone_from_redis_when_their_time_is_up(
    redis_server: RedisServer, replica: Replica
) -> None:
    replica.store.put("session:short", b"x", ttl_s=0.3)
    replica.store.put("session:long", b"y", ttl_s=60)
    assert replica.store.get("session:short") == b"x"

    with redis_server.client() as client:
        assert 55_000 < client.pttl("tritalk:session:long") <= 60_000
        deadline = time.monotonic() + 10
        while client.exists("tritalk:session:short"):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    assert replica.store.get("session:short") is None


def test_a_prefix_is_removed_as_it_is_written_and_nothing_else(
    redis_server: RedisServer, replica: Replica
) -> None:
    # given keys whose text would be patterns, ours and those of another program
    prefixes = ["answer:a*", "answer:a?b", "answer:[ab]", "answer:\\", "answer:^-", "answer:ü "]
    alike = ["answer:ab", "answer:aab", "answer:a", "answer:b", "answer:*"]
    with redis_server.client() as client:
        client.set("answer:a*:1", b"of another program")
        for key in [f"{prefix}:1" for prefix in prefixes] + alike:
            assert replica.store.put(key, b"x", ttl_s=60)

        # when each prefix is removed
        removed = [replica.store.delete_prefix(prefix) for prefix in prefixes]

        # then it alone is gone
        assert removed == [1] * len(prefixes)
        assert all(replica.store.get(key) == b"x" for key in alike)
        assert client.get("answer:a*:1") == b"of another program"


def test_thousands_of_keys_are_removed_by_their_prefix(
    redis_server: RedisServer, replica: Replica
) -> None:
    with redis_server.client() as client:
        client.mset({f"tritalk:answer:old:{n}": b"x" for n in range(5000)})
        client.mset({f"tritalk:answer:new:{n}": b"x" for n in range(3000)})

        assert replica.store.delete_prefix("answer:old:") == 5000
        assert client.dbsize() == 3001  # and the probe's

        assert replica.store.delete_prefix("answer:") == 3000


def test_a_value_too_large_for_redis_is_not_kept(replica: Replica) -> None:
    replica.store.put("answer:1", b"old", ttl_s=60)

    assert not replica.store.put("answer:1", bytes(MAX_VALUE_BYTES + 1), ttl_s=60)

    assert replica.store.get("answer:1") is None
    assert replica.gauge == 0


def test_many_callers_use_it_at_once(replica: Replica) -> None:
    def use(n: int) -> bool:
        key, value = f"session:{n}", b"%d" % n * 1000
        return replica.store.put(key, value, ttl_s=60) and replica.store.get(key) == value

    with ThreadPoolExecutor(32) as callers:
        assert all(callers.map(use, range(500)))
    assert replica.gauge == 0


def test_when_redis_is_killed_memory_serves_and_when_it_is_back_it_is_used_again(
    redis_server: RedisServer,
    replica: Replica,
    other_replica: Replica,
    log: pytest.LogCaptureFixture,
) -> None:
    # given values of two replicas
    replica.store.put("session:mine", b"one", ttl_s=60)
    other_replica.store.put("session:theirs", b"one", ttl_s=60)

    # when Redis is killed
    redis_server.kill()
    took_s = seconds(lambda: replica.store.get("session:mine"))
    took_next_s = seconds(lambda: [replica.store.get("session:mine") for _ in range(100)])

    # then each replica has at once what it has put itself, and can put more
    assert took_s < TIMEOUT_S + SLACK_S
    assert took_next_s < TIMEOUT_S
    assert replica.store.get("session:mine") == b"one"
    assert replica.store.get("session:theirs") is None
    assert replica.store.put("session:new", b"two", ttl_s=60)
    assert replica.store.get("session:new") == b"two"
    assert replica.gauge == 1
    assert len(log.records) == 1
    assert "Connection refused" in log.text or "closed by server" in log.text

    # when it comes back, empty
    redis_server.start()
    replica.wait_until_recovered()

    # then it has what was put meanwhile, and not what it has lost itself
    assert len(log.records) == 2
    assert "is used again" in log.records[1].message
    other_replica.store.get("session:new")
    other_replica.wait_until_recovered()
    assert other_replica.store.get("session:new") == b"two"
    assert replica.store.get("session:mine") is None
    assert other_replica.store.get("session:theirs") is None


def test_a_redis_that_is_only_restarted_between_two_calls_is_not_missed(
    redis_server: RedisServer, replica: Replica, log: pytest.LogCaptureFixture
) -> None:
    replica.store.put("session:1", b"one", ttl_s=60)
    redis_server.kill()
    redis_server.start()

    assert replica.store.put("session:2", b"two", ttl_s=60)

    assert replica.store.get("session:2") == b"two"
    assert replica.gauge == 0
    assert not log.records


def test_a_redis_that_hangs_costs_one_time_out(
    redis_server: RedisServer, replica: Replica, log: pytest.LogCaptureFixture
) -> None:
    # given a Redis that takes connections and does not answer
    replica.store.put("session:1", b"one", ttl_s=60)
    redis_server.pause()

    # when many conversations need it at once, and again
    took_s = []
    callers = [
        threading.Thread(
            target=lambda: took_s.append(seconds(lambda: replica.store.get("session:1")))
        )
        for _ in range(24)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    later_s = seconds(lambda: [replica.store.get("session:1") for _ in range(100)])
    replica.store.put("session:2", b"two", ttl_s=60)

    # then each has waited once at most, and later ones do not, tries included
    assert len(took_s) == 24
    assert TIMEOUT_S * 0.9 < max(took_s) < TIMEOUT_S + SLACK_S
    assert later_s < TIMEOUT_S
    slowest_s = 0.0
    deadline = time.monotonic() + 4 * RETRY_S
    while time.monotonic() < deadline:
        slowest_s = max(slowest_s, seconds(lambda: replica.store.get("session:1")))
        time.sleep(0.001)
    assert slowest_s < TIMEOUT_S
    assert len(log.records) == 1
    assert f"did not answer within {TIMEOUT_S * 1000:.0f} ms" in log.text

    # when it goes on, it has what it had and what was put meanwhile
    redis_server.resume()
    replica.wait_until_recovered()
    with redis_server.client() as client:
        assert client.get("tritalk:session:1") == b"one"
        assert client.get("tritalk:session:2") == b"two"


def test_a_redis_that_trickles_does_not_hold_a_call_longer_than_the_time_out() -> None:
    # given a server whose answer never ends, yet never pauses for as long as the time-out
    with _TricklingServer() as server:
        store = RedisStore(server.url, timeout_s=TIMEOUT_S)

        def get() -> None:
            with pytest.raises(StoreUnavailableError, match="did not answer"):
                store.get("answer:1")

        took_s = seconds(get)

    assert took_s < TIMEOUT_S + SLACK_S
    store.close()


def test_a_removal_during_an_outage_is_made_up_for(
    redis_server: RedisServer, replica: Replica, other_replica: Replica
) -> None:
    # given answers in a Redis that hangs
    for n in range(3):
        other_replica.store.put(f"answer:old:{n}", b"wrong", ttl_s=60)
    redis_server.pause()

    # when they are removed, and one is put anew
    replica.store.delete_prefix("answer:old:")
    replica.store.put("answer:old:1", b"right", ttl_s=60)
    redis_server.resume()
    replica.wait_until_recovered()

    # then they are gone for all
    other_replica.store.get("answer:old:0")
    other_replica.wait_until_recovered()
    assert [other_replica.store.get(f"answer:old:{n}") for n in range(3)] == [None, b"right", None]


def test_a_full_redis_is_not_used_until_it_takes_writes_again(
    redis_server: RedisServer, replica: Replica, log: pytest.LogCaptureFixture
) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
        assert replica.store.put("session:1", b"one", ttl_s=60)
        assert replica.store.get("session:1") == b"one"
        time.sleep(3 * RETRY_S)
        assert replica.gauge == 1
        assert len(log.records) == 1
        assert "maxmemory" in log.text

        client.config_set("maxmemory", "0")
        replica.wait_until_recovered()
        assert client.get("tritalk:session:1") == b"one"


def test_closing_does_not_wait_longer_than_a_time_out_for_a_redis_that_hangs(
    redis_server: RedisServer,
) -> None:
    replica = Replica(redis_server.url)
    redis_server.pause()
    replica.store.get("session:1")

    assert seconds(replica.store.close) < TIMEOUT_S + SLACK_S
    assert not [thread for thread in threading.enumerate() if "redis-store" in thread.name]


@pytest.fixture
def locked_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, password=PASSWORD) as server:
        yield server


def test_with_the_password_it_is_used(locked_server: RedisServer) -> None:
    url = f"redis://:correct%20horse@127.0.0.1:{locked_server.port}/2"
    replica = Replica(url)

    replica.store.put("session:1", b"one", ttl_s=60)

    assert replica.gauge == 0
    with locked_server.client() as client:
        client.select(2)
        assert client.get("tritalk:session:1") == b"one"
    replica.store.close()


@pytest.mark.parametrize("user", ["", ":wrong-secret@", "nobody:wrong-secret@"])
def test_without_the_right_password_memory_is_used_and_the_log_does_not_show_it(
    locked_server: RedisServer, log: pytest.LogCaptureFixture, user: str
) -> None:
    url = f"redis://{user}127.0.0.1:{locked_server.port}/0"

    replica = Replica(url)

    assert replica.gauge == 1
    assert replica.store.put("session:1", b"one", ttl_s=60)
    assert replica.store.get("session:1") == b"one"
    assert len(log.records) == 1
    assert f"redis://127.0.0.1:{locked_server.port}/0 failed:" in log.text
    assert "secret" not in log.text
    replica.store.close()


def test_a_redis_that_is_not_there_when_the_service_starts_is_found_later(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    # given a Redis that has not been started yet
    server = RedisServer(tmp_path)
    replica = Replica(server.url)
    assert replica.gauge == 1
    replica.store.put("session:1", b"one", ttl_s=60)

    # when it is
    with server:
        replica.wait_until_recovered()

        # then it is used
        with server.client() as client:
            assert client.get("tritalk:session:1") == b"one"
        assert len(log.records) == 2
        replica.store.close()


def test_the_settings_open_it(redis_server: RedisServer) -> None:
    class Family(FakeFamily):
        series = {}

    store = open_store(
        redis_server.url, limits_bytes=LIMITS_BYTES, registry=Registry(Family, slo.default())
    )

    assert store.put("session:1", b"one", ttl_s=60)
    with redis_server.client() as client:
        assert client.get("tritalk:session:1") == b"one"
    assert metric_values(Family, "store_degraded") == [0]
    store.close()


def test_closing_leaves_no_thread_and_no_connection(redis_server: RedisServer) -> None:
    replica = Replica(redis_server.url)
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda _: replica.store.get("session:1"), range(100)))

    replica.store.close()

    assert not [thread for thread in threading.enumerate() if "redis-store" in thread.name]
    with redis_server.client() as client:
        deadline = time.monotonic() + 10
        while client.info("clients")["connected_clients"] > 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)


class _TricklingServer:
    """Answers whatever it is asked with a long value, a byte at a time."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> _TricklingServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"$1000000\r\n")
            while not self._ended.wait(TIMEOUT_S / 10):
                connection.sendall(b"x")
