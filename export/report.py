"""What a run says while it works."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class Report(Protocol):
    """Hears what a run does."""

    def say(self, line: str) -> None:
        """A line for a person."""
        ...

    def transfer(self, title: str, size: int) -> AbstractContextManager[Callable[[int], None]]:
        """A download of `size` bytes; the callable is told how many have arrived."""
        ...

    def work(self, title: str) -> AbstractContextManager[None]:
        """Something that takes a while."""
        ...


class Quiet:
    """Says nothing."""

    def say(self, line: str) -> None:
        """Drop the line."""

    @contextmanager
    def transfer(self, title: str, size: int) -> Iterator[Callable[[int], None]]:
        """Show nothing of a download."""
        yield lambda arrived: None

    @contextmanager
    def work(self, title: str) -> Iterator[None]:
        """Show nothing of the work."""
        yield


class OnConsole:
    """Speaks to a terminal with bars while something moves, and to a log with lines."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """Print the line."""
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def transfer(self, title: str, size: int) -> Iterator[Callable[[int], None]]:
        """A bar with size, speed and the time left, then a line."""
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        start = time.monotonic()
        silent = not self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=silent) as progress:
            bar = progress.add_task(title, total=size)
            yield lambda arrived: progress.update(bar, completed=arrived)
        seconds = max(time.monotonic() - start, 1e-3)
        self.say(
            f"fetched {title}: {megabytes(size)} in {seconds:.1f} s, {megabytes(size / seconds)}/s"
        )

    @contextmanager
    def work(self, title: str) -> Iterator[None]:
        """A spinner, then a line."""
        start = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(title):
                yield
        else:
            yield
        self.say(f"{title}: done in {time.monotonic() - start:.1f} s")


def megabytes(size: float) -> str:
    """A number of bytes for a person."""
    return f"{size / 1e6:.1f} MB" if size < 99.95e6 else f"{size / 1e6:.0f} MB"
