from __future__ import annotations

import http.client
import threading
from pathlib import Path
from typing import Any

import pytest

from tritalk.llm.places import Chat, Place, Places
from tritalk.llm.sharing import Sharing
from tritalk_client.wire import ChatMessage

WAIT_S = 10.0
SYSTEM = ChatMessage("system", "You are a guide in a museum of clocks. " * 10)
CHAT = Chat.of([SYSTEM, ChatMessage("user", "What is this?")])


class Instance:
    """Saves and restores as a llama.cpp server does, and keeps what it was asked."""

    def __init__(self, folder: Path, fails_at: str = "") -> None:
        self._folder = folder
        self._fails_at = fails_at
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def ask(
        self, method: str, target: str, body: dict[str, Any] | None = None, *, timeout_s: float
    ) -> Any:
        assert method == "POST"
        assert body is not None
        self.asked.append(target)
        assert self.gate.wait(WAIT_S)
        if self._fails_at and self._fails_at in target:
            raise http.client.HTTPException("no")
        saved = self._folder / body["filename"]
        if target.endswith("=save"):
            saved.write_bytes(b"what was said")
        assert saved.exists()
        return {}


def sharing_of(
    folder: Path, places: Places, instances: int = 2, *, fails_at: str = ""
) -> tuple[Sharing, list[Instance]]:
    made = [Instance(folder, fails_at) for _ in range(instances)]
    return Sharing(made, places, folder, timeout_s=WAIT_S), made


def take(places: Places) -> Place:
    place = places.take(CHAT, lambda: False)
    assert place is not None
    return place


def wait_until_shared() -> None:
    for thread in threading.enumerate():
        if thread.name == "llm-share":
            thread.join(WAIT_S)
            assert not thread.is_alive()


def copies(places: Places) -> int:
    """How many places hold a copy of the chat: a look at what would still be filled."""
    return sum(place.chat == CHAT and not place.owned for place in places._all)


def test_what_was_read_goes_into_the_empty_places_of_every_instance(tmp_path: Path) -> None:
    places = Places(2, 2)
    sharing, (one, two) = sharing_of(tmp_path, places)

    sharing.share(take(places), CHAT)
    wait_until_shared()

    assert one.asked == ["/slots/0?action=save", "/slots/1?action=restore"]
    assert two.asked == ["/slots/0?action=restore", "/slots/1?action=restore"]
    assert copies(places) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_place_itself_is_free_for_its_chat_as_soon_as_it_is_saved(tmp_path: Path) -> None:
    places = Places(1, 1)
    sharing, (instance,) = sharing_of(tmp_path, places, 1)
    place = take(places)
    instance.gate.clear()

    sharing.share(place, CHAT)
    instance.gate.set()

    assert take(places) is place


def test_sharing_keeps_nobody_waiting_and_is_done_by_one_at_a_time(tmp_path: Path) -> None:
    # given an instance that does not answer
    places = Places(1, 4)
    sharing, (instance,) = sharing_of(tmp_path, places, 1)
    instance.gate.clear()

    # when two answers end one after another
    sharing.share(take(places), CHAT)
    other = Chat.of([ChatMessage("user", "Qu'est-ce que c'est ?")])
    second = places.take(other, lambda: False)
    assert second is not None
    sharing.share(second, other)
    instance.gate.set()
    wait_until_shared()

    # then the second finds it under way, and has its place back
    assert places.take(other, lambda: False) is second
    assert len([asked for asked in instance.asked if asked.endswith("=save")]) == 1


@pytest.mark.parametrize("action", ["save", "restore"])
def test_an_instance_that_fails_costs_nobody_his_place(tmp_path: Path, action: str) -> None:
    places = Places(1, 2)
    sharing, _ = sharing_of(tmp_path, places, 1, fails_at=action)

    sharing.share(take(places), CHAT)
    wait_until_shared()

    assert copies(places) == 0
    assert {take(places).slot, take(places).slot} == {0, 1}
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_shared_after_closing(tmp_path: Path) -> None:
    places = Places(1, 2)
    sharing, (instance,) = sharing_of(tmp_path, places, 1)
    sharing.close()

    sharing.share(take(places), CHAT)
    wait_until_shared()

    assert instance.asked == []
    assert take(places).slot == 0
