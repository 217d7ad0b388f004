"""Where tritonserver is, and the backend directory and environment it is started with."""

from __future__ import annotations

import ctypes.util
import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tritalk import environment
from tritalk.server.errors import ServerError

STUB = "triton_python_backend_stub"
CONTAINER_BINARY = Path("/opt/tritonserver/bin/tritonserver")
PYTHON_VERSIONS = ((3, 10), (3, 12))
"""The oldest and the newest Python that tritalk is made for."""


@dataclass(frozen=True)
class Installation:
    """One tritonserver on this machine.

    Attributes:
        root: The folder that holds `bin/`, `backends/` and `caches/`.
        libraries: Folders of shared libraries that the dynamic linker must be told of.
        stub: The Python backend's stub for this Python; None where `backends/python` has its own.
    """

    root: Path
    libraries: tuple[Path, ...] = ()
    stub: Path | None = None

    @property
    def binary(self) -> Path:
        """The tritonserver executable."""
        return self.root / "bin" / "tritonserver"

    @property
    def caches(self) -> Path:
        """The folder of response cache implementations."""
        return self.root / "caches"

    def backend_sources(self) -> dict[str, Path]:
        """What the backend directory is made of: path inside it to its source.

        Our Python-based `onnxruntime` takes the place of the C++ one only where that is missing;
        Triton would prefer the C++ library in the same folder.
        """
        sources: dict[str, Path] = {}
        for backend in sorted(path for path in (self.root / "backends").iterdir() if path.is_dir()):
            if backend.name == "python" and self.stub is not None:
                files = (path for path in backend.iterdir() if path.is_file())
                sources |= {f"python/{path.name}": path for path in sorted(files)}
                sources[f"python/{STUB}"] = self.stub
            else:
                sources[backend.name] = backend
        if "onnxruntime" not in sources:
            sources["onnxruntime"] = environment.repository_root() / "backends" / "onnxruntime"
        return sources

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The environment of the server: this Python first, and the libraries it needs."""
        variables = dict(inherited)
        # The stub takes its Python from PATH, whatever VIRTUAL_ENV or PYTHONPATH say.
        variables["PATH"] = _joined(Path(sys.executable).parent, inherited.get("PATH"))
        for folder in reversed(self.libraries):
            variables["LD_LIBRARY_PATH"] = _joined(folder, variables.get("LD_LIBRARY_PATH"))
        # numpy's threads wait for one another busily, on cores that the models share.
        variables.setdefault("OPENBLAS_NUM_THREADS", "1")
        return variables

    def make_backend_directory(self, folder: Path) -> None:
        """Make the backend directory: files are copied, whole backends are linked."""
        for name, source in self.backend_sources().items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                target.symlink_to(source)
            else:
                # A linked library "escapes the backend directory" for Python-based backends.
                shutil.copy2(source, target)


def find(binary: Path | None = None) -> Installation:
    """The tritonserver to start.

    Args:
        binary: A certain one; None looks for the pip package first, then for NVIDIA's container.

    Raises:
        ServerError: There is none, or it has no stub for this Python.
    """
    version = sys.version_info[:2]
    oldest, newest = PYTHON_VERSIONS
    if not oldest <= version <= newest:
        raise ServerError(
            f"Python {version[0]}.{version[1]} is not supported: "
            f"take {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
        )
    if binary is not None:
        return _of_binary(binary)
    wheel = importlib.util.find_spec("pytriton")
    if wheel is not None and wheel.submodule_search_locations:
        return of_wheel(Path(wheel.submodule_search_locations[0]), version)
    if CONTAINER_BINARY.exists():
        return _of_binary(CONTAINER_BINARY)
    raise ServerError(
        "there is no tritonserver: `pip install nvidia-pytriton`, or run in NVIDIA's Triton "
        "container, or give --tritonserver"
    )


def of_wheel(package: Path, version: tuple[int, int]) -> Installation:
    """The tritonserver inside an installed nvidia-pytriton.

    Args:
        package: The folder of the `pytriton` package.
        version: The Python version that models run on.

    Raises:
        ServerError: The package is incomplete, or this Python has no shared library.
    """
    root = package / "tritonserver"
    if not (root / "bin" / "tritonserver").is_file():
        raise ServerError(f"{root} holds no tritonserver: reinstall nvidia-pytriton")
    name = f"{version[0]}.{version[1]}"
    stub = root / "python_backend_stubs" / name / STUB
    if not stub.is_file():
        has = ", ".join(sorted(path.name for path in stub.parent.parent.iterdir()))
        raise ServerError(f"nvidia-pytriton has no stub for Python {name}, only for {has}")
    libraries = (package.parent / "nvidia_pytriton.libs", _libpython_folder())
    return Installation(
        root=root, libraries=tuple(folder for folder in libraries if folder), stub=stub
    )


def _of_binary(binary: Path) -> Installation:
    if not binary.is_file():
        raise ServerError(f"{binary} does not exist: give --tritonserver another path")
    root = binary.resolve().parent.parent
    if not (root / "backends" / "python").is_dir():
        raise ServerError(f"{root / 'backends'} has no python backend: models cannot run there")
    return Installation(root=root)


def _libpython_folder() -> Path | None:
    """Where this Python's shared library is, None where the linker finds it by itself."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" not in name:
        name = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"
    for folder in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
        if folder and (Path(folder) / name).exists():
            return Path(folder)
    if ctypes.util.find_library(name.removeprefix("lib").split(".so")[0]):
        return None
    raise ServerError(
        f"{name} is missing, which models need: install your system's libpython package, "
        "or take a Python that was built with --enable-shared"
    )


def _joined(first: Path, rest: str | None) -> str:
    return f"{first}:{rest}" if rest else str(first)
