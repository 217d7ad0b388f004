"""The guardian with shell scripts in tritonserver's place."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tritalk.server import guardian
from tritalk.server.child import Child
from tritalk.server.log import ServerLog

Start = Callable[..., Child]

POLITE = 'trap "exit 0" TERM; echo up >&2; while :; do sleep 0.05; done'
STUBBORN = 'trap "" TERM; echo up >&2; while :; do sleep 0.05; done'
WITH_A_STUB = '(trap "" TERM; while :; do sleep 0.05; done) & echo up >&2; wait'


@pytest.fixture
def log() -> ServerLog:
    return ServerLog()


@pytest.fixture
def start(tmp_path: Path, log: ServerLog) -> Iterator[Start]:
    children: list[Child] = []

    def start(script: str, *, stop_timeout_s: float = 5.0) -> Child:
        folder = tmp_path / "runtime"
        folder.mkdir()
        child = Child(
            ["bash", "-c", script],
            environment={"PATH": "/usr/bin:/bin"},
            folder=folder,
            shm_prefix=f"tritalk-test-{tmp_path.name}-",
            log=log,
            stop_timeout_s=stop_timeout_s,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.stop()


def tree(child: Child) -> list[psutil.Process]:
    assert child.pid is not None
    server = psutil.Process(child.pid)
    parent = server.parent()
    assert parent is not None
    return [parent, server, *server.children(recursive=True)]


def none_alive(processes: list[psutil.Process], within_s: float = 0) -> bool:
    return not psutil.wait_procs(processes, timeout=within_s)[1]


def wait_for(log: ServerLog, line: str) -> None:
    for _ in range(200):
        if line in log.lines():
            return
        signal.sigtimedwait([], 0.05)
    raise AssertionError(f"{line!r} was not written: {log.lines()}")


def test_a_server_that_obeys_is_stopped_in_order(
    start: Start, log: ServerLog, tmp_path: Path
) -> None:
    child = start(POLITE)
    wait_for(log, "up")
    processes = tree(child)

    child.stop()

    assert (child.exit_code, child.forced) == (0, False)
    assert none_alive(processes)
    assert not (tmp_path / "runtime").exists()


def test_a_server_that_does_not_obey_is_killed(start: Start, log: ServerLog) -> None:
    child = start(STUBBORN, stop_timeout_s=3.5)
    wait_for(log, "up")
    processes = tree(child)

    child.stop()

    assert (child.exit_code, child.forced) == (-signal.SIGKILL, True)
    assert none_alive(processes)


def test_a_stub_that_outlives_its_server_is_killed(start: Start, log: ServerLog) -> None:
    child = start(WITH_A_STUB)
    wait_for(log, "up")
    processes = tree(child)
    processes[1].kill()

    assert child.wait(10)
    assert len(processes) >= 3
    assert none_alive(processes)


def test_shared_memory_of_this_server_only_is_removed(start: Start, log: ServerLog) -> None:
    child = start(POLITE)
    wait_for(log, "up")
    own = guardian.SHARED_MEMORY / f"{child._shm_prefix}region"
    other = guardian.SHARED_MEMORY / f"other-{child._shm_prefix}region"
    for region in (own, other):
        region.write_bytes(b"")

    child.stop()

    still_there = other.exists()
    other.unlink()
    assert still_there
    assert not own.exists()


def test_a_server_that_ends_by_itself_tells_its_code(start: Start, log: ServerLog) -> None:
    child = start("echo 'no memory' >&2; exit 7")

    assert child.wait(10)
    assert child.exit_code == 7
    assert log.lines() == ("no memory",)


def test_nothing_outlives_a_killed_guardian(start: Start, log: ServerLog, tmp_path: Path) -> None:
    child = start(POLITE)
    wait_for(log, "up")
    processes = tree(child)
    processes[0].kill()

    assert child.wait(10)
    assert none_alive(processes, within_s=5)
    assert child.exit_code == -signal.SIGKILL
    assert not (tmp_path / "runtime").exists()


def test_a_stub_that_does_not_notice_a_killed_guardian_is_killed(
    start: Start, log: ServerLog
) -> None:
    child = start(WITH_A_STUB)
    wait_for(log, "up")
    processes = tree(child)
    processes[0].kill()

    assert child.wait(10)
    assert len(processes) >= 3
    assert none_alive(processes, within_s=5)


def run_guardian(script: str, environments: Path) -> dict[str, Any]:
    """Guard a script until it ends, with another folder in the place of /tmp; the last report."""
    order = {
        "command": ["bash", "-c", script],
        "environment": {"PATH": "/usr/bin:/bin"},
        "grace_s": 2.0,
        "shm_prefix": "tritalk-test-none-",
        "folder": str(environments / "runtime"),
    }
    program = (
        "import pathlib, sys; from tritalk.server import guardian; "
        "guardian.ENVIRONMENTS = pathlib.Path(sys.argv[1]); guardian.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(environments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(order), file=process.stdin, flush=True)
        return dict(json.loads(process.stdout.readlines()[-1]))


@pytest.mark.parametrize(("ends_in_order", "stays"), [(True, True), (False, False)])
def test_the_environment_folder_of_a_server_that_was_killed_is_removed(
    tmp_path: Path, ends_in_order: bool, stays: bool
) -> None:
    before = tmp_path / "python_env_before"
    before.mkdir()
    own = tmp_path / "python_env_own"
    end = "exit 0" if ends_in_order else "kill -9 $$"

    report = run_guardian(f"sleep 0.2; mkdir {own}; sleep 0.3; {end}", tmp_path)

    assert report["code"] == (0 if ends_in_order else -signal.SIGKILL)
    assert not report["requested"]
    assert own.exists() is stays
    assert before.exists()


def test_a_folder_that_another_server_made_at_the_same_time_is_left_alone(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / "python_env_own", tmp_path / "python_env_other"]

    run_guardian(f"mkdir {folders[0]} {folders[1]}; kill -9 $$", tmp_path)

    assert all(folder.exists() for folder in folders)
