"""`tritalk chat`: a conversation by microphone, by typing, or by a script."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

import msgspec
from rich.console import Console

from tritalk_client.cli.chat_view import ChatView
from tritalk_client.cli.exit_codes import ExitCode
from tritalk_client.cli.input import Device, Keyboard, find_device
from tritalk_client.cli.shared import check_output, connect, portrait, print_json, settings
from tritalk_client.conversation import Conversation
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Event, Interrupted, TurnCompleted, TurnStarted
from tritalk_client.recording import Recorder
from tritalk_client.replay import Cue, TimedEvent, replay
from tritalk_client.script import Script, read_script
from tritalk_client.settings import Avatar, Settings, avatar_id

_TICK_S = 0.05
_SETTINGS = ("voice", "language", "system_prompt", "speed", "echo_guard")


def chat(options: argparse.Namespace) -> ExitCode:
    """`tritalk chat`."""
    if options.output is not None:
        check_output(options.output)
    if options.events is not None and options.replay is None:
        raise TritalkError(ErrorCode.BAD_REQUEST, "--events goes with --replay")
    script = None if options.replay is None else read_script(options.replay)
    name = _portrait_name(options, script)
    console = Console(quiet=options.json)
    with ExitStack() as stack:
        talker = stack.enter_context(connect(options))
        avatar = portrait(talker, name)
        wanted = settings(options, *_SETTINGS)
        if script is not None:
            script = script.voiced(talker.synthesise)
            wanted = _script_settings(script) | wanted
        conversation = talker.conversation(
            avatar, session_id=options.session, reconnect=True, **wanted
        )
        account = _Account(options.output, avatar)
        recorder = None if options.output is None else Recorder(options.output)
        try:
            with ExitStack() as talk:
                if recorder is not None:
                    talk.enter_context(recorder)
                talk.enter_context(conversation)
                account.session_id = conversation.session_id
                conversation.observe(account)
                if recorder is not None:
                    recorder.attach(conversation)
                if script is not None:
                    _replay(conversation, script, console, options.events)
                else:
                    _talk(conversation, console, by_typing=options.text)
            code = ExitCode.OK
        except KeyboardInterrupt:
            print("tritalk: stopped", file=sys.stderr)
            code = ExitCode.STOPPED
    account.report(console, as_json=options.json)
    return code


def _talk(conversation: Conversation, console: Console, *, by_typing: bool) -> None:
    """Let a person talk, until he has enough."""
    device = Device(None) if by_typing else find_device()
    if device.missing:
        print(f"tritalk: {device.missing}; type your questions", file=sys.stderr)
    if device.library is not None:
        with ChatView(console, redrawn=console.is_terminal) as view:
            view.note("speak; Ctrl-C ends the conversation")
            conversation.listen(device.chunks())
            for event in conversation:
                view.show(event)
        return
    keyboard = Keyboard(sys.stdin.fileno())
    with ChatView(console, redrawn=False) as view:
        if keyboard.interactive:
            view.note("type a question; /interrupt stops the answer, /quit ends the conversation")
        _Typing(conversation, keyboard).run(view)


class _Typing:
    """A conversation with somebody at a keyboard, or with the lines of a pipe."""

    def __init__(self, conversation: Conversation, keyboard: Keyboard) -> None:
        self._conversation = conversation
        self._keyboard = keyboard
        self._lines: list[str] = []

    def run(self, view: ChatView) -> None:
        while not self._conversation.closed:
            event = self._conversation.poll(_TICK_S)
            if event is not None:
                view.show(event, repeat_question=not self._keyboard.interactive)
                continue
            self._lines += self._keyboard.lines()
            while self._lines and self._may_go_on(self._lines[0]):
                if not self._obey(self._lines.pop(0), view):
                    return
            if self._keyboard.ended and not self._lines and self._conversation.answered:
                return

    def _may_go_on(self, line: str) -> bool:
        """Whether a line is for now: a pipe's questions wait for the answer before."""
        return self._keyboard.interactive or line == "/interrupt" or self._conversation.answered

    def _obey(self, line: str, view: ChatView) -> bool:
        """Do what a line says; False when it ends the conversation."""
        if line == "/quit":
            return False
        if line == "/interrupt":
            self._conversation.interrupt()
        elif line.startswith("/"):
            view.note(f"{line} is not known; /interrupt and /quit are")
        else:
            self._conversation.ask(text=line)
        return True


def _replay(
    conversation: Conversation, script: Script, console: Console, events: Path | None
) -> None:
    """Let a script talk."""
    with _writing(events) as file, ChatView(console, redrawn=False) as view:

        def watch(timed: TimedEvent) -> None:
            if file is not None:
                file.write(msgspec.json.encode(timed.to_builtins()).decode() + "\n")
            if isinstance(timed.event, Cue):
                view.note(f"{timed.at_s:7.2f} s  {timed.event.action} {timed.event.what}")
            else:
                if isinstance(timed.event, TurnStarted | TurnCompleted | Interrupted):
                    view.note(f"{timed.at_s:7.2f} s  {type(timed.event).__name__}")
                view.show(timed.event)

        replay(conversation, script, watch=watch)


@contextmanager
def _writing(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    with path.open("w", encoding="utf-8") as file:
        yield file


@dataclass
class _Account:
    """What is told of a conversation when it is over."""

    video: Path | None
    avatar: Avatar
    session_id: str = ""
    turns: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, event: Event, now_s: float) -> None:
        """An event came."""
        match event:
            case TurnStarted():
                self.turns[event.turn_id] = {"turn_id": event.turn_id, "question": event.question}
            case TurnCompleted() if event.turn_id in self.turns:
                self.turns[event.turn_id] |= {
                    "reply": event.reply,
                    "outcome": event.outcome,
                    "stages_ms": event.stages_ms,
                }

    def heard(self, pcm: bytes, now_s: float) -> None:
        """Nothing is told of the user's voice."""

    def report(self, console: Console, *, as_json: bool) -> None:
        """Print it."""
        video = self.video if self.video is not None and self.video.is_file() else None
        if as_json:
            print_json(
                {
                    "session_id": self.session_id,
                    "avatar": avatar_id(self.avatar),
                    "video": None if video is None else str(video),
                    "turns": list(self.turns.values()),
                }
            )
            return
        if self.session_id:
            console.print(f"--session {self.session_id} goes on from here", soft_wrap=True)
        if video is not None:
            console.print(str(video), soft_wrap=True)


def _portrait_name(options: argparse.Namespace, script: Script | None) -> str:
    if options.avatar is not None:
        name: str = options.avatar
        return name
    if script is None or script.avatar is None:
        raise TritalkError(ErrorCode.BAD_REQUEST, "give a portrait with --avatar")
    beside = script.folder / script.avatar
    return str(beside) if beside.is_file() else script.avatar


def _script_settings(script: Script) -> Settings:
    given = {
        name: value
        for name, value in msgspec.structs.asdict(script.settings).items()
        if value is not None
    }
    return cast(Settings, given)
