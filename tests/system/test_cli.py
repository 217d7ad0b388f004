"""The command line against the real server, as a shell runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.scrape import scrape
from export import assets
from tests.media import watch
from tritalk import metrics
from tritalk.environment import repository_root
from tritalk.server import Server
from tritalk_client import Talker

HARVARD = "F1_harvard_phrases.wav"
TIMEOUT_S = 120

Tritalk = Callable[..., subprocess.CompletedProcess[str]]


def program() -> str:
    return str(Path(sysconfig.get_path("scripts")) / "tritalk")


@pytest.fixture
def tritalk(server: Server, tmp_path: Path) -> Tritalk:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program(), *words, "--server", server.grpc_url],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    return run


@pytest.fixture
def portrait() -> str:
    return str(assets.path("astronaut"))


def test_a_spoken_question_becomes_a_video(tritalk: Tritalk, portrait: str, tmp_path: Path) -> None:
    recording = str(assets.recordings("harvard-phrases")[HARVARD].path)

    done = tritalk("ask", recording, "--avatar", portrait, "-o", "answer.mp4", "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    film = watch((tmp_path / "answer.mp4").read_bytes())
    assert report["outcome"] == "answered"
    assert report["transcript"] == report["question"] != ""
    assert report["reply"]
    assert film.video_end_s == pytest.approx(report["media_s"], abs=0.04)
    stages = report["stages_ms"]
    assert 0 < stages["transcript"] < stages["first_frame"] <= stages["total"]


def test_a_person_sees_words_stages_and_the_file(tritalk: Tritalk, portrait: str) -> None:
    done = tritalk("ask", "--text", "Who are you?", "--avatar", portrait)

    assert (done.returncode, done.stderr) == (0, "")
    for words in ("Who are you?", "first spoken frame", "answer.mp4"):
        assert words in done.stdout


def test_words_are_said_and_scripts_narrated(
    tritalk: Tritalk, portrait: str, tmp_path: Path
) -> None:
    (tmp_path / "script.txt").write_text("The boats leave at noon.", encoding="utf-8")

    said = tritalk("say", "Welcome.", "--avatar", portrait, "-o", "said.mp4")
    narrated = tritalk("narrate", "script.txt", "--avatar", portrait, "-o", "narrated.mp4")

    assert (said.returncode, narrated.returncode) == (0, 0)
    assert watch((tmp_path / "said.mp4").read_bytes()).video_end_s > 0
    assert watch((tmp_path / "narrated.mp4").read_bytes()).video_end_s > 0


def test_portraits_are_added_and_listed(tritalk: Tritalk, portrait: str) -> None:
    added = tritalk("avatars", "add", portrait)
    listed = tritalk("avatars", "list", "--json")

    assert added.returncode == 0
    assert added.stdout.strip() in [avatar["avatar_id"] for avatar in json.loads(listed.stdout)]


def test_health_is_good(tritalk: Tritalk) -> None:
    done = tritalk("health", "--json")

    assert done.returncode == 0
    assert json.loads(done.stdout)["can_serve_turns"] is True


def test_a_script_becomes_a_conversation_that_can_be_watched(
    tritalk: Tritalk, portrait: str, tmp_path: Path
) -> None:
    script = str(repository_root() / "client" / "examples" / "mid_sentence.yaml")
    output = ("-o", "talk.mp4", "--events", "events.jsonl")

    done = tritalk("chat", "--replay", script, "--avatar", portrait, *output)

    assert done.returncode == 0, done.stderr
    kinds = [json.loads(line)["type"] for line in (tmp_path / "events.jsonl").open()]
    assert kinds.count("interrupted") == 1
    film = watch((tmp_path / "talk.mp4").read_bytes())
    assert film.video_end_s > 5
    assert film.audio_end_s == pytest.approx(film.video_end_s, abs=0.1)
    assert "first frame" in done.stdout


def test_lines_of_a_pipe_are_a_conversation(server: Server, portrait: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [program(), "chat", "--text", "--avatar", portrait, "--server", server.grpc_url, "--json"],
        cwd=tmp_path,
        input="My name is Ada.\nWhat is my name?\n",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    turns = json.loads(done.stdout)["turns"]
    assert [turn["outcome"] for turn in turns] == ["answered", "answered"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("ask", "--text", "Hello?", "--avatar", "feedfeedfeedfeed"), "unknown_avatar"),
        (("avatars", "delete", "feedfeedfeedfeed"), "unknown_avatar"),
        (("say", "...", "--avatar", "feedfeedfeedfeed", "--speed", "9"), "bad_request"),
    ],
)
def test_what_the_server_refuses_is_one_line(
    tritalk: Tritalk, words: tuple[str, ...], code: str
) -> None:
    done = tritalk(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"[{code}]\n")
    assert done.stderr.count("\n") == 1


def sessions(server: Server) -> float:
    return scrape(server.metrics_url).value(metrics.ACTIVE_SESSIONS.name)


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.2)
    return True


def test_ctrl_c_leaves_nothing_behind_and_the_server_well(
    server: Server, portrait: str, tmp_path: Path
) -> None:
    assert wait_until(lambda: sessions(server) == 0)
    with Talker(server.grpc_url) as talker:
        avatar = talker.register_avatar(portrait)
        words = ["say", "One two three four five six seven. " * 100]
        process = subprocess.Popen(
            [program(), *words, "--avatar", avatar.avatar_id, "--server", server.grpc_url],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert wait_until(lambda: sessions(server) == 1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()

        assert (process.returncode, out, err) == (130, "", "tritalk: stopped\n")
        assert list(tmp_path.iterdir()) == []
        assert wait_until(lambda: sessions(server) == 0)
        assert talker.say("Good.", avatar=avatar).result().outcome == "answered"
