from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.animation import AVATAR_ID, grey_avatar
from tritalk.animate.portrait import Portrait, Portraits
from tritalk.image_store import ImageStore
from tritalk_client.errors import ErrorCode, TritalkError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    store = ImageStore(str(tmp_path))
    store.save(b"original", grey_avatar())
    return store


def test_faces_are_the_crop_twice_for_every_frame_of_a_step() -> None:
    avatar = grey_avatar()

    faces = Portrait.of(avatar, 3).faces

    assert faces.shape == (3, 256, 256, 6)
    for face in faces:
        assert np.array_equal(face[..., :3], avatar.face)
        assert np.array_equal(face[..., 3:], avatar.face)


def test_a_portrait_is_loaded_once(store: ImageStore) -> None:
    portraits = Portraits(store, capacity=2, frames=5)

    assert portraits.get(AVATAR_ID) is portraits.get(AVATAR_ID)


def test_a_deleted_avatar_is_served_for_a_minute_at_most(store: ImageStore) -> None:
    clock = Clock()
    portraits = Portraits(store, capacity=2, frames=5, clock=clock)
    portraits.get(AVATAR_ID)
    clock.now = 70.0
    portraits.get(AVATAR_ID)
    store.delete(AVATAR_ID)

    clock.now = 131.0
    for _ in range(2):
        with pytest.raises(TritalkError) as caught:
            portraits.get(AVATAR_ID)
        assert caught.value.code is ErrorCode.UNKNOWN_AVATAR


def test_only_the_last_used_portraits_are_kept(store: ImageStore) -> None:
    ids = [f"{number:016x}" for number in range(3)]
    for avatar_id in ids:
        avatar = grey_avatar(level=len(avatar_id))
        avatar.info.avatar_id = avatar_id
        store.save(b"original", avatar)
    portraits = Portraits(store, capacity=2, frames=1)
    first, second = portraits.get(ids[0]), portraits.get(ids[1])

    assert portraits.get(ids[0]) is first
    portraits.get(ids[2])

    assert portraits.get(ids[0]) is first
    assert portraits.get(ids[1]) is not second


def test_an_avatar_that_is_not_there_is_unknown(store: ImageStore) -> None:
    with pytest.raises(TritalkError) as caught:
        Portraits(store, capacity=2, frames=5).get("feedfeedfeedfeed")

    assert caught.value.code is ErrorCode.UNKNOWN_AVATAR
