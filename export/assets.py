"""Assets in the cache: the portrait, the recordings and what is said in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export import catalogue
from export.catalogue import Asset
from export.errors import CatalogueError, MissingAssetError
from tritalk import environment


@dataclass(frozen=True)
class SpokenText:
    """A recording of a person, and the words."""

    path: Path
    """A WAV file; its sample rate and width are its own."""
    text: str
    language: str
    licence: str


def path(name: str) -> Path:
    """Where an asset lies: the file of an asset that has one, else the folder of its files.

    Raises:
        CatalogueError: The catalogue has no such asset.
        MissingAssetError: It has not been fetched.
    """
    asset = _asset(name)
    folder = environment.cache_dir() / "assets" / name
    for file_name in asset.files:
        if not (folder / file_name).is_file():
            raise MissingAssetError(
                f"the asset {name} is not here ({folder / file_name}): "
                f"run `python -m export get {name}`"
            )
    return folder / next(iter(asset.files)) if len(asset.files) == 1 else folder


def recordings(name: str) -> dict[str, SpokenText]:
    """The recordings of an asset, by file name.

    Raises:
        CatalogueError: The catalogue has no such asset.
        MissingAssetError: It has not been fetched.
    """
    asset = _asset(name)
    found = path(name)
    folder = found if found.is_dir() else found.parent
    return {
        file_name: SpokenText(folder / file_name, said.text, said.language, asset.licence)
        for file_name, said in asset.recordings.items()
    }


def _asset(name: str) -> Asset:
    assets = catalogue.default().assets
    if name not in assets:
        raise CatalogueError(f"there is no asset {name!r}, but {', '.join(sorted(assets))}")
    return assets[name]
