"""Decides what a run has to do: what is not current, what must be fetched and made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from export import convert, install
from export.cache import Cache, Digests
from export.carriers import InstalledPackage
from export.catalogue import Archive, Asset, Catalogue, Entry, Model
from export.errors import DiskFullError, MissingSourceError

_MARGIN_BYTES = 64 << 20
"""Room that is left on the disk."""

VERSION = "1"
"""The folder under a model's name that is filled."""


@dataclass(frozen=True)
class Places:
    """Folders that a run reads and fills.

    Attributes:
        cache: The cache.
        models: The model repository.
        checkout: What the paths of local files start from.
    """

    cache: Cache
    models: Path
    checkout: Path

    def folder(self, name: str, entry: Entry) -> Path:
        """Where the files of an entry are installed."""
        if isinstance(entry, Model):
            return self.models / entry.stage / VERSION
        return self.cache.assets / name


@dataclass(frozen=True)
class Job:
    """An entry whose folder has to be filled.

    Attributes:
        name: The id of the entry.
        entry: The entry.
        folder: The folder.
        sources: sha256 of the source files, by name.
        key: Names the content that the folder shall have.
        pinned: Whether the sources are the catalogue's.
    """

    name: str
    entry: Model | Asset
    folder: Path
    sources: Mapping[str, str]
    key: str
    pinned: bool = True


@dataclass
class Plan:
    """What a run has to do."""

    jobs: list[Job] = field(default_factory=list)
    archives: dict[str, Archive] = field(default_factory=dict)
    """Carrier packages to be fetched, by id."""
    conversions: list[str] = field(default_factory=list)
    """Entries to be converted."""
    disk_bytes: int = 0
    """Room needed for packages, source files and results, at the worst moment."""

    @property
    def download_bytes(self) -> int:
        """How much is downloaded."""
        return sum(archive.size for archive in self.archives.values())


def pinned_sources(name: str, entry: Entry, places: Places) -> dict[str, str]:
    """The sha256 that the source files of an entry must have.

    Raises:
        MissingSourceError: A file of this repository is not there.
    """
    sources = {}
    for file_name, file in entry.files.items():
        if file.local is None:
            assert file.sha256 is not None
            sources[file_name] = file.sha256
            continue
        digest = places.cache.digests.of(places.checkout / file.local)
        if digest is None:
            raise MissingSourceError(
                f"{name}: {file.local} is not in this checkout; restore it with git"
            )
        sources[file_name] = digest
    return sources


def job(
    name: str,
    entry: Model | Asset,
    places: Places,
    sources: Mapping[str, str],
    *,
    pinned: bool = True,
) -> Job:
    """The job that installs an entry made of these sources."""
    if isinstance(entry, Model) and entry.convert:
        key = convert.key(entry.convert, sources)
    else:
        key = sha256(json.dumps(sorted(sources.items())).encode()).hexdigest()
    return Job(name, entry, places.folder(name, entry), sources, key, pinned)


def is_done(work: Job, digests: Digests) -> bool:
    """Whether the folder of a job holds what it shall."""
    return install.is_current(work.folder, work.name, work.key, work.entry.installed_names, digests)


def make(jobs: Sequence[Job], catalogue: Catalogue, cache: Cache) -> Plan:
    """Plan the jobs, given what the cache holds and what is installed with this Python."""
    plan = Plan(jobs=list(jobs))
    same_disk = _same_disk(cache.root, [work.folder for work in jobs])
    for work in jobs:
        conversion = work.entry.convert if isinstance(work.entry, Model) else None
        installed = conversion.size if conversion else _size(work.entry)
        plan.disk_bytes += 0 if same_disk else installed
        if conversion:
            if convert.cached(cache, work.name, work.key) is not None:
                continue
            plan.conversions.append(work.name)
            plan.disk_bytes += conversion.size
        for file in work.entry.files.values():
            if file.sha256 is None or cache.file(file.sha256) is not None:
                continue
            plan.disk_bytes += file.size or 0
            for part in file.parts:
                archive = catalogue.archives[part.archive]
                here = cache.archive(archive.sha256) is not None
                if not here and InstalledPackage.find(archive) is None:
                    plan.archives[part.archive] = archive
    # While a package arrives, its client may hold a second copy.
    plan.disk_bytes += plan.download_bytes
    plan.disk_bytes += max((archive.size for archive in plan.archives.values()), default=0)
    return plan


def check_room(plan: Plan, free_bytes: int, root: Path) -> None:
    """Make sure that what is planned fits.

    Raises:
        DiskFullError: It does not.
    """
    needed = plan.disk_bytes + _MARGIN_BYTES
    if plan.disk_bytes and needed > free_bytes:
        raise DiskFullError(
            f"{needed / 1e6:.0f} MB are needed on the disk of {root} and {free_bytes / 1e6:.0f} MB "
            "are free: free some room, or set TRITALK_CACHE_DIR to a larger disk"
        )


def existing_parent(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _size(entry: Entry) -> int:
    return sum(file.size or 0 for file in entry.files.values())


def _same_disk(root: Path, folders: Sequence[Path]) -> bool:
    device = existing_parent(root).stat().st_dev
    return all(existing_parent(folder).stat().st_dev == device for folder in folders)
