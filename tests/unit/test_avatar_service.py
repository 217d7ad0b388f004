from __future__ import annotations

import uuid

import numpy as np
import pytest

from tritalk.avatar.service import Avatars
from tritalk.image_store import ImageStore, PreparedAvatar, avatar_id
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


class PlainMaker:
    """Takes any bytes for a portrait, but for `b"no face"`."""

    def __init__(self) -> None:
        self.shade = 0

    def prepare(self, image: bytes) -> PreparedAvatar:
        if image == b"no face":
            raise TritalkError(ErrorCode.NO_FACE, "no face was found")
        return PreparedAvatar(
            info=wire.AvatarInfo(
                avatar_id=avatar_id(image),
                width=64,
                height=64,
                face=wire.FaceBox(x=0, y=0, width=64, height=64),
            ),
            portrait=np.full((64, 64, 3), self.shade, np.uint8),
            face=np.zeros((256, 256, 3), np.uint8),
            to_crop=np.eye(2, 3),
        )


@pytest.fixture
def maker() -> PlainMaker:
    return PlainMaker()


@pytest.fixture
def store() -> ImageStore:
    return ImageStore(f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def avatars(maker: PlainMaker, store: ImageStore) -> Avatars:
    return Avatars(maker, store)


def test_a_registered_avatar_is_stored_listed_and_described(avatars, store):
    info = avatars.handle(wire.AvatarRegister(), b"portrait")
    assert store.load(info.avatar_id).info == info
    assert list(avatars.handle(wire.AvatarList(), None)) == [info]
    assert avatars.handle(wire.AvatarGet(avatar_id=info.avatar_id), None) == info


def test_registering_again_gives_the_same_avatar_as_it_is_prepared_now(avatars, maker, store):
    first = avatars.handle(wire.AvatarRegister(), b"portrait")
    maker.shade = 9
    assert avatars.handle(wire.AvatarRegister(), b"portrait") == first
    assert store.load(first.avatar_id).portrait[0, 0, 0] == 9
    assert len(avatars.handle(wire.AvatarList(), None)) == 1


def test_a_deleted_avatar_is_unknown(avatars):
    info = avatars.handle(wire.AvatarRegister(), b"portrait")
    delete = wire.AvatarDelete(avatar_id=info.avatar_id)
    assert avatars.handle(delete, None) == info
    with pytest.raises(TritalkError, match="register its portrait first"):
        avatars.handle(delete, None)
    assert list(avatars.handle(wire.AvatarList(), None)) == []


def test_a_refused_portrait_leaves_nothing_behind(avatars):
    with pytest.raises(TritalkError, match="no face"):
        avatars.handle(wire.AvatarRegister(), b"no face")
    assert list(avatars.handle(wire.AvatarList(), None)) == []


def test_register_without_an_image_says_what_is_missing(avatars):
    with pytest.raises(TritalkError, match="the portrait's file in IMAGE") as caught:
        avatars.handle(wire.AvatarRegister(), None)
    assert caught.value.code is ErrorCode.BAD_REQUEST
