"""The guardian's side of the supervisor: started, told to stop, asked how it ended."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tritalk.server import guardian
from tritalk.server.errors import ServerError
from tritalk.server.log import ServerLog

_START_S = 10.0
_MARGIN_S = 3.0
"""Beyond the server's own time to stop: for its stubs to go, and for the guardian to clean up."""


class Child:
    """One tritonserver under a guardian.

    Args:
        command: tritonserver and its arguments.
        environment: Its whole environment.
        folder: Its runtime folder; removed when it has ended.
        shm_prefix: The prefix of its shared memory; removed as well.
        log: Takes its log.
        stop_timeout_s: Bound on stopping.

    Raises:
        ServerError: It cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        shm_prefix: str,
        log: ServerLog,
        stop_timeout_s: float,
    ) -> None:
        self._folder = folder
        self._shm_prefix = shm_prefix
        self._stop_timeout_s = stop_timeout_s
        self._started_at = time.time()
        self._started = threading.Event()
        self._ended = threading.Event()
        self._result: dict[str, Any] | None = None
        self.pid: int | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-I", guardian.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # An interrupt from the terminal is for the supervisor, which stops the server in order.
            start_new_session=True,
            text=True,
            errors="replace",
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._threads = (
            threading.Thread(target=self._read_reports, name="server-reports", daemon=True),
            threading.Thread(
                target=log.read, args=(self._process.stderr,), name="server-log", daemon=True
            ),
        )
        for thread in self._threads:
            thread.start()
        self._give_order(command, environment)
        if not self._started.wait(_START_S) or self.pid is None:
            self.stop()
            raise ServerError(f"{command[0]} cannot be started: {' '.join(log.lines()[-1:])}")

    @property
    def exit_code(self) -> int | None:
        """The server's exit code (negative for a signal), None while it runs."""
        if not self._ended.is_set():
            return None
        return -9 if self._result is None else int(self._result["code"])

    @property
    def forced(self) -> bool:
        """Whether the server had to be killed."""
        return self._result is None or bool(self._result["forced"])

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the server and of its guardian; whether it came."""
        if not self._ended.wait(timeout_s):
            return False
        for thread in self._threads:
            thread.join(_MARGIN_S)
        self._process.wait(_MARGIN_S)
        return True

    def stop(self) -> None:
        """End the server; returns when nothing of it is left, within the bound on stopping."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not self.wait(self._stop_timeout_s):
            self._process.kill()
            self.wait(_MARGIN_S)

    def _give_order(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        order = {
            "command": list(command),
            "environment": dict(environment),
            "grace_s": max(0.0, self._stop_timeout_s - _MARGIN_S),
            "shm_prefix": self._shm_prefix,
            "folder": str(self._folder),
            "started_at": self._started_at,
        }
        assert self._process.stdin is not None
        try:
            print(json.dumps(order), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            # It died before it read; the wait for its first report says so.
            self._started.set()

    def _read_reports(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            report = json.loads(line)
            if report["event"] == "started":
                self.pid = report["pid"]
                self._started.set()
            else:
                self._result = report
        if self._result is None:
            # The guardian was killed, and tritonserver with it; nobody else cleans up.
            guardian.end_session(self._process.pid)
            guardian.remove_leftovers(self._shm_prefix, self._folder, self._started_at)
        self._started.set()
        self._ended.set()
