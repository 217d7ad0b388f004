from __future__ import annotations

import msgspec
import pytest

from tests.stores import FakeClock
from tritalk.store import Records
from tritalk.store.memory import MemoryStore


class Note(msgspec.Struct):
    text: str
    data: bytes = b""


class LaterNote(msgspec.Struct):
    text: str
    data: bytes = b""
    colour: str = "black"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(100_000, clock)


def records(store: MemoryStore, *, version: int = 1, max_bytes: int = 1000) -> Records[Note]:
    return Records(store, Note, version=version, ttl_s=60, max_bytes=max_bytes)


def test_a_record_is_found_as_it_was_put_for_as_long_as_it_is_kept(
    store: MemoryStore, clock: FakeClock
) -> None:
    notes = records(store)
    note = Note("naïve 你好", b"\x00\xff")

    assert notes.find("note:1") is None
    assert notes.put("note:1", note)
    assert notes.find("note:1") == note
    clock.advance(60)
    assert notes.find("note:1") is None


def test_a_record_of_another_version_is_none_and_stays(store: MemoryStore) -> None:
    records(store, version=1).put("note:1", Note("one"))

    assert records(store, version=2).find("note:1") is None

    # a replica of the other release still has it
    assert records(store, version=1).find("note:1") == Note("one")


def test_a_field_that_is_not_known_yet_is_passed_over(store: MemoryStore) -> None:
    later = Records(store, LaterNote, version=1, ttl_s=60, max_bytes=1000)
    later.put("note:1", LaterNote("one", colour="red"))
    records(store).put("note:2", Note("two"))

    assert records(store).find("note:1") == Note("one")
    assert later.find("note:2") == LaterNote("two")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-3], id="cut off"),
        pytest.param(lambda data: data[:1] + b"\xc1" + data[2:], id="not MessagePack"),
        pytest.param(lambda data: data[:1] + msgspec.msgpack.encode([1]), id="another record"),
        pytest.param(lambda data: data[:1] + b"\x81\xa4text\xa2\xff\xfe", id="not UTF-8"),
        pytest.param(lambda data: data[:1], id="empty"),
    ],
)
def test_a_damaged_record_is_deleted_with_a_line_in_the_log(
    store: MemoryStore, caplog: pytest.LogCaptureFixture, damage
) -> None:
    notes = records(store)
    notes.put("note:1", Note("one"))
    store.put("note:1", damage(store.get("note:1")), ttl_s=60)

    assert notes.find("note:1") is None

    assert store.get("note:1") is None
    assert [record.message.split(":")[0] for record in caplog.records] == ["the Note note"]
    notes.find("note:1")
    assert len(caplog.records) == 1


def test_a_record_that_is_too_large_is_not_kept_and_neither_is_the_one_before(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    notes = records(store, max_bytes=100)
    notes.put("note:1", Note("one"))

    assert not notes.put("note:1", Note("one", b"x" * 100))

    assert notes.find("note:1") is None
    assert "note:1 is not kept" in caplog.records[0].message
    assert "the most are 100" in caplog.records[0].message


def test_records_are_removed_by_key_and_by_prefix(store: MemoryStore) -> None:
    notes = records(store)
    for key in ("note:a:1", "note:a:2", "note:b:1"):
        notes.put(key, Note(key))

    assert notes.delete("note:b:1")
    assert notes.delete_prefix("note:a:") == 2
