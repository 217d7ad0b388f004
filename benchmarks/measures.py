"""One figure of a benchmark, against its baseline of the same run and its goal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console


@dataclass(frozen=True)
class Measure:
    """A figure and what it is held against.

    Attributes:
        value: What was measured.
        unit: Of the value.
        baseline: The same of what it is compared with, measured in the same run; None where the
            value speaks for itself.
        goal: Bound of the ratio where there is a baseline, of the value elsewhere; None is no
            promise.
        at_least: Whether the goal is a lower bound.
    """

    value: float
    unit: str
    baseline: float | None = None
    goal: float | None = None
    at_least: bool = False

    @property
    def ratio(self) -> float | None:
        """The value against its baseline."""
        return None if self.baseline is None else self.value / self.baseline

    @property
    def ok(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        figure = self.value if self.ratio is None else self.ratio
        return figure >= self.goal if self.at_least else figure <= self.goal

    def to_json(self) -> dict[str, Any]:
        """The entry of `out/bench.json`; what could not be measured has no value."""
        return {
            "value": _rounded(self.value),
            "unit": self.unit,
            "baseline": _rounded(self.baseline),
            "ratio": _rounded(self.ratio),
            "goal": self.goal,
            "at_least": self.at_least,
            "ok": self.ok,
        }

    def line(self, name: str) -> str:
        """One line for a person, in rich's markup."""
        parts = [f"{name}: {self.value:.4g} {self.unit}"]
        if self.ratio is not None:
            parts.append(f"against {self.baseline:.4g}, ratio {self.ratio:.3g}")
        if self.goal is not None:
            sign = "≥" if self.at_least else "≤"
            parts.append(
                f"goal {sign} {self.goal:g} " + ("[green]ok[/]" if self.ok else "[red]missed[/]")
            )
        return ", ".join(parts)


def reporter(console: Console, found: dict[str, Measure]) -> Callable[..., None]:
    """Takes measures by their names: keeps them in `found`, and prints a line of each."""

    def say(**measures: Measure) -> None:
        found.update(measures)
        for name, measure in measures.items():
            console.print(measure.line(name))

    return say


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)
