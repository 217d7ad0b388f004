"""Where prepared avatars are kept: one file each, under any URL that fsspec understands.

An avatar's file is an uncompressed zip of the original image, the prepared portrait and face (PNG)
and a JSON description. One file makes a save atomic on local disks and object stores alike: readers
see the whole old one or the whole new one, however many processes write at once.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import fsspec
import msgspec
import numpy as np

from tritalk import environment
from tritalk.face_geometry import CROP_SIZE, Affine, Image
from tritalk.settings import SettingsError
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

PREPARATION_VERSION = 1
"""Raise it when the same image would be prepared differently: it then gets another id."""

_ID = re.compile(r"[0-9a-f]{16}")
_SUFFIX = ".avatar"
# The earliest date a zip can hold, so that equal avatars are equal files.
_NO_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class PreparedAvatar:
    """A portrait that can speak."""

    info: wire.AvatarInfo
    portrait: Image
    """uint8 [H, W, 3] BGR, the picture of the video with its mouth closed; H and W are even."""
    face: Image
    """uint8 [256, 256, 3] BGR, the aligned crop of the portrait."""
    to_crop: Affine
    """float64 [2, 3], portrait pixels to crop pixels."""


class _Description(msgspec.Struct, forbid_unknown_fields=True):
    info: wire.AvatarInfo
    to_crop: tuple[tuple[float, float, float], tuple[float, float, float]]


def avatar_id(image: bytes) -> str:
    """The id of an image file: the same bytes, prepared the same way, have the same id."""
    digest = hashlib.sha256(image)
    digest.update(PREPARATION_VERSION.to_bytes(4, "little"))
    return digest.hexdigest()[:16]


class ImageStore:
    """Avatars under one folder or object store prefix; safe for several threads and processes.

    Args:
        url: A folder, or any URL of fsspec's (`s3://bucket/avatars`, `memory://avatars`); empty for
            `avatars` in tritalk's state folder.

    Raises:
        SettingsError: The URL is not one that the installed fsspec can open.
    """

    def __init__(self, url: str = "") -> None:
        self.url = url or str(environment.state_dir() / "avatars")
        try:
            self._files, self._root = fsspec.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise SettingsError(
                f"the avatar store {self.url!r} cannot be opened: {error}"
            ) from error

    def save(self, original: bytes, prepared: PreparedAvatar) -> None:
        """Keep an avatar under its id, in place of one that is there.

        Raises:
            TritalkError: UNAVAILABLE when the store cannot be written to.
        """
        path = self._path(prepared.info.avatar_id)
        data = _pack(original, prepared)
        partial = posixpath.join(self._root, f".{uuid.uuid4().hex}.partial")
        with self._reaching():
            self._files.makedirs(self._root, exist_ok=True)
            try:
                self._files.pipe_file(partial, data)
                self._files.mv(partial, path)
            except OSError:
                if self._files.exists(partial):
                    self._files.rm_file(partial)
                raise

    def load(self, avatar_id: str) -> PreparedAvatar:
        """An avatar by its id.

        Raises:
            TritalkError: UNKNOWN_AVATAR when the store has no such avatar, UNAVAILABLE when it
                cannot be read.
        """
        path = self._path(avatar_id)
        with self._reaching(avatar_id), _whole(avatar_id):
            return _unpack(self._files.cat_file(path))

    def info(self, avatar_id: str) -> wire.AvatarInfo:
        """The description of an avatar; raises as `load` does."""
        path = self._path(avatar_id)
        with (
            self._reaching(avatar_id),
            _whole(avatar_id),
            self._files.open(path, "rb") as file,
            zipfile.ZipFile(file) as archive,
        ):
            return _describe(archive).info

    def list(self) -> Sequence[wire.AvatarInfo]:
        """All avatars, in the order of their ids; files that are damaged are left out.

        Raises:
            TritalkError: UNAVAILABLE when the store cannot be read.
        """
        found = []
        for known_id in self._ids():
            try:
                found.append(self.info(known_id))
            except TritalkError as error:
                # Deleted since the listing, or damaged.
                if error.code is not ErrorCode.UNKNOWN_AVATAR:
                    raise
        return found

    def delete(self, avatar_id: str) -> wire.AvatarInfo:
        """Remove an avatar and return what it was; raises as `load` does."""
        info = self.info(avatar_id)
        with self._reaching(avatar_id):
            self._files.rm_file(self._path(avatar_id))
        return info

    def _ids(self) -> Sequence[str]:
        with self._reaching():
            # Object stores remember listings that another process has since changed.
            self._files.invalidate_cache()
            try:
                paths = self._files.ls(self._root, detail=False)
            except FileNotFoundError:
                return []
        names = (posixpath.basename(path) for path in paths)
        ids = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
        return sorted(known_id for known_id in ids if _ID.fullmatch(known_id))

    def _path(self, avatar_id: str) -> str:
        # Ids come from the wire: nothing but our own form may become part of a path.
        if not _ID.fullmatch(avatar_id):
            raise _unknown(avatar_id)
        return posixpath.join(self._root, avatar_id + _SUFFIX)

    @contextmanager
    def _reaching(self, avatar_id: str = "") -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if avatar_id:
                raise _unknown(avatar_id) from error
            raise self._unreachable(error) from error
        except OSError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: OSError) -> TritalkError:
        return TritalkError(
            ErrorCode.UNAVAILABLE, f"the avatar store {self.url} cannot be used: {error}"
        )


def _unknown(avatar_id: str) -> TritalkError:
    return TritalkError(
        ErrorCode.UNKNOWN_AVATAR,
        f"there is no avatar {avatar_id[:64]!r}; register its portrait first",
    )


@contextmanager
def _whole(avatar_id: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError, msgspec.DecodeError) as error:
        raise TritalkError(
            ErrorCode.UNKNOWN_AVATAR,
            f"the stored avatar {avatar_id} is damaged ({error}); register its portrait again",
        ) from error


def _pack(original: bytes, prepared: PreparedAvatar) -> bytes:
    first, second = prepared.to_crop.tolist()
    description = _Description(info=prepared.info, to_crop=(tuple(first), tuple(second)))
    entries = {
        "original": original,
        "portrait.png": _to_png(prepared.portrait),
        "face.png": _to_png(prepared.face),
        # Last, beside the zip's directory: listing then reads the end of each file alone.
        "avatar.json": msgspec.json.encode(description),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name, _NO_DATE), data)
    return buffer.getvalue()


def _unpack(data: bytes) -> PreparedAvatar:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        description = _describe(archive)
        portrait = _from_png(archive.read("portrait.png"))
        face = _from_png(archive.read("face.png"))
    info = description.info
    if portrait.shape != (info.height, info.width, 3) or face.shape != (CROP_SIZE, CROP_SIZE, 3):
        raise ValueError("its pictures have other sizes than it says")
    return PreparedAvatar(info, portrait, face, np.array(description.to_crop, np.float64))


def _describe(archive: zipfile.ZipFile) -> _Description:
    return msgspec.json.decode(archive.read("avatar.json"), type=_Description)


def _to_png(image: Image) -> bytes:
    written, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not written:
        raise ValueError(f"an image of shape {image.shape} cannot be written as PNG")
    return bytes(data)


def _from_png(data: bytes) -> Image:
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("one of its pictures is not a PNG")
    decoded: Image = image
    return decoded
