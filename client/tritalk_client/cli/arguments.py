"""The words that `tritalk` understands."""

from __future__ import annotations

import argparse
from pathlib import Path

from tritalk_client.cli.exit_codes import ExitCode

_SERVER = "localhost:8001"
_TIMEOUT_S = 120.0

_EPILOG = f"""\
exit codes:
  {ExitCode.OK:<5} the command did what it says
  {ExitCode.SERVER_ERROR:<5} the server failed
  {ExitCode.BAD_INPUT:<5} the command line, a file or the request must change
  {ExitCode.UNAVAILABLE:<5} the server is unavailable, busy or too slow: try again
  {ExitCode.STOPPED:<5} stopped by Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; it sets `command`."""
    root = argparse.ArgumentParser(
        prog="tritalk",
        description="Talk to a portrait that a tritalk server brings to life.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _common()
    for add in (_ask, _say, _chat, _narrate, _avatars, _transcribe, _forget_answers, _health):
        add(commands, common)
    return root


_Commands = argparse._SubParsersAction  # argparse offers no public name for it.


def _common(*, repeated: bool = False) -> argparse.ArgumentParser:
    """The options of all commands.

    Args:
        repeated: Whether they are offered a second time, where their defaults would undo what was
            said before.
    """
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--server",
        default=argparse.SUPPRESS if repeated else _SERVER,
        metavar="HOST:PORT",
        help=f"gRPC endpoint of the server (default: {_SERVER})",
    )
    common.add_argument(
        "--timeout",
        type=_seconds,
        default=argparse.SUPPRESS if repeated else _TIMEOUT_S,
        metavar="SECONDS",
        help=f"longest wait for an answer (default: {_TIMEOUT_S:g})",
    )
    common.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS if repeated else False,
        help="print one JSON document on stdout and nothing else",
    )
    return common


def _ask(commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    ask = commands.add_parser(
        "ask", parents=[common], help="ask a spoken or typed question, save the answer as a video"
    )
    question = ask.add_mutually_exclusive_group(required=True)
    question.add_argument(
        "question", nargs="?", type=Path, metavar="QUESTION.wav", help="a recording of at most 60 s"
    )
    question.add_argument("--text", help="a typed question")
    ask.add_argument(
        "--pace", action="store_true", help="send the recording at the speed of speech"
    )
    _portrait(ask, "answer.mp4")
    ask.add_argument("--language", metavar="CODE", help="language of the conversation, such as en")
    ask.add_argument("--system-prompt", metavar="TEXT", help="what the portrait is told to be")
    _voice(ask)


def _say(commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    say = commands.add_parser(
        "say", parents=[common], help="have the portrait speak words as they are"
    )
    say.add_argument("text", help="the words")
    _portrait(say, "answer.mp4")
    _voice(say)


def _chat(commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    chat = commands.add_parser(
        "chat",
        parents=[common],
        help="hold a conversation: by microphone, by typing, or by a script",
        description="Hold a conversation. What you type while the portrait answers interrupts it, "
        "as your voice does; /interrupt only stops it, /quit or Ctrl-D ends the conversation.",
    )
    chat.add_argument(
        "--avatar",
        metavar="PORTRAIT.png|ID",
        help="an image, which is registered first, or the id of a registered portrait",
    )
    how = chat.add_mutually_exclusive_group()
    how.add_argument("--text", action="store_true", help="type, even where there is a microphone")
    how.add_argument(
        "--replay", type=Path, metavar="SCRIPT.yaml", help="let a script speak and type, and end"
    )
    chat.add_argument(
        "--events", type=Path, metavar="FILE", help="with --replay: write all events as JSON lines"
    )
    chat.add_argument(
        "-o", "--output", type=Path, metavar="VIDEO.mp4", help="record the conversation"
    )
    chat.add_argument("--session", metavar="ID", help="go on with an earlier conversation")
    chat.add_argument("--language", metavar="CODE", help="language of the conversation, such as en")
    chat.add_argument("--system-prompt", metavar="TEXT", help="what the portrait is told to be")
    chat.add_argument(
        "--echo-guard",
        action="store_true",
        default=None,
        help="the microphone hears the portrait's own voice: do not take it for the user's",
    )
    _voice(chat)


def _narrate(commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    narrate = commands.add_parser(
        "narrate", parents=[common], help="make a video of the portrait speaking a script"
    )
    narrate.add_argument(
        "script", metavar="SCRIPT.txt", help="a text file of at most 8,000 characters, - for stdin"
    )
    _portrait(narrate, "narration.mp4")
    _voice(narrate)


def _avatars(commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    avatars = commands.add_parser("avatars", parents=[common], help="list, add, delete portraits")
    repeated = _common(repeated=True)
    actions = avatars.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", parents=[repeated], help="list the portraits (default)")
    add = actions.add_parser("add", parents=[repeated], help="prepare a portrait, print its id")
    add.add_argument("image", type=Path, metavar="PORTRAIT.png")
    delete = actions.add_parser("delete", parents=[repeated], help="delete a portrait")
    delete.add_argument("avatar", metavar="ID")


def _transcribe(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    transcribe = commands.add_parser(
        "transcribe", parents=[common], help="print the words of a recording"
    )
    transcribe.add_argument("recording", type=Path, metavar="RECORDING.wav")
    transcribe.add_argument("--language", default="en", metavar="CODE")


def _forget_answers(
    commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    forget = commands.add_parser(
        "forget-answers", parents=[common], help="empty the server's cache of answers"
    )
    forget.add_argument("--question", metavar="TEXT", help="the answers to this question only")


def _health(commands: _Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    commands.add_parser(
        "health",
        parents=[common],
        help=f"the state of every model; exit code {ExitCode.UNAVAILABLE:d} "
        "if no turn can be served",
    )


def _portrait(command: argparse.ArgumentParser, output: str) -> None:
    command.add_argument(
        "--avatar",
        required=True,
        metavar="PORTRAIT.png|ID",
        help="an image, which is registered first, or the id of a registered portrait",
    )
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(output),
        metavar="VIDEO.mp4",
        help="where the video goes (default: %(default)s)",
    )


def _voice(command: argparse.ArgumentParser) -> None:
    command.add_argument("--voice", metavar="NAME", help="the voice (default: the server's)")
    command.add_argument(
        "--speed", type=float, metavar="FACTOR", help="speed of speech, 0.5 to 2 (default: 1)"
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text}")
    return seconds
