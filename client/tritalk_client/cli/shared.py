"""What the commands of `tritalk` share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.settings import Avatar, Settings
from tritalk_client.talker import Talker
from tritalk_client.timeouts import Timeouts

_IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def connect(options: argparse.Namespace) -> Talker:
    """A talker as the options of all commands say."""
    usual = Timeouts()
    timeouts = Timeouts(
        connect_s=min(usual.connect_s, options.timeout),
        call_s=options.timeout,
        turn_s=options.timeout,
        stall_s=min(usual.stall_s, options.timeout),
    )
    return Talker(options.server, timeouts=timeouts)


def portrait(talker: Talker, name: str) -> Avatar:
    """The portrait that was named: a file is registered, anything else is an id."""
    path = Path(name)
    if not path.exists() and path.suffix.lower() not in _IMAGE_SUFFIXES and path.name == name:
        return name
    avatar = talker.register_avatar(path)
    for warning in avatar.warnings:
        print(f"tritalk: {name}: {warning}", file=sys.stderr)
    return avatar


def settings(options: argparse.Namespace, *names: str) -> Settings:
    """The settings among the options."""
    given: dict[str, Any] = {name: getattr(options, name) for name in names}
    return msgspec.convert(
        {name: value for name, value in given.items() if value is not None}, Settings
    )


def check_output(path: Path) -> None:
    """Find out before the work that its result has no place to go.

    Raises:
        TritalkError: BAD_REQUEST when it has none.
    """
    if not path.parent.is_dir() or path.is_dir():
        raise TritalkError(
            ErrorCode.BAD_REQUEST, f"--output {path}: give a file in a folder that exists"
        )


def print_json(report: object) -> None:
    """One document on stdout."""
    print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
