"""The places that `--from` names: a folder, a file, or a hub repository."""

from __future__ import annotations

import importlib
import logging
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from export.cache import sha256_of
from export.errors import CarrierError, MissingSourceError, MissingToolError, OfflineError

_HUB = re.compile(
    r"^hf:(?P<repository>[\w.-]+/[\w.-]+)(?:/(?P<path>[^@]+))?(?:@(?P<revision>[\w./-]+))?$"
)


@dataclass(frozen=True)
class Wanted:
    """A file or an archive that is looked for."""

    name: str
    size: int | None
    sha256: str | None
    """None where any file of the name will do."""
    only_one: bool = False
    """Whether the entry has no other file, so that a single file given needs no name."""
    archive: bool = False
    """Whether it is a carrier package, and not one of the entry's own files."""


class Source(Protocol):
    """A place named with `--from`."""

    title: str

    def find(self, wanted: Wanted, scratch: Path) -> Path | None:
        """A file of the place, None where it has none; `scratch` may be used for a download."""
        ...


def parse(text: str) -> Source:
    """What `--from` names.

    Raises:
        MissingSourceError: It is neither a path that exists nor `hf:owner/name`.
    """
    if text.startswith("hf:"):
        match = _HUB.match(text)
        if match is None:
            raise MissingSourceError(
                f"--from {text}: write hf:owner/name, hf:owner/name@revision or "
                "hf:owner/name/path/to/file"
            )
        return HubSource(match["repository"], match["path"], match["revision"])
    path = Path(text).expanduser()
    if not path.exists():
        raise MissingSourceError(f"--from {text}: there is no such file or folder")
    return LocalSource(path)


class LocalSource:
    """A file, or a folder with everything under it.

    Files are known by what they hold: a file of the right size and sha256 is the one, whatever its
    name. Without a sha256 the name decides.
    """

    def __init__(self, path: Path) -> None:
        self.title = str(path)
        self._is_file = path.is_file()
        self._by_size: dict[int, list[Path]] = defaultdict(list)
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for file in [path] if self._is_file else sorted(path.rglob("*")):
            if file.is_file():
                self._by_size[file.stat().st_size].append(file)
                self._by_name[file.name].append(file)
        self._digests: dict[Path, str] = {}

    def find(self, wanted: Wanted, scratch: Path) -> Path | None:
        """The file that is wanted.

        Raises:
            MissingSourceError: Several files have the name, and the name decides.
        """
        if wanted.sha256 is not None:
            for path in self._by_size.get(wanted.size or 0, ()):
                if path not in self._digests:
                    self._digests[path] = sha256_of(path)
                if self._digests[path] == wanted.sha256:
                    return path
            return None
        files = [path for paths in self._by_name.values() for path in paths]
        if self._is_file and wanted.only_one:
            return files[0]
        named = self._by_name.get(Path(wanted.name).name, [])
        if len(named) > 1:
            raise MissingSourceError(
                f"{self.title} holds {len(named)} files named {wanted.name}: name one folder"
            )
        return named[0] if named else None


class HubSource:
    """A repository of the Hugging Face hub, read with `huggingface_hub` where it is installed.

    Args:
        repository: `owner/name`.
        path: A folder in it, or the file itself for an entry of one file.
        revision: A branch, a tag or a commit; the main branch without it.
    """

    def __init__(self, repository: str, path: str | None, revision: str | None) -> None:
        self.title = f"hf:{repository}" + (f"@{revision}" if revision else "")
        self._repository = repository
        self._path = path
        self._revision = revision

    def find(self, wanted: Wanted, scratch: Path) -> Path | None:
        """Download the file that is wanted, by its name.

        Raises:
            MissingToolError: `huggingface_hub` is not installed.
            OfflineError: The hub cannot be reached.
            CarrierError: There is no such repository or revision, or it is not open to this user.
        """
        if wanted.archive:
            return None
        try:
            hub: Any = importlib.import_module("huggingface_hub")
            errors: Any = importlib.import_module("huggingface_hub.errors")
        except ImportError:
            raise MissingToolError(
                f"{self.title} needs the hub's client: run `pip install huggingface_hub`"
            ) from None
        # Its own words about every try would hide ours.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        if self._path and wanted.only_one:
            name = self._path
        else:
            name = f"{self._path.rstrip('/')}/{wanted.name}" if self._path else wanted.name
        try:
            downloaded: str = hub.hf_hub_download(
                self._repository, name, revision=self._revision, local_dir=scratch / "hub"
            )
        except errors.LocalEntryNotFoundError as error:
            raise OfflineError(f"{self.title}: the hub cannot be reached") from error
        except errors.EntryNotFoundError:
            return None
        except errors.GatedRepoError as error:
            raise CarrierError(
                f"{self.title} is gated: accept its terms on the hub and log in"
            ) from error
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise CarrierError(f"{self.title}: there is no such repository or revision") from error
        except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, ConnectionError) as error:
            raise OfflineError(f"{self.title}: {_first_line(error)}") from error
        except errors.HFValidationError as error:
            raise CarrierError(f"{self.title}: {_first_line(error)}") from error
        return Path(downloaded)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
