"""A small process between the supervisor and tritonserver, so that nothing outlives the supervisor.

It is started as a script, with this file's own imports only. The first line of its standard input
is the order (JSON); the end of the input, which comes also when the supervisor is killed, means
"stop". It answers with one JSON line when tritonserver has started and one when everything is
gone. tritonserver itself dies when this process dies. Its standard error is tritonserver's log.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

SHARED_MEMORY = Path("/dev/shm")
# Triton's Python backend has this path in its code, so a private folder is no choice.
ENVIRONMENTS = Path("/tmp")
ENVIRONMENT_PATTERN = "python_env_*"

_POLL_S = 0.1
_BACKEND_LOAD_S = 30.0
"""How long after its start a server may load a backend of Python models, which makes a folder."""
_CLOCK_TOLERANCE_S = 1.0
_STUBS_S = 2.0
"""How long stubs may take to notice that their server is gone."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def guard(order: dict[str, Any], stop_requested: Callable[[], bool]) -> dict[str, Any]:
    """Run a server until it ends or is asked to, and leave nothing of it behind.

    Args:
        order: `command`, `environment`, `grace_s` (seconds from the polite signal to the other),
            `shm_prefix` and `folder` (removed at the end), `started_at` (epoch seconds).
        stop_requested: Asked every tenth of a second.

    Returns:
        `code` (the server's exit code, negative for a signal), `requested` (whether the stop was),
        `forced` (whether it had to be killed), `stubs_killed`, `shared_memory_removed`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    # Stubs whose server is gone become children of this process, where they are found.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    guardian = os.getpid()

    def die_with_guardian() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guardian:
            os._exit(1)

    server = subprocess.Popen(
        order["command"],
        env=order["environment"],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        preexec_fn=die_with_guardian,
        # Python ignores SIGPIPE; a server whose log nobody reads any more must still end in order.
        restore_signals=False,
    )
    _report("started", pid=server.pid)
    while server.poll() is None and not stop_requested():
        pass
    requested = server.returncode is None
    forced = _end(server, order["grace_s"])
    stubs_killed = _end_stubs()
    return {
        "code": server.returncode,
        "requested": requested,
        "forced": forced,
        "stubs_killed": stubs_killed,
        "shared_memory_removed": remove_leftovers(
            order["shm_prefix"], Path(order["folder"]), order["started_at"]
        ),
    }


def remove_leftovers(shm_prefix: str, folder: Path, started_at: float) -> int:
    """Remove what a dead server left: its shared memory, runtime folder and environments.

    Args:
        shm_prefix: What the names of its shared memory begin with.
        folder: Its runtime folder.
        started_at: When it was started, in seconds since the epoch.

    Returns:
        The number of regions of shared memory that were removed.
    """
    regions = list(SHARED_MEMORY.glob(f"{shm_prefix}*"))
    for region in regions:
        region.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    for environment in _orphaned_environments(started_at):
        # Not empty, or gone already: then it is somebody's.
        with contextlib.suppress(OSError):
            environment.rmdir()
    return len(regions)


def end_session(leader: int) -> int:
    """Kill what is left of a guardian's session when the guardian itself was killed; how many.

    tritonserver dies with its guardian, but a stub does not always notice.
    """
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(process.pid) == leader:
                members.append(process)
    for process in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(members, timeout=_STUBS_S)
    return len(members)


def _orphaned_environments(started_at: float) -> list[Path]:
    """The folders that a dead server made when it loaded its backends.

    Their names say nothing of their owner. They were made soon after its start; one that was made
    soon after the start of a server that lives may be that one's, and is left alone.
    """

    def made_soon_after(start: float, made: float) -> bool:
        return -_CLOCK_TOLERANCE_S <= made - start <= _BACKEND_LOAD_S

    others = [
        process.info["create_time"]
        for process in psutil.process_iter(["name", "create_time", "status"])
        if process.info["name"] == "tritonserver" and process.info["status"] != psutil.STATUS_ZOMBIE
    ]
    orphans = []
    for folder in ENVIRONMENTS.glob(ENVIRONMENT_PATTERN):
        with contextlib.suppress(FileNotFoundError):
            made = folder.stat().st_mtime
            if made_soon_after(started_at, made) and not any(
                made_soon_after(other, made) for other in others
            ):
                orphans.append(folder)
    return orphans


def _end(server: subprocess.Popen[bytes], grace_s: float) -> bool:
    """End the server, politely first; whether it had to be killed."""
    if server.poll() is not None:
        return False
    server.terminate()
    try:
        server.wait(timeout=grace_s)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(timeout=_STUBS_S)
        return True
    return False


def _end_stubs() -> int:
    """Wait until no descendant is left, and kill those that stay; how many were killed."""
    deadline = time.monotonic() + _STUBS_S
    killed = 0
    while stubs := psutil.Process().children(recursive=True):
        _, alive = psutil.wait_procs(stubs, timeout=max(0.0, deadline - time.monotonic()))
        for stub in alive:
            stub.kill()
        killed += len(alive)
        psutil.wait_procs(alive, timeout=_STUBS_S)
    return killed


def _report(event: str, **fields: Any) -> None:
    # A supervisor that is gone does not read it, which is no reason to stop cleaning up.
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), json.dumps({"event": event, **fields}).encode() + b"\n")


def main() -> None:
    """Take the order, guard the server, report the end."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask)
    stdin = sys.stdin.fileno()
    order = json.loads(sys.stdin.readline())

    def stop_requested() -> bool:
        readable, _, _ = select.select([stdin], [], [], _POLL_S)
        return asked or bool(readable)

    _report("ended", **guard(order, stop_requested))


if __name__ == "__main__":
    main()
