"""tritonserver's log: forwarded, and kept for the reason of a failure."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable
from typing import TextIO

_KEPT_LINES = 2000

# What every machine without a GPU is told at each start, and needs to know at none.
_HARMLESS = re.compile(
    r"CudaDriverHelper has not been initialized"
    r"|Unable to allocate pinned system memory"
    r"|Failed to initialize NVML"
    r"|DCGM unable to start"
    r"|CUDA driver version is insufficient"
    r"|CUDA memory pool disabled"
)
_SEVERITY = re.compile(r"^[EF]\d{4} [\d:.]+ \d+ \S+\] (.*)$")


class ServerLog:
    """The last lines of a server's log.

    Args:
        forward: Where lines are written as they come; None keeps them only.
        everything: Whether the harmless complaints about a missing GPU are forwarded too.
    """

    def __init__(self, *, forward: TextIO | None = None, everything: bool = False) -> None:
        self._forward = forward
        self._everything = everything
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._lock = threading.Lock()

    def read(self, stream: Iterable[str]) -> None:
        """Take all lines of a stream; returns at its end."""
        for line in stream:
            self.add(line.rstrip("\n"))

    def add(self, line: str) -> None:
        """Keep a line, and forward it unless it is harmless."""
        with self._lock:
            self._lines.append(line)
        if self._forward is not None and (self._everything or not _HARMLESS.search(line)):
            print(line, file=self._forward, flush=True)

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


def brief(message: str) -> str:
    """One line of an error of Triton's: without its traceback and Triton's own wrapping."""
    text = message.replace("\\n", "\n").split("\n\nAt:")[0].strip()
    text = re.sub(r"^(ERROR: Failed to create instance: |Internal: |Invalid argument: )+", "", text)
    return " ".join(text.split())
