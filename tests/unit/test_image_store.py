from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest

from tritalk import environment
from tritalk.image_store import ImageStore, PreparedAvatar, avatar_id
from tritalk.settings import SettingsError
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


def prepared(image: bytes, *, seed: int = 0) -> PreparedAvatar:
    random = np.random.default_rng(seed)
    return PreparedAvatar(
        info=wire.AvatarInfo(
            avatar_id=avatar_id(image),
            width=320,
            height=256,
            face=wire.FaceBox(x=40, y=30, width=100, height=120),
            warnings=(f"made with seed {seed}",),
        ),
        portrait=random.integers(0, 4, (256, 320, 3), np.uint8),
        face=random.integers(0, 4, (256, 256, 3), np.uint8),
        to_crop=random.standard_normal((2, 3)),
    )


def same(one: PreparedAvatar, other: PreparedAvatar) -> bool:
    return (
        one.info == other.info
        and np.array_equal(one.portrait, other.portrait)
        and np.array_equal(one.face, other.face)
        and np.array_equal(one.to_crop, other.to_crop)
    )


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    if request.param == "folder":
        return ImageStore(str(tmp_path / "avatars"))
    return ImageStore(f"memory://{uuid.uuid4().hex}/avatars")


def test_what_was_saved_is_loaded_to_the_last_bit(store):
    saved = prepared(b"portrait")
    store.save(b"portrait", saved)
    assert same(store.load(saved.info.avatar_id), saved)
    assert store.info(saved.info.avatar_id) == saved.info


def test_the_same_bytes_have_the_same_id_and_others_another():
    assert avatar_id(b"one") == avatar_id(b"one")
    assert avatar_id(b"one") != avatar_id(b"two")
    assert len(avatar_id(b"one")) == 16


def test_saving_again_replaces(store):
    store.save(b"portrait", prepared(b"portrait", seed=1))
    second = prepared(b"portrait", seed=2)
    store.save(b"portrait", second)
    assert same(store.load(second.info.avatar_id), second)
    assert len(store.list()) == 1


def test_a_new_store_is_empty(store):
    assert list(store.list()) == []


def test_the_list_holds_every_avatar_in_the_order_of_ids(store):
    images = [bytes([n]) for n in range(5)]
    for image in images:
        store.save(image, prepared(image))
    assert [info.avatar_id for info in store.list()] == sorted(map(avatar_id, images))


def test_an_avatar_that_was_deleted_is_unknown(store):
    gone, kept = prepared(b"gone"), prepared(b"kept")
    store.save(b"gone", gone)
    store.save(b"kept", kept)
    assert store.delete(gone.info.avatar_id) == gone.info
    assert [info.avatar_id for info in store.list()] == [kept.info.avatar_id]
    with pytest.raises(TritalkError, match="register its portrait first") as caught:
        store.delete(gone.info.avatar_id)
    assert caught.value.code is ErrorCode.UNKNOWN_AVATAR


@pytest.mark.parametrize(
    "name",
    ["0123456789abcdef", "", ".", "..", "../secret", "/etc/passwd", "0" * 17, "ABCDEF0123456789"]
    + ["0123456789abcde\n", "0123456789abcde/", "\0" * 16, "٠" * 16],
)
def test_ids_that_name_no_avatar_are_unknown_and_reach_no_other_file(store, name, tmp_path):
    (tmp_path / "secret.avatar").write_bytes(b"secret")
    for use in (store.load, store.info, store.delete):
        with pytest.raises(TritalkError) as caught:
            use(name)
        assert caught.value.code is ErrorCode.UNKNOWN_AVATAR
    assert (tmp_path / "secret.avatar").exists()


def test_a_damaged_file_is_said_to_be_damaged_and_can_be_registered_again(tmp_path):
    store = ImageStore(str(tmp_path))
    avatar = prepared(b"portrait")
    store.save(b"portrait", avatar)
    file = tmp_path / f"{avatar.info.avatar_id}.avatar"
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-30] + bytes(30), b"not a zip" * 99):
        file.write_bytes(damaged)
        with pytest.raises(TritalkError, match=r"damaged.*register its portrait again") as caught:
            store.load(avatar.info.avatar_id)
        assert caught.value.code is ErrorCode.UNKNOWN_AVATAR
        assert list(store.list()) == []
    # A changed byte amid the pixels is caught by the zip's checksum.
    file.write_bytes(whole[:200] + bytes([whole[200] ^ 255]) + whole[201:])
    with pytest.raises(TritalkError, match="damaged"):
        store.load(avatar.info.avatar_id)
    store.save(b"portrait", avatar)
    assert same(store.load(avatar.info.avatar_id), avatar)


def test_other_files_in_the_folder_are_not_avatars(tmp_path):
    store = ImageStore(str(tmp_path))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "notes.avatar").write_text("mine")
    (tmp_path / ".0123.partial").write_text("half written")
    assert list(store.list()) == []


def test_a_store_that_cannot_be_written_is_unavailable_and_names_itself(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = ImageStore(str(tmp_path / "file"))
    with pytest.raises(TritalkError, match="avatar store .*file cannot be used") as caught:
        store.save(b"portrait", prepared(b"portrait"))
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert caught.value.retryable


def test_a_url_of_no_known_kind_is_a_wrong_setting():
    with pytest.raises(SettingsError, match="carrier-pigeon"):
        ImageStore("carrier-pigeon://loft")


def test_without_a_url_avatars_are_kept_in_the_state_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(environment.STATE_VARIABLE, str(tmp_path))
    avatar = prepared(b"portrait")
    ImageStore().save(b"portrait", avatar)
    assert (tmp_path / "avatars" / f"{avatar.info.avatar_id}.avatar").is_file()


SAVE_AGAIN_AND_AGAIN = """
import sys
from tritalk.image_store import ImageStore
source, target, avatar_id = sys.argv[1:]
avatar = ImageStore(source).load(avatar_id)
for _ in range(25):
    ImageStore(target).save(b"portrait", avatar)
"""


def test_processes_that_save_the_same_avatar_at_once_never_show_a_mixture(tmp_path):
    versions = [prepared(b"portrait", seed=seed) for seed in (1, 2)]
    known_id = versions[0].info.avatar_id
    for name, version in zip("ab", versions, strict=True):
        ImageStore(str(tmp_path / name)).save(b"portrait", version)
    store = ImageStore(str(tmp_path / "shared"))
    store.save(b"portrait", versions[0])
    arguments = [str(tmp_path / "shared"), known_id]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", SAVE_AGAIN_AND_AGAIN, str(tmp_path / name), *arguments]
        )
        for name in "ab"
    ]
    loads = 0
    while any(writer.poll() is None for writer in writers):
        loaded = store.load(known_id)
        assert any(same(loaded, version) for version in versions)
        assert [info.avatar_id for info in store.list()] == [known_id]
        loads += 1
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert loads > 10
    assert [file.suffix for file in (tmp_path / "shared").iterdir()] == [".avatar"]


def test_deleting_while_others_list_and_load_gives_unknown_at_worst(store):
    image = b"portrait"
    avatar = prepared(image)
    failures: list[TritalkError] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            store.list()
            try:
                store.load(avatar.info.avatar_id)
            except TritalkError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(10):
        store.save(image, avatar)
        store.delete(avatar.info.avatar_id)
    stop.set()
    reader.join(timeout=30)
    assert not reader.is_alive()
    assert {error.code for error in failures} <= {ErrorCode.UNKNOWN_AVATAR}
