"""How the modules of tritalk hang together."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from tritalk import environment

ROOT = environment.repository_root()
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "tritalk").rglob("*.py")
}


def imported(path: Path) -> Iterator[str]:
    """Modules of tritalk that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in MODULES or node.module in MODULES:
                    yield name if name in MODULES else node.module


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = {name: set(imported(path)) - {name} for name, path in MODULES.items()}

    order = list(TopologicalSorter(graph).static_order())

    assert order.index("tritalk.llm.engine") < order.index("tritalk.llm.engines")
