"""Which tritonserver is started, with which stub, libraries and backends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tritalk.server import ServerError, installation
from tritalk.server.installation import STUB, Installation

HERE = (sys.version_info[0], sys.version_info[1])


def a_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)
    return path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The files of an installed nvidia-pytriton, as far as they matter."""
    package = tmp_path / "site-packages" / "pytriton"
    root = package / "tritonserver"
    a_file(root / "bin" / "tritonserver")
    a_file(root / "backends" / "python" / "libtriton_python.so")
    a_file(root / "backends" / "python" / "triton_python_backend_utils.py")
    (root / "backends" / "python" / "__pycache__").mkdir()
    for version in ("3.9", "3.10", "3.11", "3.12"):
        a_file(root / "python_backend_stubs" / version / STUB)
    (package.parent / "nvidia_pytriton.libs").mkdir()
    return package


@pytest.mark.parametrize("version", [(3, 10), (3, 11), (3, 12)])
def test_the_stub_is_that_of_the_python_version(wheel: Path, version: tuple[int, int]) -> None:
    found = installation.of_wheel(wheel, version)

    assert found.stub is not None
    assert found.stub.parent.name == f"{version[0]}.{version[1]}"
    assert found.backend_sources()[f"python/{STUB}"] == found.stub


def test_a_python_without_a_stub_is_refused(wheel: Path) -> None:
    with pytest.raises(ServerError, match=r"no stub for Python 3\.14, only for 3\.10, 3\.11"):
        installation.of_wheel(wheel, (3, 14))


@pytest.mark.parametrize("version", [(3, 9), (3, 13)])
def test_a_python_that_tritalk_is_not_made_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int]
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))

    with pytest.raises(ServerError, match=r"is not supported: take 3\.10 to 3\.12"):
        installation.find()


def test_the_backend_directory_holds_python_with_its_stub_and_our_onnxruntime(
    wheel: Path, tmp_path: Path
) -> None:
    backends = tmp_path / "backends"

    installation.of_wheel(wheel, HERE).make_backend_directory(backends)

    assert sorted(path.name for path in (backends / "python").iterdir()) == [
        "libtriton_python.so",
        STUB,
        "triton_python_backend_utils.py",
    ]
    assert not any(path.is_symlink() for path in (backends / "python").iterdir())
    assert (backends / "onnxruntime" / "model.py").is_file()
    assert not list((backends / "onnxruntime").glob("*.so"))


def test_the_containers_own_onnxruntime_comes_before_ours(tmp_path: Path) -> None:
    a_file(tmp_path / "backends" / "python" / STUB)
    a_file(tmp_path / "backends" / "onnxruntime" / "libtriton_onnxruntime.so")

    sources = Installation(root=tmp_path).backend_sources()

    assert sources == {
        "onnxruntime": tmp_path / "backends" / "onnxruntime",
        "python": tmp_path / "backends" / "python",
    }


def test_the_environment_puts_this_python_and_its_libraries_first(wheel: Path) -> None:
    found = installation.of_wheel(wheel, HERE)

    variables = found.environment({"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/opt/lib", "X": "1"})

    assert variables["PATH"] == f"{Path(sys.executable).parent}:/usr/bin"
    assert variables["LD_LIBRARY_PATH"].split(":")[0] == str(wheel.parent / "nvidia_pytriton.libs")
    assert variables["LD_LIBRARY_PATH"].split(":")[-1] == "/opt/lib"
    assert variables["X"] == "1"


def test_the_library_path_has_no_empty_entry(wheel: Path) -> None:
    # An empty entry is the current folder.
    variables = installation.of_wheel(wheel, HERE).environment({"PATH": ""})

    assert "" not in variables["LD_LIBRARY_PATH"].split(":")
    assert "" not in variables["PATH"].split(":")


def test_a_wheel_without_its_binary_is_refused(wheel: Path) -> None:
    (wheel / "tritonserver" / "bin" / "tritonserver").unlink()

    with pytest.raises(ServerError, match="holds no tritonserver: reinstall nvidia-pytriton"):
        installation.of_wheel(wheel, HERE)


def test_no_tritonserver_at_all_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda _: None)  # type: ignore[attr-defined]
    monkeypatch.setattr(installation, "CONTAINER_BINARY", tmp_path / "tritonserver")

    with pytest.raises(ServerError, match="pip install nvidia-pytriton"):
        installation.find()


def test_the_container_is_taken_where_there_is_no_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    binary = a_file(tmp_path / "bin" / "tritonserver")
    a_file(tmp_path / "backends" / "python" / STUB)
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda _: None)  # type: ignore[attr-defined]
    monkeypatch.setattr(installation, "CONTAINER_BINARY", binary)

    found = installation.find()

    assert found.binary == binary
    assert found.stub is None
