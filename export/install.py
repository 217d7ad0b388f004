"""Puts verified files into a folder of the model repository, and knows what lies there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from export.cache import Digests, sha256_of, write_atomically

RECEIPT = "weights.json"
"""Beside the weights: which entries they came from, under which licence, and their sha256."""


class Installed(BaseModel):
    """One entry of a receipt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    """Names the exact content: the sha256 of the sources, and of the converter where there is one.
    """
    licence: str
    origin: str
    pinned: bool
    """Whether the sources are the catalogue's, and not the user's own."""
    files: dict[str, str]
    """sha256 of the installed files by name."""


class Receipt(BaseModel):
    """What was installed into one folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entries: dict[str, Installed] = {}


@dataclass(frozen=True)
class Content:
    """A verified file, ready to be installed."""

    path: Path
    sha256: str
    copy: bool = False
    """Never a hard link: the file has another mode, or may be written in place."""
    executable: bool = False


def read_receipt(folder: Path) -> Receipt:
    """The receipt of a folder; an empty one where there is none that can be read."""
    try:
        return Receipt.model_validate_json((folder / RECEIPT).read_bytes())
    except (OSError, ValidationError):
        return Receipt()


def is_current(folder: Path, entry: str, key: str, names: Sequence[str], digests: Digests) -> bool:
    """Whether a folder holds exactly this content of an entry, and all of it unharmed."""
    installed = read_receipt(folder).entries.get(entry)
    return (
        installed is not None
        and installed.key == key
        and set(installed.files) == set(names)
        and all(digests.of(folder / name) == digest for name, digest in installed.files.items())
    )


def install(
    folder: Path,
    entry: str,
    contents: Mapping[str, Content],
    *,
    key: str,
    licence: str,
    origin: str,
    pinned: bool,
    digests: Digests,
) -> None:
    """Put the files of an entry into a folder.

    Every file is complete under a name of its own before the first one is put in place, and each
    is put in place in one step. Files of an entry that this one displaces go away.

    Raises:
        OSError: The folder cannot be written; what lay there still does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    staged: dict[str, Path] = {}
    try:
        for name, content in contents.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            staged[name] = target.with_name(f".{target.name}.{os.getpid()}.partial")
            _link_or_copy(content, staged[name])
        for name, partial in staged.items():
            partial.replace(folder / name)
            digests.learn(folder / name, contents[name].sha256)
    finally:
        for partial in staged.values():
            partial.unlink(missing_ok=True)
    installed = Installed(
        key=key,
        licence=licence,
        origin=origin,
        pinned=pinned,
        files={name: content.sha256 for name, content in contents.items()},
    )
    _record(folder, entry, installed)


def _record(folder: Path, entry: str, installed: Installed) -> None:
    entries = read_receipt(folder).entries
    kept = {}
    for name, other in entries.items():
        if name == entry or other.files.keys() & installed.files.keys():
            for file in other.files.keys() - installed.files.keys():
                (folder / file).unlink(missing_ok=True)
        else:
            kept[name] = other
    receipt = Receipt(entries={**kept, entry: installed})
    write_atomically(folder / RECEIPT, receipt.model_dump_json(indent=1) + "\n")


def _link_or_copy(content: Content, target: Path) -> None:
    target.unlink(missing_ok=True)
    if not content.copy:
        try:
            os.link(content.path, target)
        except OSError:
            # Another file system, or one without hard links: a copy does.
            pass
        else:
            return
    shutil.copyfile(content.path, target)
    target.chmod(0o555 if content.executable else 0o444)
    if sha256_of(target) != content.sha256:
        raise OSError(errno.EIO, "was damaged while it was copied", str(target))
