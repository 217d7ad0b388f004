"""A real redis-server for tests: a process of its own, on a free port, without a disk."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest
import redis

BINARY = "redis-server"
_START_S = 15.0
_STOP_S = 10.0


def require_redis_server() -> str:
    """The binary's path; without it a test is skipped here, and fails in continuous integration."""
    path = shutil.which(BINARY)
    if path is None:
        reason = f"{BINARY} is not installed; Debian and Ubuntu have it as the package {BINARY}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return path


class RedisServer:
    """One server, whose port stays the same when it is started again; use it as a context manager.

    Args:
        folder: Where it runs; it writes nothing there but its log.
        password: What its clients must know; empty for none.
    """

    def __init__(self, folder: Path, *, password: str = "") -> None:
        self._binary = require_redis_server()
        self._folder = folder
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        """Its URL, with the password."""
        user = f":{self._password}@" if self._password else ""
        return f"redis://{user}127.0.0.1:{self.port}/0"

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, empty; returns when it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "logfile": str(self._folder / "redis.log"),
            "save": "",
            "appendonly": "no",
        }
        if self._password:
            options["requirepass"] = self._password
        command = [self._binary]
        for name, value in options.items():
            command += [f"--{name}", value]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._wait_until_it_answers()

    def kill(self) -> None:
        """End it at once, as a crash does; all that it held is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(_STOP_S)
        self._process = None

    def pause(self) -> None:
        """Let it hang: connections are taken, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._process is not None:
            self.kill()

    def client(self) -> redis.Redis:
        """A client of the test's own."""
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_S
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    assert self._process is not None
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        log = (self._folder / "redis.log").read_text()
                        pytest.fail(f"redis-server does not start:\n{log}", pytrace=False)
                    time.sleep(0.02)
