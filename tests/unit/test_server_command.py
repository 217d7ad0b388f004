"""The command lines: under the supervisor, by hand here, and in NVIDIA's container."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tritalk.server import Ports, ServerOptions, command
from tritalk.server.__main__ import options_of, parser
from tritalk.server.installation import STUB, Installation

PORTS = Ports(http=1, grpc=2, metrics=3)


@pytest.fixture
def found(tmp_path: Path) -> Installation:
    python = tmp_path / "tritonserver" / "backends" / "python"
    python.mkdir(parents=True)
    (python / "libtriton_python.so").write_text("")
    stub = tmp_path / "stubs with space" / STUB
    stub.parent.mkdir()
    stub.write_text("")
    return Installation(root=tmp_path / "tritonserver", libraries=(tmp_path / "lib",), stub=stub)


def supervised(found: Installation, **changes: object) -> list[str]:
    options = ServerOptions(**changes)  # type: ignore[arg-type]
    return command.arguments(options, PORTS, found, Path("/run/backends"), shm_prefix="own-")


def test_every_endpoint_listens_on_loopback_unless_told_otherwise(found: Installation) -> None:
    arguments = supervised(found)

    for endpoint, port in (("http", 1), ("grpc", 2), ("metrics", 3)):
        assert f"--{endpoint}-address=127.0.0.1" in arguments
        assert f"--{endpoint}-port={port}" in arguments
    assert "--grpc-address=0.0.0.0" in supervised(found, host="0.0.0.0")


def test_models_load_explicitly_all_or_by_name(found: Installation) -> None:
    assert "--load-model=*" in supervised(found)
    assert "--model-control-mode=explicit" in supervised(found)
    some = supervised(found, models=("asr", "tts"))
    assert [flag for flag in some if flag.startswith("--load-model")] == [
        "--load-model=asr",
        "--load-model=tts",
    ]


def test_the_supervisor_owns_the_shared_memory_and_the_failures(found: Installation) -> None:
    arguments = supervised(found)

    assert "--backend-config=python,shm-region-prefix-name=own-" in arguments
    assert "--backend-directory=/run/backends" in arguments
    assert "--exit-on-error=false" in arguments
    assert "--exit-timeout-secs=5" in arguments


def test_the_cache_can_be_sized_and_turned_off(found: Installation) -> None:
    assert "--cache-config=local,size=1048576" in supervised(found, cache_bytes=2**20)
    assert not [flag for flag in supervised(found, cache_bytes=0) if "cache-config" in flag]


def test_options_of_the_command_line_reach_tritonserver(found: Installation) -> None:
    parsed = parser().parse_args(
        [
            "--model",
            "asr",
            "--model",
            "llm",
            "--config-name",
            "gpu",
            "--host",
            "0.0.0.0",
            "--http-port",
            "0",
            "--grpc-port",
            "9001",
            "--log-level",
            "error",
            "--cache-mib",
            "2",
            "--model-repository",
            "/models",
        ]
    )
    options = options_of(parsed)

    assert options.models == ("asr", "llm")
    assert (options.http_port, options.grpc_port, options.metrics_port) == (0, 9001, 8002)
    assert (options.host, options.cache_bytes) == ("0.0.0.0", 2 * 2**20)
    arguments = command.arguments(options, PORTS, found, Path("b"), shm_prefix="p")
    assert "--model-config-name=gpu" in arguments
    assert "--log-warning=false" in arguments
    assert "--model-repository=/models" in arguments


def test_the_line_for_the_container_needs_nothing_of_this_machine() -> None:
    text = command.shell_in_container(ServerOptions(config_name="gpu", http_port=0))
    words = shlex.split(text, comments=True)

    assert words[0] == "tritonserver"
    assert "--model-repository=/models" in words
    assert "--http-port=8000" in words
    assert not [word for word in words if "backend-directory" in word or "/root" in word]
    assert "C++" in text


def test_the_lines_for_here_make_the_backend_directory(found: Installation, tmp_path: Path) -> None:
    text = command.shell_here(ServerOptions(), PORTS, found)
    fake = tmp_path / "tritonserver" / "bin" / "tritonserver"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nls "${3#--backend-directory=}" 2>/dev/null; echo "$@"; env\n')
    fake.chmod(0o755)

    run = subprocess.run(
        ["bash", "-c", text + '\nls -R "$backends"; rm -r "$backends"'],
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert run.stderr == ""
    assert STUB in run.stdout
    assert "libtriton_python.so" in run.stdout
    assert "onnxruntime" in run.stdout
    assert f"LD_LIBRARY_PATH={tmp_path / 'lib'}" in run.stdout
    assert "--load-model=*" in run.stdout
