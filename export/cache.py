"""The cache of one user, and what is known about its files.

files/<sha256>           source files, verified once, read-only
archives/<sha256>        carrier packages that are whole, until their members are taken out
converted/<id>/<key>/    what a conversion made, with its receipt
assets/<id>/             assets under their own names
incoming/                what is being downloaded or made; emptied by the next run
digests.json             sha256 of files by path, while size, time and inode stay the same
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from export.errors import BusyError

_CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Replace a small text file in one step; readers see the old text or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class Digests:
    """Remembers the sha256 of files, so that an unchanged file is read once.

    Args:
        path: Where the memory is kept between runs; a file that cannot be read is an empty memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[int | str]] = {}
        self._changed = False
        try:
            self._known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            self._changed = True

    def of(self, path: Path) -> str | None:
        """The sha256 of a file, None where there is none."""
        try:
            state = _state(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        known = self._known.get(str(path))
        if known is not None and known[:-1] == state:
            return str(known[-1])
        digest = sha256_of(path)
        self.learn(path, digest)
        return digest

    def learn(self, path: Path, digest: str) -> None:
        """Remember the sha256 of a file that was just read or written."""
        self._known[str(path)] = [*_state(path), digest]
        self._changed = True

    def save(self) -> None:
        """Write the memory, where it has changed; files that are gone are forgotten."""
        if not self._changed:
            return
        self._known = {path: known for path, known in self._known.items() if os.path.exists(path)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps(self._known, indent=0))
        self._changed = False


def _state(path: Path) -> list[int | str]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


class Cache:
    """The folders of the cache.

    Args:
        root: The cache of the user; it is made by the first run that needs it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.assets = root / "assets"
        self.converted = root / "converted"
        self.digests = Digests(root / "digests.json")
        self._files = root / "files"
        self._archives = root / "archives"
        self._incoming = root / "incoming"

    @contextmanager
    def locked(self, wait_s: float) -> Iterator[None]:
        """Hold the cache for one run, and start it with an empty `incoming/`.

        Args:
            wait_s: How long another run is waited for.

        Raises:
            BusyError: Another run still holds the cache after that time.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "lock")
        try:
            with lock.acquire(timeout=wait_s):
                shutil.rmtree(self._incoming, ignore_errors=True)
                yield
        except Timeout:
            raise BusyError(
                f"another run is filling {self.root}: wait for it to end, or stop it"
            ) from None

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder of one task, on the disk of the cache, gone when the task is done."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._incoming))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def file(self, sha256: str) -> Path | None:
        """A source file with this content; a damaged one is thrown away."""
        return self._verified(self._files / sha256, sha256)

    def archive(self, sha256: str) -> Path | None:
        """A carrier package with this content; a damaged one is thrown away."""
        return self._verified(self._archives / sha256, sha256)

    def keep_file(self, path: Path, sha256: str) -> Path:
        """Move a verified file of a scratch folder into the cache."""
        return self._keep(path, self._files / sha256, sha256)

    def keep_archive(self, path: Path, sha256: str) -> Path:
        """Move a verified carrier package of a scratch folder into the cache."""
        return self._keep(path, self._archives / sha256, sha256)

    def drop_archives(self, digests: Iterable[str]) -> None:
        """Throw away carrier packages that are not needed any more."""
        for sha256 in digests:
            (self._archives / sha256).unlink(missing_ok=True)

    def _verified(self, path: Path, sha256: str) -> Path | None:
        found = self.digests.of(path)
        if found is not None and found != sha256:
            path.unlink()
        return path if found == sha256 else None

    def _keep(self, source: Path, target: Path, sha256: str) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A hard link in a model repository is the same file: nobody may write it in place.
        source.chmod(0o444)
        source.replace(target)
        self.digests.learn(target, sha256)
        return target


def copy_hashing(source: IO[bytes], target: IO[bytes], digest: hashlib._Hash, limit: int) -> int:
    """Copy a stream and hash it on the way.

    Args:
        source: What is read.
        target: What is written.
        digest: What is updated.
        limit: Stop after more bytes than these, so that no source can fill the disk.

    Returns:
        How many bytes were copied; more than `limit` where the source is too long.
    """
    copied = 0
    while copied <= limit and (chunk := source.read(_CHUNK)):
        digest.update(chunk)
        target.write(chunk)
        copied += len(chunk)
    return copied
