"""What a person sees of a conversation while it is held."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from tritalk_client.events import (
    Event,
    Failure,
    Interrupted,
    Reconnected,
    ReplyText,
    Silence,
    StageTimes,
    Transcript,
    TurnCompleted,
    TurnStarted,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_STAGES = {
    "endpoint": "endpoint",
    "transcript": "transcript",
    "first_token": "first token",
    "first_audio": "first audio",
    "first_frame": "first frame",
}
_CAUSES = {
    "speech": "by your voice",
    "request": "by request",
    "question": "by another question",
    "gone": "by a lost connection",
}


class ChatView:
    """Shows a conversation line by line; a context manager.

    Args:
        console: Where.
        redrawn: Whether what is being said is redrawn in place, which needs a terminal that nobody
            types on; else the words of an answer are appended as they come.
    """

    def __init__(self, console: Console, *, redrawn: bool) -> None:
        self._console = console
        self._live = (
            Live(console=console, transient=True, refresh_per_second=12) if redrawn else None
        )
        self._saying = Text()
        self._reply = ""
        self._line_is_open = False

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the screen as it is."""
        self._end_reply()
        if self._live is not None:
            self._live.stop()

    def note(self, words: str) -> None:
        """A remark."""
        self._line(Text(words, "dim"))

    def show(self, event: Event, *, repeat_question: bool = True) -> None:
        """An event.

        Args:
            event: The event.
            repeat_question: Whether a question that was typed is shown.
        """
        match event:
            case Transcript():
                self._show_transcript(event)
            case TurnStarted():
                if repeat_question and event.question and not self._saying:
                    self._line(_said("you", Text(event.question)))
                self._saying = Text()
                if event.cached:
                    self.note("an answer from the cache")
            case ReplyText():
                self._show_words(event.text)
            case Interrupted():
                self._end_reply()
                self.note(f"interrupted {_CAUSES[event.cause]} after {event.heard_s:.1f} s")
            case TurnCompleted():
                self._end_reply()
                self.note(stages(event.stages_ms))
            case Failure():
                self._end_reply()
                self._line(Text(f"{event.stage}: {event.message}", "red"))
            case Silence():
                self.note(f"silence for {event.silent_s:.0f} s")
            case Reconnected():
                self._end_reply()
                self.note(reconnected(event))
        if self._live is not None:
            self._live.update(self._pending())

    def _show_transcript(self, transcript: Transcript) -> None:
        if not transcript.final:
            stable = transcript.stable
            rest = transcript.text[len(stable) :] if transcript.text.startswith(stable) else ""
            words = Text(stable or "") + Text(rest if stable else transcript.text, "dim")
            self._saying = _said("you", words)
            return
        remark = f"  ({transcript.ignored.replace('_', ' ')})" if transcript.ignored else ""
        self._line(_said("you", Text(transcript.text) + Text(remark, "dim")))
        # The turn that follows has the same question, which is not shown twice.
        self._saying = Text() if transcript.ignored else Text(" ")

    def _show_words(self, words: str) -> None:
        if self._live is None:
            if not self._line_is_open:
                self._console.print(_said("portrait", Text("")), end="")
                self._line_is_open = True
            self._console.print(Text(words), end="", soft_wrap=True)
        self._reply += words

    def _end_reply(self) -> None:
        """The words of the answer that have come become a line of their own."""
        reply, self._reply = self._reply, ""
        if self._live is not None and reply:
            self._line(_said("portrait", Text(reply)))
        elif self._line_is_open:
            self._console.print()
        self._line_is_open = False

    def _line(self, words: Text) -> None:
        if self._line_is_open:
            self._console.print()
            self._line_is_open = False
        self._console.print(words, soft_wrap=True)

    def _pending(self) -> RenderableType:
        reply = [_said("portrait", Text(self._reply))] if self._reply else []
        return Group(*([self._saying] if self._saying.plain.strip() else []), *reply)


def stages(times: StageTimes) -> str:
    """The stage times of a turn in a line, such as `transcript 260 · first frame 510 ms`."""
    given = [
        f"{words} {getattr(times, name):.0f}"
        for name, words in _STAGES.items()
        if getattr(times, name) is not None
    ]
    return " · ".join(given) + " ms" if given else "no stage was reached"


def reconnected(event: Reconnected) -> str:
    """What became of a conversation whose connection was lost."""
    words = ["connected again"]
    if not event.resumed:
        words.append("the server has forgotten the conversation")
    if event.lost:
        words.append("the answer was lost")
    if event.unanswered:
        words.append("ask your last question again")
    return ", ".join(words)


def _said(who: str, words: Text) -> Text:
    return Text.assemble((f"{who:<9}", "bold"), words)
