"""The guardian with shell scripts in tritonserver's place."""

from __future__ import annotations

import os
import signal
import types
from collections.abc import Callable, Iterator
from pathlib import Path

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


@pytest.fixture
def environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /tmp, in which no server of this machine makes folders."""
    monkeypatch.setattr(guardian, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(psutil, "process_iter", lambda _: [])
    return tmp_path


def environment(parent: Path, name: str, *, made: float) -> Path:
    folder = parent / f"python_env_{name}"
    folder.mkdir()
    os.utime(folder, (made, made))
    return folder


def test_environments_that_a_dead_server_made_at_its_start_are_removed(environments: Path) -> None:
    older, later = (
        environment(environments, name, made=at) for name, at in (("a", 90), ("b", 140))
    )
    own = [environment(environments, f"own{number}", made=101) for number in range(2)]
    filled = environment(environments, "filled", made=101)
    (filled / "lib").mkdir()
    os.utime(filled, (101, 101))

    guardian.remove_leftovers("tritalk-test-none-", environments / "runtime", 100)

    assert older.exists()
    assert later.exists()
    assert filled.exists()
    assert not any(folder.exists() for folder in own)


def test_environments_that_may_be_of_a_living_server_are_left_alone(
    environments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = types.SimpleNamespace(
        info={"name": "tritonserver", "create_time": 100.5, "status": psutil.STATUS_SLEEPING}
    )
    monkeypatch.setattr(psutil, "process_iter", lambda _: [other])
    unclear = environment(environments, "unclear", made=101)

    guardian.remove_leftovers("tritalk-test-none-", environments / "runtime", 100)

    assert unclear.exists()
