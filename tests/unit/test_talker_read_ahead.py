from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from tests.conversations import Conversations, completed, eventually, unhurried
from tests.fakes import FakeStages
from tritalk.talker.read_ahead import ReadAhead
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


@pytest.fixture
def stages() -> Iterator[FakeStages]:
    stages = FakeStages()
    yield stages
    stages.released.set()
    eventually(lambda: _workers() == [])


@pytest.fixture
def converse(stages: FakeStages) -> Iterator[Conversations]:
    with Conversations(stages) as converse:
        yield converse


def _workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "read-ahead" in thread.name]


def prompt(text: str) -> list[wire.ChatMessage]:
    return [wire.ChatMessage("user", text)]


def was_read(stages: FakeStages) -> list[str]:
    return [messages[-1].content for messages in stages.read]


def test_what_is_said_is_read(stages: FakeStages) -> None:
    ahead = ReadAhead(stages, enabled=True)

    ahead.read(prompt("How"))

    eventually(lambda: was_read(stages) == ["How"])


def test_nothing_is_read_where_that_is_switched_off(stages: FakeStages) -> None:
    ahead = ReadAhead(stages, enabled=False)

    ahead.read(prompt("How"))
    ahead.settle()

    assert _workers() == []
    assert stages.read == []


def test_the_newest_is_read_next_and_what_came_between_is_not(stages: FakeStages) -> None:
    stages.hang.add("read_ahead")
    ahead = ReadAhead(stages, enabled=True)
    ahead.read(prompt("How"))
    eventually(lambda: was_read(stages) == ["How"])

    for text in ("How are", "How are you", "How are you today"):
        ahead.read(prompt(text))
    assert was_read(stages) == ["How"]
    stages.released.set()

    eventually(lambda: was_read(stages) == ["How", "How are you today"])
    assert len([name for name in _workers() if name == "read-ahead"]) <= 1


def test_settling_cancels_what_is_being_read_and_drops_what_was_to_be_read(
    stages: FakeStages,
) -> None:
    stages.long_reading = True
    ahead = ReadAhead(stages, enabled=True)
    ahead.read(prompt("How"))
    eventually(lambda: was_read(stages) == ["How"])
    ahead.read(prompt("How are"))

    ahead.settle()

    eventually(lambda: _workers() == [])
    assert len(stages.cancelled_readings) == 1
    assert was_read(stages) == ["How"]


def test_settling_does_not_wait_for_a_reading_that_does_not_end(stages: FakeStages) -> None:
    stages.hang.add("read_ahead")
    ahead = ReadAhead(stages, enabled=True)
    ahead.read(prompt("How"))
    eventually(lambda: was_read(stages) == ["How"])

    ahead.settle()

    # The reading still hangs, and the answer can begin.
    assert "read-ahead" in _workers()
    assert not stages.released.is_set()


def test_settling_when_nothing_is_read_cancels_nothing(stages: FakeStages) -> None:
    ahead = ReadAhead(stages, enabled=True)
    ahead.read(prompt("How"))
    eventually(lambda: was_read(stages) == ["How"] and _workers() == [])

    ahead.settle()

    assert stages.cancelled_readings == []


def test_reading_goes_on_after_settling(stages: FakeStages) -> None:
    ahead = ReadAhead(stages, enabled=True)
    ahead.settle()

    ahead.read(prompt("How"))

    eventually(lambda: was_read(stages) == ["How"])


def test_a_failure_is_logged_and_the_next_is_read(
    stages: FakeStages, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="tritalk.talker.read_ahead")
    stages.errors["read_ahead"] = TritalkError(ErrorCode.BUSY, "no slot is free", stage="llm")
    ahead = ReadAhead(stages, enabled=True)
    ahead.read(prompt("How"))
    eventually(lambda: _workers() == [] and was_read(stages) == ["How"])
    assert "no slot is free" in caplog.text
    del stages.errors["read_ahead"]

    ahead.read(prompt("How are"))

    eventually(lambda: was_read(stages) == ["How", "How are"])


def test_a_fault_in_reading_ahead_does_not_end_it(
    stages: FakeStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    stages.faulty.add("read_ahead")
    ahead = ReadAhead(stages, enabled=True)
    ahead.read(prompt("How"))
    eventually(lambda: _workers() == [] and was_read(stages) == ["How"])
    stages.faulty.clear()

    ahead.read(prompt("How are"))

    eventually(lambda: was_read(stages) == ["How", "How are"])


def test_the_beginning_of_every_prompt_is_read_when_a_conversation_opens(
    stages: FakeStages,
    converse: Conversations,
) -> None:
    conversation = converse(unhurried(examples='[["Hello!", "Good day."]]'))

    conversation.open(system_prompt="You are kind.")

    eventually(lambda: len(stages.read) == 1)
    assert [message.content for message in stages.read[0]] == ["You are kind.", ""]


def test_what_was_said_is_read_when_an_answer_has_ended(
    stages: FakeStages,
    converse: Conversations,
) -> None:
    conversation = converse(unhurried())
    conversation.open(system_prompt="You are kind.")

    conversation.send(wire.Ask("Who are you?")).wait_closed()

    def latest() -> list[str]:
        return [message.content for message in stages.read[-1]]

    eventually(lambda: latest()[1:] == ["Who are you?", "".join(stages.answer), ""])


def test_an_answer_does_not_wait_for_a_reading_that_hangs(
    stages: FakeStages, converse: Conversations
) -> None:
    stages.hang.add("read_ahead")
    conversation = converse(unhurried())
    conversation.open()
    eventually(lambda: len(stages.read) == 1)

    assert completed(conversation.send(wire.Ask("How are you?"))).outcome == "answered"

    assert not stages.released.is_set()
    assert len(stages.cancelled_readings) == 1
