from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from export import catalogue, fingerprint
from export.catalogue import Catalogue
from export.errors import CatalogueError
from tests.weights import World
from tritalk import environment


def test_the_default_profile_needs_pip_alone_and_downloads_less_than_700_mb() -> None:
    listed = catalogue.default()
    archives = {
        part.archive: listed.archives[part.archive]
        for entry in listed.resolve(["default"]).values()
        for file in entry.files.values()
        for part in file.parts
    }

    assert {archive.carrier for archive in archives.values()} == {"pypi"}
    assert sum(archive.size for archive in archives.values()) < 700e6


def test_every_model_fills_a_model_of_the_repository() -> None:
    for name, model in catalogue.default().models.items():
        folder = environment.repository_root() / "model_repository" / model.stage
        assert (folder / "config.pbtxt").is_file(), name


def test_every_conversion_has_its_converter() -> None:
    for model in catalogue.default().models.values():
        if model.convert is not None:
            assert fingerprint.of_package(f"export.{model.convert.by}") is not None


def test_files_of_this_repository_are_in_it() -> None:
    for entry in catalogue.default().entries.values():
        for file in entry.files.values():
            if file.local is not None:
                assert (environment.repository_root() / file.local).is_file()


def test_profiles_bring_weights_for_the_same_stages() -> None:
    listed = catalogue.default()

    def stages(profile: str) -> set[str]:
        models = (listed.models.get(name) for name in listed.profiles[profile])
        return {model.stage for model in models if model is not None}

    assert stages("tiny") == stages("default") == {"asr", "llm", "tts", "avatar", "wav2lip"}


def test_a_profile_and_its_members_are_resolved_once_each() -> None:
    listed = catalogue.default()

    assert list(listed.resolve(["demo-assets", "astronaut", "yunet"])) == [
        *listed.profiles["demo-assets"],
        "yunet",
    ]


def test_an_unknown_name_is_refused_with_what_is_close() -> None:
    with pytest.raises(CatalogueError, match="did you mean whisper-base"):
        catalogue.default().resolve(["whisper-bse"])


def refused(description: dict[str, Any], tmp_path: Path) -> str:
    """What is said about a catalogue."""
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps(description))
    with pytest.raises(CatalogueError) as caught:
        catalogue.load(path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside", "..\\outside"])
def test_a_file_name_that_leads_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    description = World(tmp_path).description
    files = description["models"]["voice"]["files"]
    files[name] = files.pop("voice.onnx")

    assert "leads out of its folder" in refused(description, tmp_path)


def test_mistakes_are_named(tmp_path: Path) -> None:
    def changed(change: str) -> str:
        description = World(tmp_path).description
        exec(change, {"d": description, "ears": description["models"]["ears"]})
        return refused(description, tmp_path)

    assert "no archive lost" in changed(
        "ears['files']['model.bin']['parts'][0]['archive'] = 'lost'"
    )
    assert "no model or asset lost" in changed("d['profiles']['default'].append('lost')")
    assert "both fill asr/1/model.bin" in changed(
        "d['models']['twin'] = ears; d['profiles']['default'].append('twin')"
    )
    assert "used twice: ears" in changed("d['assets']['ears'] = d['assets']['picture']")
    assert "models.ears.colour" in changed("ears['colour'] = 'red'")
    assert "models.ears.licence" in changed("del ears['licence']")
    assert "size and sha256" in changed("del ears['files']['model.bin']['sha256']")
    assert "names no file" in changed("d['assets']['picture']['recordings'] = {'a': {'text': 'b'}}")


def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text("models: [")

    with pytest.raises(CatalogueError, match="catalogue.yaml"):
        catalogue.load(path)


def test_the_small_catalogue_of_the_tests_is_right(tmp_path: Path) -> None:
    assert isinstance(World(tmp_path).catalogue, Catalogue)
