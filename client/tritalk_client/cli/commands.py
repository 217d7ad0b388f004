"""What the commands of `tritalk` do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tritalk_client import wire
from tritalk_client.cli import display
from tritalk_client.cli.chat import chat
from tritalk_client.cli.exit_codes import ExitCode
from tritalk_client.cli.shared import check_output, connect, portrait, print_json, settings
from tritalk_client.conversation import Turn
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.settings import Avatar
from tritalk_client.video import Answer, Video


def ask(options: argparse.Namespace) -> ExitCode:
    """`tritalk ask`."""
    check_output(options.output)
    with connect(options) as talker:
        avatar = portrait(talker, options.avatar)
        turn = talker.ask(
            options.question,
            text=options.text,
            pace=options.pace,
            avatar=avatar,
            **settings(options, "voice", "language", "system_prompt", "speed"),
        )
        return _watch_turn(turn, avatar, options)


def say(options: argparse.Namespace) -> ExitCode:
    """`tritalk say`."""
    check_output(options.output)
    with connect(options) as talker:
        avatar = portrait(talker, options.avatar)
        turn = talker.say(options.text, avatar=avatar, **settings(options, "voice", "speed"))
        return _watch_turn(turn, avatar, options)


def narrate(options: argparse.Namespace) -> ExitCode:
    """`tritalk narrate`."""
    check_output(options.output)
    text = _read_script(options.script)
    with connect(options) as talker:
        avatar = portrait(talker, options.avatar)
        narration = talker.narrate(text, avatar=avatar, voice=options.voice, speed=options.speed)
        with display.watching(display.NarrationView(), quiet=options.json) as view:
            for fragment in narration:
                view.update(fragment)
        video = narration.video
    path = video.save(options.output)
    if options.json:
        print_json(_video_report(video, path, avatar))
    else:
        display.print_video(video, path)
    return ExitCode.OK


def avatars(options: argparse.Namespace) -> ExitCode:
    """`tritalk avatars`."""
    with connect(options) as talker:
        if options.action == "add":
            avatar = talker.register_avatar(options.image)
            _print(options, avatar, lambda: display.print_avatar(avatar))
        elif options.action == "delete":
            talker.delete_avatar(options.avatar)
            _print(options, {"deleted": options.avatar}, lambda: None)
        else:
            known = talker.avatars()
            _print(options, known, lambda: display.print_avatars(known))
    return ExitCode.OK


def transcribe(options: argparse.Namespace) -> ExitCode:
    """`tritalk transcribe`."""
    with connect(options) as talker:
        transcript = talker.transcribe(options.recording, language=options.language)
    _print(options, transcript, lambda: print(transcript.text))
    return ExitCode.OK


def forget_answers(options: argparse.Namespace) -> ExitCode:
    """`tritalk forget-answers`."""
    with connect(options) as talker:
        forgotten = talker.forget_answers(options.question)
    _print(options, {"forgotten": forgotten}, lambda: print(f"{forgotten} answers forgotten"))
    return ExitCode.OK


def health(options: argparse.Namespace) -> ExitCode:
    """`tritalk health`."""
    with connect(options) as talker:
        state = talker.health()
    report = {
        "server": state.server,
        "version": state.version,
        "can_serve_turns": state.can_serve_turns,
        "models": state.models,
    }
    _print(options, report, lambda: display.print_health(state))
    return ExitCode.OK if state.can_serve_turns else ExitCode.UNAVAILABLE


COMMANDS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {
    "ask": ask,
    "say": say,
    "chat": chat,
    "narrate": narrate,
    "avatars": avatars,
    "transcribe": transcribe,
    "forget-answers": forget_answers,
    "health": health,
}
"""The commands by their names."""


def _watch_turn(turn: Turn, avatar: Avatar, options: argparse.Namespace) -> ExitCode:
    with display.watching(display.TurnView(), quiet=options.json) as view:
        for event in turn:
            view.update(event)
    answer = turn.answer
    if not answer.media:
        raise TritalkError(ErrorCode.INTERNAL, f"the turn {answer.outcome} without a video")
    path = answer.save(options.output)
    if options.json:
        print_json(_answer_report(answer, path, avatar))
    else:
        display.print_answer(answer, path)
    return ExitCode.OK


def _read_script(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TritalkError(
            ErrorCode.BAD_REQUEST, f"{name} is not a text file in UTF-8: {error}"
        ) from error


def _answer_report(answer: Answer, path: Path, avatar: Avatar) -> dict[str, Any]:
    return {
        "transcript": answer.transcript.text if answer.transcript else None,
        "question": answer.question,
        "reply": answer.reply,
        "outcome": answer.outcome,
        "turn_id": answer.turn_id,
        "stages_ms": answer.stages_ms,
        "usage": answer.usage,
        **_video_report(answer, path, avatar),
    }


def _video_report(video: Video, path: Path, avatar: Avatar) -> dict[str, Any]:
    return {
        "avatar": avatar.avatar_id if isinstance(avatar, wire.AvatarInfo) else avatar,
        "video": str(path),
        "media_s": video.media_s,
        "arrivals_ms": video.arrivals,
    }


def _print(options: argparse.Namespace, report: object, human: Callable[[], None]) -> None:
    if options.json:
        print_json(report)
    else:
        human()
