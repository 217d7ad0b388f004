"""The fingerprint of a package: its own code, and all of this project that the code imports."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

_OURS = ("export", "tritalk", "tritalk_client")


def of_package(name: str) -> str | None:
    """The sha256 of a package's code and of the modules of this project that it needs.

    Comments and blank lines count: a conversion too many costs seconds, one too few a wrong model.

    Args:
        name: The package, as it is imported.

    Returns:
        Hexadecimal digits; None where there is no such package.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    waiting = sorted(Path(spec.origin).parent.rglob("*.py"))
    sources: dict[Path, bytes] = {}
    while waiting:
        path = waiting.pop()
        if path not in sources:
            sources[path] = path.read_bytes()
            waiting += _imported(sources[path])
    digest = hashlib.sha256()
    for code in sorted(sources.values()):
        digest.update(hashlib.sha256(code).digest())
    return digest.hexdigest()


def _imported(code: bytes) -> Iterator[Path]:
    """Files of this project that a module imports."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in _OURS:
                yield from _files(name)


def _files(name: str) -> Iterator[Path]:
    """The file of a module; none for the name of something inside a module."""
    package, _, rest = name.partition(".")
    for folder in importlib.import_module(package).__path__:
        path = Path(folder, *rest.split(".")) if rest else Path(folder)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                yield file
