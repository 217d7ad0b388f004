from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tritalk.llm.slots import Slots

KEY = "secret"
WAIT_S = 10.0
LATEST, BUSY, OWN, FRESH = range(4)
PLACES = [
    {"id": LATEST, "is_processing": False, "id_task": 9, "n_prompt_tokens": 100},
    {"id": BUSY, "is_processing": True, "id_task": 10, "n_prompt_tokens": 10},
    {"id": OWN, "is_processing": False, "id_task": 3, "n_prompt_tokens": 80},
    {"id": FRESH, "is_processing": False, "id_task": -1},
]


class Places(socketserver.ThreadingUnixStreamServer):
    """The places of a llama.cpp server, as its HTTP interface has them."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder / "llm.sock"), Handler)
        self.folder = folder
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()


class Handler(BaseHTTPRequestHandler):
    server: Places

    def do_GET(self) -> None:
        self._answer(PLACES)

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["filename"]
        if self.path.endswith("=save"):
            (self.server.folder / name).write_bytes(b"what was said")
        assert (self.server.folder / name).exists()
        self._answer({})

    def _answer(self, body: Any) -> None:
        assert self.headers["Authorization"] == f"Bearer {KEY}"
        self.server.asked.append(f"{self.command} {self.path}")
        assert self.server.gate.wait(WAIT_S)
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    with Places(tmp_path) as places:
        thread = threading.Thread(target=places.serve_forever, daemon=True)
        thread.start()
        yield places
        places.gate.set()
        places.shutdown()
        thread.join(WAIT_S)


@pytest.fixture
def slots(places: Places, tmp_path: Path) -> Iterator[Slots]:
    slots = Slots(
        tmp_path / "llm.sock", KEY, tmp_path, tokens_timeout_s=WAIT_S, share_timeout_s=WAIT_S
    )
    yield slots
    places.gate.set()
    slots.close()


def wait_until_shared() -> None:
    for thread in threading.enumerate():
        if thread.name == "llm-share":
            thread.join(WAIT_S)
            assert not thread.is_alive()


def test_the_tokens_of_all_places_are_counted(slots: Slots) -> None:
    assert slots.tokens() == 190


def test_what_was_read_last_goes_into_free_places_with_little_of_their_own(
    slots: Slots, places: Places, tmp_path: Path
) -> None:
    slots.share_latest()
    wait_until_shared()

    assert places.asked == [
        "GET /slots",
        f"POST /slots/{LATEST}?action=save",
        "GET /slots",
        f"POST /slots/{FRESH}?action=restore",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["llm.sock"]


def test_sharing_keeps_nobody_waiting_and_is_done_by_one_at_a_time(
    slots: Slots, places: Places
) -> None:
    # given a server that does not answer
    places.gate.clear()

    # when answers end one after another
    for _ in range(3):
        slots.share_latest()
    places.gate.set()
    wait_until_shared()

    # then all but the first find that it is done already
    assert len([asked for asked in places.asked if asked.endswith("=save")]) == 1


def test_it_is_done_again_for_a_later_answer(slots: Slots, places: Places) -> None:
    for _ in range(2):
        slots.share_latest()
        wait_until_shared()

    assert len([asked for asked in places.asked if asked.endswith("=save")]) == 2


def test_nothing_is_shared_after_closing(places: Places, tmp_path: Path) -> None:
    slots = Slots(tmp_path / "llm.sock", KEY, tmp_path)
    slots.close()

    slots.share_latest()
    wait_until_shared()

    assert places.asked == []
