"""The commands of the `avatar` model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tritalk.image_store import ImageStore, PreparedAvatar
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


class Maker(Protocol):
    """Makes an avatar of an image file; `tritalk.avatar.prepare.AvatarMaker`."""

    def prepare(self, image: bytes) -> PreparedAvatar:
        """The prepared avatar."""


class Avatars:
    """Registers, lists, describes and deletes avatars.

    Args:
        maker: Prepares portraits.
        store: Keeps them.
    """

    def __init__(self, maker: Maker, store: ImageStore) -> None:
        self._maker = maker
        self._store = store

    def handle(
        self, command: wire.AvatarCommand, image: bytes | None
    ) -> wire.AvatarInfo | Sequence[wire.AvatarInfo]:
        """Carry out a command.

        Args:
            command: What to do.
            image: The portrait's file, which `AvatarRegister` needs.

        Returns:
            The avatar that was registered, asked for or deleted; all of them for `AvatarList`.

        Raises:
            TritalkError: As `AvatarMaker.prepare` and `ImageStore` do; BAD_REQUEST when the image
                is missing.
        """
        match command:
            case wire.AvatarRegister():
                if image is None:
                    raise TritalkError(
                        ErrorCode.BAD_REQUEST, "register needs the portrait's file in IMAGE"
                    )
                # Prepared anew even when it is known: the settings may have changed since.
                prepared = self._maker.prepare(image)
                self._store.save(image, prepared)
                return prepared.info
            case wire.AvatarList():
                return self._store.list()
            case wire.AvatarGet(avatar_id=avatar_id):
                return self._store.info(avatar_id)
            case wire.AvatarDelete(avatar_id=avatar_id):
                return self._store.delete(avatar_id)
