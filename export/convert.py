"""Conversions that stand between a checkpoint and the model repository.

A converter is a package `export.NAME` with a function `convert(source_files, out)`: it reads the
files of a catalogue entry, given by their names there, and writes its results into the folder
`out`. What it makes is cached under the sha256 of its sources and of its own code.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from export import fingerprint
from export.cache import Cache, sha256_of, write_atomically
from export.catalogue import Conversion
from export.errors import ConversionError, MissingToolError, explain

_RECEIPT = "receipt.json"
_KEPT = 3
"""Results of a model that are kept, so that one can go back and forth between two versions."""


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


def cached(cache: Cache, model: str, key: str) -> dict[str, str] | None:
    """The sha256 of the files that a conversion has made, by name; None where it has not yet.

    A result that is damaged counts as none.
    """
    try:
        receipt = path(cache, model, key, _RECEIPT).read_text("utf-8")
        made: dict[str, str] = json.loads(receipt)
    except (OSError, json.JSONDecodeError):
        return None
    whole = all(cache.digests.of(path(cache, model, key, name)) == made[name] for name in made)
    return made if whole else None


def path(cache: Cache, model: str, key: str, name: str) -> Path:
    """Where a file that a conversion has made lies."""
    return cache.converted / model / key / name


def run(
    cache: Cache, model: str, conversion: Conversion, key: str, sources: Mapping[str, Path]
) -> dict[str, str]:
    """Convert, and keep the result.

    Args:
        cache: The cache; the caller holds its lock.
        model: The id of the model.
        conversion: The conversion.
        key: What names its result.
        sources: The source files by their names in the catalogue.

    Returns:
        The sha256 of the files made, by name.

    Raises:
        ConversionError: The converter refused its sources, or did not make what it should.
        DiskFullError: The result does not fit.
        MissingToolError: A library that the converter needs is not installed.
    """
    with cache.scratch() as scratch:
        named = _under_their_names(sources, scratch / "sources")
        out = scratch / "out"
        out.mkdir()
        try:
            _converter(conversion.by)(named, out)
        except OSError as error:
            raise explain(error, f"converting {model}", out) from error
        except ValueError as error:
            raise ConversionError(f"{model} cannot be converted: {error}") from error
        missing = [name for name in conversion.makes if not (out / name).is_file()]
        if missing:
            raise ConversionError(
                f"converting {model} made no {', '.join(missing)}: "
                f"export/{conversion.by} and the catalogue disagree"
            )
        made = {name: sha256_of(out / name) for name in conversion.makes}
        write_atomically(out / _RECEIPT, json.dumps(made, indent=1))
        for name in made:
            (out / name).chmod(0o444)
        _keep(out, cache.converted / model / key)
        for name, digest in made.items():
            cache.digests.learn(path(cache, model, key, name), digest)
        return made


def _converter(by: str) -> Callable[[Mapping[str, Path], Path], None]:
    try:
        package: Any = importlib.import_module(f"export.{by}")
    except ImportError as error:
        raise MissingToolError(
            f"export/{by} needs {error.name}, which is not installed: run `make setup`"
        ) from error
    try:
        convert: Callable[[Mapping[str, Path], Path], None] = package.convert
    except AttributeError as error:
        raise ConversionError(f"export/{by} has no function convert") from error
    return convert


def _keep(out: Path, target: Path) -> None:
    """Move a result into the cache, and throw away all but the latest few of the same model."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        # A damaged result of an earlier run.
        shutil.rmtree(target)
    out.rename(target)
    results = sorted(target.parent.iterdir(), key=lambda result: result.stat().st_mtime)
    for old in results[:-_KEPT]:
        shutil.rmtree(old)


def _under_their_names(sources: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Symbolic links, so that a converter and its errors see file names and not digests."""
    named = {}
    for name, source in sources.items():
        named[name] = folder / name
        named[name].parent.mkdir(parents=True, exist_ok=True)
        named[name].symlink_to(source.resolve())
    return named
