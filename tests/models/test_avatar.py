"""The served `avatar` model, through Triton's gRPC."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton
from PIL import Image as PillowImage

from tests import pictures
from tritalk.server import Server
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

DEADLINE_S = 60.0
REGISTER = wire.encode(wire.AvatarRegister())
LIST = wire.encode(wire.AvatarList())

Ask = Callable[..., bytes]


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_url) as client:
        yield client


@pytest.fixture
def ask(client: triton.InferenceServerClient) -> Ask:
    """Sends a command, and an image where one is given; returns the answer's bytes."""

    def ask(command: bytes, image: bytes | None = None) -> bytes:
        inputs = [bytes_input("COMMAND", command)]
        if image is not None:
            inputs.append(bytes_input("IMAGE", image))
        try:
            result = client.infer("avatar", inputs, client_timeout=DEADLINE_S)
        except triton.InferenceServerException as error:
            raise TritalkError.from_wire(error.message()) from error
        return result.as_numpy("AVATAR").reshape(-1)[0]

    return ask


def bytes_input(name: str, data: bytes) -> triton.InferInput:
    tensor = triton.InferInput(name, [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[data]], np.object_))
    return tensor


def register(ask: Ask, image: bytes) -> wire.AvatarInfo:
    return wire.decode(ask(REGISTER, image), wire.AvatarInfo)


def known(ask: Ask) -> list[wire.AvatarInfo]:
    return wire.decode(ask(LIST), list[wire.AvatarInfo])


def delete(ask: Ask, avatar_id: str) -> wire.AvatarInfo:
    return wire.decode(ask(wire.encode(wire.AvatarDelete(avatar_id=avatar_id))), wire.AvatarInfo)


@pytest.fixture(scope="module")
def portrait() -> bytes:
    return pictures.file_of(pictures.astronaut())


def test_a_portrait_is_registered_listed_described_and_deleted(ask, portrait):
    info = register(ask, portrait)
    assert (info.width, info.height) == (512, 512)
    assert info.face.width == pytest.approx(90, abs=8)
    assert info.warnings == ()
    assert info in known(ask)
    get = wire.encode(wire.AvatarGet(avatar_id=info.avatar_id))
    assert wire.decode(ask(get), wire.AvatarInfo) == info
    assert delete(ask, info.avatar_id) == info
    assert info not in known(ask)
    with pytest.raises(TritalkError, match="register its portrait first") as caught:
        delete(ask, info.avatar_id)
    assert caught.value.code is ErrorCode.UNKNOWN_AVATAR
    assert caught.value.stage == "avatar"


def test_clients_that_register_the_same_portrait_at_once_get_the_same_avatar(ask, portrait):
    with ThreadPoolExecutor(4) as pool:
        infos = list(pool.map(lambda _: register(ask, portrait), range(4)))
    assert len({info.avatar_id for info in infos}) == 1
    assert [info for info in known(ask) if info.avatar_id == infos[0].avatar_id] == [infos[0]]
    delete(ask, infos[0].avatar_id)


def test_portraits_of_several_clients_at_once_stay_apart(ask):
    sizes = [400, 450, 480, 500]
    images = [pictures.file_of(pictures.scaled(size / 512)) for size in sizes]
    with ThreadPoolExecutor(4) as pool:
        infos = list(pool.map(lambda image: register(ask, image), images))
    assert [info.height for info in infos] == sizes
    for info in infos:
        delete(ask, info.avatar_id)


BAD_PORTRAITS = {
    "an empty file": (lambda: b"", ErrorCode.BAD_IMAGE),
    "a text file named png": (lambda: b"portrait.png\n" * 50, ErrorCode.BAD_IMAGE),
    "half a file": (
        lambda: pictures.file_of(pictures.astronaut())[:100_000],
        ErrorCode.BAD_IMAGE,
    ),
    "20 megapixels": (
        lambda: pictures.pillow_file(PillowImage.new("RGB", (5000, 4000))),
        ErrorCode.TOO_LARGE,
    ),
    "more bytes than are taken": (
        lambda: bytes(wire.MAX_IMAGE_BYTES + 1),
        ErrorCode.TOO_LARGE,
    ),
    "no face": (lambda: pictures.file_of(pictures.landscape()), ErrorCode.NO_FACE),
    "two faces": (lambda: pictures.file_of(pictures.two_faces()), ErrorCode.SEVERAL_FACES),
    "a tiny face": (
        lambda: pictures.file_of(pictures.small_on_a_wall(150)),
        ErrorCode.UNUSABLE_FACE,
    ),
    "a blurred face": (lambda: pictures.file_of(pictures.blurred(6)), ErrorCode.UNUSABLE_FACE),
    "a dark face": (lambda: pictures.file_of(pictures.darkened(0.1)), ErrorCode.UNUSABLE_FACE),
}


@pytest.mark.parametrize("kind", BAD_PORTRAITS)
def test_a_bad_portrait_is_a_typed_error_and_the_next_good_one_is_taken(ask, portrait, kind):
    image, code = BAD_PORTRAITS[kind]
    with pytest.raises(TritalkError) as caught:
        register(ask, image())
    assert caught.value.code is code
    assert caught.value.stage == "avatar"
    assert not caught.value.retryable
    assert register(ask, portrait).warnings == ()


@pytest.mark.parametrize(
    "command",
    [b"", b"{}", b"register", b'{"type":"paint"}', b'{"type":"register","size":1}', b"\xff\xfe"]
    + [b'{"type":"delete"}', b'{"type":"delete","avatar_id":"../../etc"}', b" " * 5000],
)
def test_a_bad_command_is_a_typed_error(ask, command):
    with pytest.raises(TritalkError) as caught:
        ask(command)
    assert caught.value.code in (ErrorCode.BAD_REQUEST, ErrorCode.TOO_LARGE)


def test_register_without_an_image_is_a_typed_error(ask):
    with pytest.raises(TritalkError, match="IMAGE") as caught:
        ask(REGISTER)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_its_metrics_are_on_the_servers_page(server: Server):
    with urllib.request.urlopen(server.metrics_url, timeout=DEADLINE_S) as answer:
        page = answer.read().decode()
    assert 'model_load_time_seconds{model="avatar"' in page
    assert 'process_resident_memory_bytes{module="avatar"' in page
