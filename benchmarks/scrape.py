"""Reading Triton's /metrics, and what happened between two readings."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 10.0

Key: TypeAlias = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Scrape:
    """All samples of one reading, by name and labels."""

    samples: Mapping[Key, float]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; 0 when there is none."""
        wanted = set(labels.items())
        return sum(
            value
            for (sample, found), value in self.samples.items()
            if sample == name and wanted <= found
        )

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """The samples of this name, by the value of one label."""
        return {
            dict(found)[label]: value
            for (sample, found), value in self.samples.items()
            if sample == name and label in dict(found)
        }

    def names(self) -> set[str]:
        """The names of all samples."""
        return {name for name, _ in self.samples}


def scrape(url: str) -> Scrape:
    """Read /metrics.

    Raises:
        OSError: Nobody answers at the address.
    """
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
        text = response.read().decode()
    return Scrape(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def mean_between(before: Scrape, after: Scrape, histogram: str, **labels: str) -> float | None:
    """The mean of what a histogram observed between two readings, None when that is nothing."""
    count, total = (
        after.value(f"{histogram}_{part}", **labels) - before.value(f"{histogram}_{part}", **labels)
        for part in ("count", "sum")
    )
    return total / count if count else None


def quantile_between(
    before: Scrape, after: Scrape, histogram: str, quantile: float, **labels: str
) -> float | None:
    """A quantile of what a histogram observed between two readings, None when that is nothing.

    Interpolated within its bucket, as Prometheus does; beyond the last edge it is that edge.
    """
    wanted = set(labels.items())
    counts: dict[float, float] = {}
    for reading, sign in ((after, 1.0), (before, -1.0)):
        for (name, found), value in reading.samples.items():
            if name == f"{histogram}_bucket" and wanted <= found:
                edge = float(dict(found)["le"])
                counts[edge] = counts.get(edge, 0.0) + sign * value
    edges = sorted(counts)
    total = counts[edges[-1]] if edges else 0.0
    if not total:
        return None
    rank, below, lower = quantile * total, 0.0, 0.0
    for edge in edges:
        if counts[edge] >= rank:
            if edge == float("inf"):
                return lower
            return lower + (edge - lower) * (rank - below) / (counts[edge] - below)
        below, lower = counts[edge], edge
    return lower
