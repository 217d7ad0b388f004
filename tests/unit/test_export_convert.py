from __future__ import annotations

import sys
from pathlib import Path

import pytest

import export
from export.errors import ConversionError, DiskFullError, MissingToolError
from tests.weights import FIRST, SECOND, World

SHOUT = """
def convert(source_files, out):
    (out / "model.onnx").write_bytes(source_files["model.bin"].read_bytes().upper())
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    world.description["models"]["ears"]["convert"] = {
        "by": "shout",
        "makes": ["model.onnx"],
        "size": 1000,
    }
    converters = tmp_path / "converters"
    (converters / "shout").mkdir(parents=True)
    monkeypatch.setattr(export, "__path__", [*export.__path__, str(converters)])
    write(world, SHOUT)
    return world


def write(world: World, code: str) -> None:
    """Give the converter this code."""
    (world.root / "converters/shout/__init__.py").write_text(code)


@pytest.fixture(autouse=True)
def _forget_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    for name in ("export.shout", "export.loudness"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_converted_model_is_installed_in_place_of_its_sources(world: World) -> None:
    world.get("ears")

    assert world.installed() == {"asr/1/model.onnx": (FIRST + SECOND).upper()}


def test_another_checkout_does_not_convert_again(world: World) -> None:
    world.get("ears")
    made = (world.models / "asr/1/model.onnx").stat().st_ino
    world.models = world.root / "another"

    world.get("ears")

    assert (world.models / "asr/1/model.onnx").stat().st_ino == made


def test_a_second_run_does_not_convert_again(world: World) -> None:
    world.get("ears")
    made = (world.models / "asr/1/model.onnx").stat()

    world.get("ears")

    assert (world.models / "asr/1/model.onnx").stat() == made


def test_a_changed_converter_converts_again_without_the_network(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.get("ears")
    world.registry.fetched.clear()
    write(world, SHOUT.replace("upper", "title"))
    monkeypatch.delitem(sys.modules, "export.shout")

    world.get("ears")

    assert world.installed() == {"asr/1/model.onnx": (FIRST + SECOND).title()}
    assert not world.registry.fetched


def test_a_change_in_what_a_converter_imports_converts_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = world.root / "converters/loudness.py"
    helper.write_text("LOUD = str.upper\n")
    write(world, "from export.loudness import LOUD\n" + SHOUT)
    world.get("ears")
    made = (world.models / "asr/1/model.onnx").stat().st_ino

    helper.write_text("LOUD = str.title\n")
    world.get("ears")

    assert (world.models / "asr/1/model.onnx").stat().st_ino != made


def test_few_results_of_old_converters_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in range(6):
        write(world, f"{SHOUT}# version {version}")
        monkeypatch.delitem(sys.modules, "export.shout", raising=False)
        world.get("ears")

    assert len(list((world.root / "cache/converted/ears").iterdir())) == 3


def test_a_damaged_result_is_made_again(world: World) -> None:
    world.get("ears")
    made = world.models / "asr/1/model.onnx"
    made.chmod(0o644)
    made.write_bytes(b"damaged through the hard link, in the cache too")

    world.get("ears")

    assert world.installed() == {"asr/1/model.onnx": (FIRST + SECOND).upper()}


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("raise ValueError('no weight x')", ConversionError, "cannot be converted: no weight x"),
        ("raise OSError(28, 'No space left')", DiskFullError, "converting ears: the disk"),
        ("import nothing_like_it", MissingToolError, "needs nothing_like_it"),
        ("pass", ConversionError, r"made no model\.onnx"),
    ],
)
def test_a_conversion_that_fails_installs_nothing_and_is_tried_again(
    world: World, line: str, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    indent = "" if line.startswith("import") else "    "
    write(world, f"def convert(source_files, out):\n    pass\n{indent}{line}\n")
    with pytest.raises(error, match=words):
        world.get("ears")
    assert world.installed() == {}

    write(world, SHOUT)
    monkeypatch.delitem(sys.modules, "export.shout", raising=False)
    world.get("ears")
    assert world.installed() == {"asr/1/model.onnx": (FIRST + SECOND).upper()}


def test_a_converter_without_its_function_is_named(world: World) -> None:
    write(world, "")

    with pytest.raises(ConversionError, match="export/shout has no function convert"):
        world.get("ears")


def test_a_converter_that_does_not_exist_is_named(world: World) -> None:
    world.description["models"]["ears"]["convert"]["by"] = "whisper_quietly"

    with pytest.raises(ConversionError, match="export/whisper_quietly"):
        world.get("ears")
