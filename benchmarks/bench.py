"""All measures in one run: `python -m benchmarks.bench` writes `out/bench.json`.

`--only conversation` or `--only llm` measures one part.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import conversation, llm, results
from benchmarks.measures import Measure

PARTS: Mapping[str, Callable[[Console], dict[str, Measure]]] = {
    "conversation": conversation.measure,
    "llm": llm.measure,
}


def write(measures: Mapping[str, Measure]) -> Path:
    """Write `out/bench.json`."""
    return results.write("bench", {name: item.to_json() for name, item in measures.items()})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(PARTS), action="append")
    chosen = parser.parse_args(arguments).only or list(PARTS)
    console = Console(stderr=True)
    found: dict[str, Measure] = {}
    for name in chosen:
        console.rule(name)
        found |= PARTS[name](console)
        written = write(found)
    missed = [name for name, measure in found.items() if measure.ok is False]
    console.print(f"Wrote {written}; {len(missed)} goals missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
