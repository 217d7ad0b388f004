"""The objectives of `slo.yaml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from tritalk import environment


class SloError(ValueError):
    """`slo.yaml` is wrong; the message names the entry and what it must be."""


class Objective(BaseModel):
    """One promise about one metric; exactly one bound is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    labels: dict[str, str] = Field(default_factory=dict)
    at_most: float | None = None
    at_least: float | None = None
    ratio_at_least: float | None = Field(default=None, gt=0, lt=1)
    description: str

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        bounds = [self.at_most, self.at_least, self.ratio_at_least]
        if sum(bound is not None for bound in bounds) != 1:
            raise ValueError("give exactly one of at_most, at_least, ratio_at_least")
        return self

    def met_by(self, value: float) -> bool:
        """Whether a measured value, in the unit of the metric, keeps the promise."""
        if self.at_most is not None:
            return value <= self.at_most
        bound = self.at_least if self.at_least is not None else self.ratio_at_least
        assert bound is not None
        return value >= bound


class Slo(BaseModel):
    """All objectives, and the histogram buckets they are counted in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objectives: dict[str, Objective]
    buckets: dict[str, tuple[float, ...]]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for metric, edges in self.buckets.items():
            if not edges or any(a >= b for a, b in zip(edges, edges[1:], strict=False)):
                raise ValueError(f"buckets.{metric}: edges must rise")
        for name, objective in self.objectives.items():
            bound = objective.at_most if objective.at_most is not None else objective.at_least
            edges = self.buckets.get(objective.metric, ())
            if bound is not None and edges and bound not in edges:
                raise ValueError(
                    f"objectives.{name}: {bound:g} must be an edge of buckets.{objective.metric}"
                )
        return self


def load(path: Path) -> Slo:
    """Read a file of objectives.

    Raises:
        SloError: The file cannot be read, is not YAML, or an entry is wrong.
    """
    try:
        return Slo.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise SloError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise SloError(f"{path}: {problems}") from error


@cache
def default() -> Slo:
    """The objectives in force in this process."""
    return load(environment.slo_file())
