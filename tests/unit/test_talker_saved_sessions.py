from __future__ import annotations

import re

import msgspec
import pytest

from tests.stores import FakeClock
from tritalk.store.memory import MemoryStore
from tritalk.talker.saved_sessions import MAX_SESSION_BYTES, SavedSession, SavedSessions
from tritalk_client import wire

DAY_S = 86_400.0
SESSION = SavedSession(
    messages=(wire.ChatMessage("user", "I am Bob."), wire.ChatMessage("assistant", "Hello, Bob.")),
    avatar_id="anna",
    voice="default",
    language="en",
    system_prompt="You are kind.",
    examples=(("Hello!", "Hi!"),),
    sampling=wire.Sampling(temperature=0.5, stop=("\n",)),
    speed=1.25,
    interrupt_ms=300,
    echo_guard=True,
    saved_at=1_750_000_000.5,
)


class SpyStore(MemoryStore):
    """A store that remembers the keys it was asked with."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(10_000_000, clock)
        self.keys: set[str] = set()

    def put(self, key: str, value: bytes, *, ttl_s: float) -> bool:
        self.keys.add(key)
        return super().put(key, value, ttl_s=ttl_s)

    def get(self, key: str) -> bytes | None:
        self.keys.add(key)
        return super().get(key)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> SpyStore:
    return SpyStore(clock)


@pytest.fixture
def sessions(store: SpyStore) -> SavedSessions:
    return SavedSessions(store, ttl_s=DAY_S)


def test_a_session_is_loaded_as_it_was_saved(sessions: SavedSessions) -> None:
    session_id = sessions.new_id()

    assert sessions.load(session_id) is None
    assert sessions.save(session_id, SESSION)
    assert sessions.load(session_id) == SESSION
    assert sessions.load(sessions.new_id()) is None


def test_saving_keeps_the_last_state_for_its_time_from_then_on(
    sessions: SavedSessions, clock: FakeClock
) -> None:
    session_id = sessions.new_id()
    sessions.save(session_id, SESSION)
    clock.advance(DAY_S - 1)
    later = msgspec.structs.replace(SESSION, voice="f1")
    sessions.save(session_id, later)

    clock.advance(DAY_S - 1)
    assert sessions.load(session_id) == later
    clock.advance(1)
    assert sessions.load(session_id) is None


def test_a_session_can_be_forgotten(sessions: SavedSessions) -> None:
    session_id = sessions.new_id()
    sessions.save(session_id, SESSION)

    assert sessions.forget(session_id)
    assert not sessions.forget(session_id)
    assert sessions.load(session_id) is None


def test_ids_are_long_never_the_same_and_fit_the_wire(sessions: SavedSessions) -> None:
    ids = {sessions.new_id() for _ in range(1000)}

    assert len(ids) == 1000
    for session_id in ids:
        # 24 characters of 6 bits
        assert re.fullmatch(r"[A-Za-z0-9_-]{24}", session_id)
        wire.decode(wire.encode(wire.Configure(session_id=session_id)), wire.Configure)


def test_neither_the_store_nor_the_log_sees_an_id(
    sessions: SavedSessions, store: SpyStore, caplog: pytest.LogCaptureFixture
) -> None:
    # given a session that is saved, refused and damaged
    session_id = sessions.new_id()
    sessions.save(session_id, SESSION)
    (key,) = store.keys
    value = store.get(key)
    assert value is not None
    store.put(key, value[:-2], ttl_s=60)
    sessions.load(session_id)
    sessions.save(session_id, _with_messages(40_000, "x" * 100))
    sessions.save(session_id, _with_messages(1, "x" * 9000))

    assert len(caplog.records) == 3
    assert session_id not in caplog.text
    assert session_id not in " ".join(store.keys)
    assert session_id.encode() not in value


def test_a_session_of_another_release_can_be_gone_on_with(
    sessions: SavedSessions, store: SpyStore
) -> None:
    # given a session whose saver knows one field more, and lacks those that came last
    session_id = sessions.new_id()
    sessions.save(session_id, SESSION)
    (key,) = store.keys
    value = store.get(key)
    assert value is not None
    fields = msgspec.msgpack.decode(value[1:])
    fields["mood"] = "cheerful"
    del fields["echo_guard"], fields["answer_cache"]
    store.put(key, value[:1] + msgspec.msgpack.encode(fields), ttl_s=60)

    assert sessions.load(session_id) == msgspec.structs.replace(SESSION, echo_guard=None)


@pytest.mark.parametrize(
    "silly",
    [
        pytest.param(lambda: _with_messages(MAX_SESSION_BYTES // 100, "x" * 100), id="too large"),
        pytest.param(lambda: _with_messages(1, "x" * 8001), id="a message too long"),
    ],
)
def test_what_could_not_be_loaded_again_is_not_saved(
    sessions: SavedSessions, caplog: pytest.LogCaptureFixture, silly
) -> None:
    session_id = sessions.new_id()

    assert not sessions.save(session_id, silly())

    assert sessions.load(session_id) is None
    assert len(caplog.records) == 1


def test_the_longest_message_is_saved(sessions: SavedSessions) -> None:
    session_id = sessions.new_id()

    assert sessions.save(session_id, _with_messages(2, "x" * 8000))
    assert sessions.load(session_id) is not None


def _with_messages(count: int, content: str) -> SavedSession:
    messages = tuple(wire.ChatMessage("user", content) for _ in range(count))
    return msgspec.structs.replace(SESSION, messages=messages)
