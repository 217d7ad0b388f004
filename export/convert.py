"""Conversions that stand between a checkpoint and the model repository.

A converter is a package `export.NAME` with a function `convert(source_files, out)`: it reads the
files of a catalogue entry, given by their names there, and writes its results into the folder
`out`. What it makes is cached under the sha256 of its sources and of its own code.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export import fingerprint
from export.cache import Cache, sha256_of, write_atomically
from export.catalogue import Conversion
from export.errors import ConversionError, explain

_RECEIPT = "receipt.json"


def key(conversion: Conversion, sources: Mapping[str, str]) -> str:
    """What names the result of a conversion.

    Args:
        conversion: The conversion.
        sources: sha256 of the source files, by their names in the catalogue.

    Raises:
        ConversionError: There is no such converter.
    """
    code = fingerprint.of_package(f"export.{conversion.by}")
    if code is None:
        raise ConversionError(f"there is no converter export/{conversion.by}")
    text = json.dumps([conversion.by, code, sorted(sources.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def cached(cache: Cache, key: str) -> dict[str, str] | None:
    """The sha256 of the files that a conversion has made, by name; None where it has not yet.

    A result that is damaged counts as none.
    """
    try:
        made: dict[str, str] = json.loads((cache.converted / key / _RECEIPT).read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    whole = all(cache.digests.of(path(cache, key, name)) == made[name] for name in made)
    return made if whole else None


def path(cache: Cache, key: str, name: str) -> Path:
    """Where a file that a conversion has made lies."""
    return cache.converted / key / name


def run(
    cache: Cache, title: str, conversion: Conversion, key: str, sources: Mapping[str, Path]
) -> dict[str, str]:
    """Convert, and keep the result.

    Args:
        cache: The cache; the caller holds its lock.
        title: What is converted, for errors.
        conversion: The conversion.
        key: What names its result.
        sources: The source files by their names in the catalogue.

    Returns:
        The sha256 of the files made, by name.

    Raises:
        ConversionError: The converter refused its sources, or did not make what it should.
        DiskFullError: The result does not fit.
    """
    with cache.scratch() as scratch:
        named = _under_their_names(sources, scratch / "sources")
        out = scratch / "out"
        out.mkdir()
        converter: Any = importlib.import_module(f"export.{conversion.by}")
        try:
            converter.convert(named, out)
        except OSError as error:
            raise explain(error, f"converting {title}", out) from error
        except ValueError as error:
            raise ConversionError(f"{title} cannot be converted: {error}") from error
        missing = [name for name in conversion.makes if not (out / name).is_file()]
        if missing:
            raise ConversionError(
                f"converting {title} made no {', '.join(missing)}: "
                f"export/{conversion.by} and the catalogue disagree"
            )
        made = {name: sha256_of(out / name) for name in conversion.makes}
        write_atomically(out / _RECEIPT, json.dumps(made, indent=1))
        for name in made:
            (out / name).chmod(0o444)
        return _keep(cache, out, key, made)


def _keep(cache: Cache, out: Path, key: str, made: dict[str, str]) -> dict[str, str]:
    target = cache.converted / key
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        # A damaged result of an earlier run.
        target.rename(out.parent / "damaged")
    out.rename(target)
    for name, digest in made.items():
        cache.digests.learn(target / name, digest)
    return made


def _under_their_names(sources: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Symbolic links, so that a converter and its errors see file names and not digests."""
    named = {}
    for name, source in sources.items():
        named[name] = folder / name
        named[name].parent.mkdir(parents=True, exist_ok=True)
        named[name].symlink_to(source.resolve())
    return named
