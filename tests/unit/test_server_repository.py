"""What the supervisor reads of a model repository, and what it refuses before a start."""

from __future__ import annotations

import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from tritalk import environment
from tritalk.server import ServerError, ServerOptions, preflight, repository

CONFIG = 'backend: "python" instance_group [ { kind: KIND_CPU count: 2 } ]'
Usage = namedtuple("Usage", "total used free")


def add_model(root: Path, name: str, config: str = CONFIG, *files: str) -> Path:
    version = root / name / "1"
    version.mkdir(parents=True)
    (root / name / "config.pbtxt").write_text(config)
    for file in files:
        (version / file).write_text("")
    return root / name


def test_all_models_or_the_named_ones_are_read(tmp_path: Path) -> None:
    for name in ("tts", "asr", "llm"):
        add_model(tmp_path, name)
    (tmp_path / "notes").mkdir()

    assert [model.name for model in repository.read(tmp_path, (), None)] == ["asr", "llm", "tts"]
    assert [model.name for model in repository.read(tmp_path, ("tts",), None)] == ["tts"]


def test_instances_are_counted_and_ensembles_have_none(tmp_path: Path) -> None:
    add_model(tmp_path, "two")
    add_model(tmp_path, "default", 'backend: "python"')
    add_model(tmp_path, "joined", 'platform: "ensemble"')

    models = repository.read(tmp_path, (), None)

    assert {model.name: model.instances for model in models} == {
        "two": 2,
        "default": 1,
        "joined": 0,
    }


def test_another_configuration_is_taken_where_a_model_has_it(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "asr")
    add_model(tmp_path, "tts")
    (folder / "configs").mkdir()
    (folder / "configs" / "gpu.pbtxt").write_text("instance_group [ { count: 5 } ]")

    asr, tts = repository.read(tmp_path, (), "gpu")

    assert (asr.instances, tts.instances) == (5, 2)


@pytest.mark.parametrize(
    ("names", "words"),
    [(("asr", "tss"), "there is no model tss in .*: it has asr"), ((), None)],
)
def test_an_unknown_model_is_named(
    tmp_path: Path, names: tuple[str, ...], words: str | None
) -> None:
    add_model(tmp_path, "asr")

    if words is None:
        assert repository.read(tmp_path, names, None)
    else:
        with pytest.raises(ServerError, match=words):
            repository.read(tmp_path, names, None)


def test_a_broken_configuration_is_named_with_its_line(tmp_path: Path) -> None:
    add_model(tmp_path, "asr", 'backend: "python"\nmax_batch_size: many')

    with pytest.raises(ServerError, match=r"asr/config\.pbtxt: 2:17 .*many"):
        repository.read(tmp_path, (), None)


def test_a_field_of_a_newer_triton_is_no_error(tmp_path: Path) -> None:
    add_model(tmp_path, "asr", CONFIG + "\nsomething_new { value: 3 }")

    assert repository.read(tmp_path, (), None)[0].instances == 2


def test_a_model_without_a_version_is_named(tmp_path: Path) -> None:
    shutil.rmtree(add_model(tmp_path, "asr") / "1")

    with pytest.raises(ServerError, match="has no version: make the folder .*asr/1"):
        repository.read(tmp_path, (), None)


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_or_missing_repository_is_refused(tmp_path: Path, exists: bool) -> None:
    root = tmp_path / "models"
    if exists:
        root.mkdir()

    with pytest.raises(ServerError, match="holds no model" if exists else "is no folder"):
        repository.read(root, (), None)


def test_our_own_repository_can_be_read() -> None:
    root = environment.repository_root() / "model_repository"

    names = {model.name for model in repository.read(root, (), None)}

    assert names >= {"asr", "llm", "tts", "avatar", "animate", "wav2lip", "talker", "narrate"}


def test_missing_weights_are_named_with_the_command_that_gets_them(tmp_path: Path) -> None:
    add_model(tmp_path, "asr", CONFIG, "model.py", ".gitkeep")
    add_model(tmp_path, "tts", CONFIG, "model.py")
    add_model(tmp_path, "avatar", CONFIG, "model.py", "face_detector.onnx")
    add_model(tmp_path, "talker", CONFIG, "model.py")

    with pytest.raises(ServerError) as failure:
        preflight.check_weights(repository.read(tmp_path, (), None))

    assert str(failure.value) == (
        "the weights of asr, tts are missing: run `python -m export get default`"
    )


def test_an_engine_elsewhere_needs_no_weights(tmp_path: Path) -> None:
    openai = CONFIG + ' parameters [ { key: "engine" value: { string_value: "openai" } } ]'
    add_model(tmp_path, "llm", openai, "model.py")
    models = repository.read(tmp_path, (), None)

    preflight.check_weights(models)

    assert [(model.name, model.lacks_weights) for model in models] == [("llm", False)]


def test_too_little_shared_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(tmp_path, "asr")
    models = repository.read(tmp_path, (), None)
    mib = 2**20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(64 * mib, 25 * mib, 39 * mib))

    with pytest.raises(ServerError, match="39 MiB free and 2 model instances need 40.*--shm-size"):
        preflight.check_shared_memory(models)

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(64 * mib, 24 * mib, 40 * mib))
    preflight.check_shared_memory(models)


def test_no_shared_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="mount a tmpfs there"):
        preflight.check_shared_memory((), folder=tmp_path / "shm")


def test_free_ports_differ() -> None:
    ports = preflight.choose_ports(ServerOptions(http_port=0, grpc_port=0, metrics_port=0))

    assert len({ports.http, ports.grpc, ports.metrics}) == 3
    assert min(ports.http, ports.grpc, ports.metrics) > 0


def test_a_busy_port_is_named_with_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServerError, match=rf"127\.0\.0\.1:{port}: Address.*--metrics-port"):
            preflight.choose_ports(ServerOptions(http_port=0, grpc_port=0, metrics_port=port))


def test_one_port_for_two_endpoints_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(ServerError, match=f":{port}: Address already in use; .*--grpc-port"):
        preflight.choose_ports(ServerOptions(http_port=port, grpc_port=port, metrics_port=0))


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.1", 0), ("no-such-host.invalid", 0), ("127.0.0.1", 70000)]
)
def test_an_address_that_cannot_be_is_refused(host: str, port: int) -> None:
    with pytest.raises(ServerError, match=f"cannot listen on {host}:{port}: "):
        preflight.choose_ports(ServerOptions(host=host, http_port=port))
