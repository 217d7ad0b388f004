"""What can go wrong between a catalogue entry and a filled model repository.

Every message is one line for a person: what is wrong, and what to do about it.
"""

from __future__ import annotations

import errno
from pathlib import Path


class WeightsError(Exception):
    """Base of all errors of this package; its text is one line."""


class CatalogueError(WeightsError):
    """`catalogue.yaml` is wrong, or a name is not in it."""


class OfflineError(WeightsError):
    """A registry or a hub cannot be reached."""


class CarrierError(WeightsError):
    """A carrier package cannot be had, or does not hold what the catalogue says."""


class WrongHashError(WeightsError):
    """Bytes are not those that the catalogue names."""


class MissingSourceError(WeightsError):
    """A place named with `--from`, or this checkout, does not hold a file that is needed."""


class MissingToolError(WeightsError):
    """A program or a library that does the work is not installed."""


class DiskFullError(WeightsError):
    """There is not enough room."""


class NotWritableError(WeightsError):
    """A folder cannot be written."""


class BusyError(WeightsError):
    """Another run holds the cache."""


class ConversionError(WeightsError):
    """A checkpoint cannot be converted."""


class MissingAssetError(WeightsError):
    """An asset has not been fetched."""


_NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})


def explain(error: OSError, doing: str, path: Path) -> WeightsError:
    """The error for a person that stands for one of the operating system's.

    Args:
        error: What the operating system said.
        doing: What was being done, as in `installing whisper-base`.
        path: Where it was done, for an error that names no file of its own.
    """
    where = error.filename or path
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFullError(f"{doing}: the disk of {where} is full; free some room and try again")
    if error.errno in _NOT_WRITABLE:
        return NotWritableError(
            f"{doing}: cannot write {where} ({error.strerror}); "
            "change its permissions, or set TRITALK_CACHE_DIR if it is the cache"
        )
    return WeightsError(f"{doing}: {where}: {error.strerror or error}")
