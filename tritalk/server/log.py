"""tritonserver's log: forwarded, and kept for the reason of a failure."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable
from typing import TextIO

_KEPT_LINES = 2000

# What every machine without a GPU is told at each start, and what every stop says.
_HARMLESS = re.compile(
    r"CudaDriverHelper has not been initialized"
    r"|Unable to allocate pinned system memory"
    r"|Failed to initialize NVML"
    r"|DCGM unable to start"
    r"|CUDA driver version is insufficient"
    r"|CUDA memory pool disabled"
    r"|^Signal \(15\) received"
    r"|Non-graceful termination detected"
    r"|no pinned memory pool"
)
_SEVERITY = re.compile(r"^[EF]\d{4} [\d:.]+ \d+ \S+\] (.*)$")


class ServerLog:
    """The last lines of a server's log.

    Args:
        forward: Where lines are written; None keeps them only.
        everything: Whether they are written as they come, harmless ones too. Otherwise those of
            the start are held back until `release`, since a failed start says its reason in one
            line and the rest is in its way.
    """

    def __init__(self, *, forward: TextIO | None = None, everything: bool = False) -> None:
        self._forward = forward
        self._everything = everything
        self._held: list[str] | None = None if everything else []
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._lock = threading.Lock()

    def read(self, stream: Iterable[str]) -> None:
        """Take all lines of a stream; returns at its end."""
        for line in stream:
            self.add(line.rstrip("\n"))

    def add(self, line: str) -> None:
        """Keep a line, and write it or hold it back."""
        with self._lock:
            self._lines.append(line)
            if not self._everything and _HARMLESS.search(line):
                return
            if self._held is None:
                self._write(line)
            else:
                self._held.append(line)

    def release(self) -> None:
        """Write what was held back, and from now on every line as it comes."""
        with self._lock:
            held, self._held = self._held or [], None
            for line in held:
                self._write(line)

    def lines(self) -> tuple[str, ...]:
        """The lines that are kept, oldest first."""
        with self._lock:
            return tuple(self._lines)

    def errors(self) -> tuple[str, ...]:
        """The messages of severity error that matter, oldest first, without their prefix."""
        found = (_SEVERITY.match(line) for line in self.lines() if not _HARMLESS.search(line))
        return tuple(match.group(1).strip('"') for match in found if match)

    def error_about(self, model: str) -> str | None:
        """The last error that names a model."""
        for message in reversed(self.errors()):
            if f"'{model}'" in message:
                return brief(message)
        return None

    def _write(self, line: str) -> None:
        if self._forward is not None:
            print(line, file=self._forward, flush=True)


def brief(message: str) -> str:
    """One line of an error of Triton's: without its traceback and Triton's own wrapping."""
    text = message.replace("\\n", "\n").split("\n\nAt:")[0].strip()
    text = re.sub(r"^(ERROR: Failed to create instance: |Internal: |Invalid argument: )+", "", text)
    return " ".join(text.split())
