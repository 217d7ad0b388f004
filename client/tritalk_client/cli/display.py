"""What a person sees: progress and live words on stderr, results on stdout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tritalk_client import wire
from tritalk_client.events import Event, Fragment, Media, ReplyText, Transcript, TurnStarted
from tritalk_client.health import Health
from tritalk_client.video import Answer, Video

# Reading order of the stages, and what a person calls them.
_STAGES = {
    "transcript": "transcript",
    "first_token": "first token",
    "first_clause": "first clause",
    "first_audio": "first audio",
    "first_frame": "first spoken frame",
    "last_token": "last token",
    "total": "whole answer",
}


class View(Protocol):
    """Something that is redrawn while work goes on."""

    def __rich__(self) -> RenderableType:
        """What it looks like now."""
        ...


V = TypeVar("V", bound=View)


@contextmanager
def watching(view: V, *, quiet: bool) -> Iterator[V]:
    """Show a view on stderr while the block runs; nothing is shown off a terminal.

    Args:
        view: What to show.
        quiet: Whether to show nothing in any case.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield view
        return
    with Live(view, console=console, transient=True, refresh_per_second=12):
        yield view


class TurnView:
    """The words of a turn as they come."""

    def __init__(self) -> None:
        self._spinner = Spinner("dots", "listening")
        self._question = ""
        self._reply = ""

    def update(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case Transcript():
                self._question = event.text
            case TurnStarted():
                self._question = event.question
                self._spinner.update(text="thinking")
            case ReplyText():
                self._reply += event.text
            case Media():
                self._spinner.update(text=f"speaking, {event.start_s + event.duration_s:.1f} s")

    def __rich__(self) -> RenderableType:
        """Who said what, and what goes on."""
        return Group(*_dialogue(self._question, self._reply), self._spinner)


class NarrationView:
    """How much of a narration is there."""

    def __init__(self) -> None:
        self._spinner = Spinner("dots", "reading the script")

    def update(self, fragment: Fragment) -> None:
        """Take a fragment in."""
        self._spinner.update(text=f"speaking, {fragment.start_s + fragment.duration_s:.1f} s")

    def __rich__(self) -> RenderableType:
        """Seconds of video so far."""
        return self._spinner


def print_answer(answer: Answer, path: Path) -> None:
    """The dialogue, the stage table and the file."""
    console = Console()
    console.print(*_dialogue(answer.question, answer.reply), sep="\n")
    table = Table("stage", "at the server", "here", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    arrivals = {
        "first_frame": answer.arrivals.first_spoken,
        "total": answer.arrivals.completed,
    }
    for stage, name in _STAGES.items():
        here, there = arrivals.get(stage), getattr(answer.stages_ms, stage)
        if there is not None or here is not None:
            table.add_row(name, _milliseconds(there), _milliseconds(here))
    console.print(table)
    print_video(answer, path)


def print_video(video: Video, path: Path) -> None:
    """The file and its length."""
    Console().print(Text(f"{path}  {video.media_s:.1f} s"), soft_wrap=True)


def print_avatar(avatar: wire.AvatarInfo) -> None:
    """The id, alone on its line for a shell to take; warnings go to stderr."""
    print(avatar.avatar_id)
    for warning in avatar.warnings:
        Console(stderr=True).print(Text(warning), soft_wrap=True)


def print_avatars(avatars: list[wire.AvatarInfo]) -> None:
    """One line a portrait."""
    for avatar in avatars:
        print(f"{avatar.avatar_id}  {avatar.width}x{avatar.height}")


def print_health(health: Health) -> None:
    """One line a model, and what it comes to."""
    console = Console()
    table = Table("model", "state", "versions", "reason", box=None, pad_edge=False)
    for model in health.models:
        state = Text("ready", "green") if model.ready else Text("not ready", "red")
        table.add_row(model.name, state, ", ".join(model.versions), Text(model.reason))
    console.print(table)
    verdict = "turns can be served" if health.can_serve_turns else "no turn can be served"
    console.print(Text(f"{health.server}, Triton {health.version}: {verdict}"), soft_wrap=True)


def _dialogue(question: str, reply: str) -> list[Text]:
    lines = {"you": question, "portrait": reply}
    return [
        Text.assemble((f"{who:<9}", "bold"), said) for who, said in lines.items() if said.strip()
    ]


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"
