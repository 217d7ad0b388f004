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
