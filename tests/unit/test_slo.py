from __future__ import annotations

from pathlib import Path

import pytest

from tritalk import environment, metrics, slo


@pytest.fixture
def objectives(tmp_path: Path) -> Path:
    return tmp_path / "slo.yaml"


def test_the_objectives_in_the_repository_are_sound() -> None:
    loaded = slo.load(environment.repository_root() / "slo.yaml")

    assert loaded.objectives["turn_latency"].at_most == 1500
    assert loaded.objectives["turn_success"].ratio_at_least == 0.995


def test_every_histogram_has_buckets_and_every_bucket_list_a_histogram() -> None:
    declared = {
        value.name
        for value in vars(metrics).values()
        if isinstance(value, metrics.Metric) and value.kind == "histogram"
    }

    assert set(slo.default().buckets) == declared


def test_every_objective_is_about_a_declared_metric_and_its_labels() -> None:
    declared = {
        value.name: value for value in vars(metrics).values() if isinstance(value, metrics.Metric)
    }

    for objective in slo.default().objectives.values():
        assert set(objective.labels) <= set(declared[objective.metric].labels)


def test_bounds_are_kept_or_broken() -> None:
    at_most = slo.Objective(metric="x", at_most=5, description="")
    at_least = slo.Objective(metric="x", at_least=5, description="")

    assert at_most.met_by(5)
    assert not at_most.met_by(5.1)
    assert at_least.met_by(5)
    assert not at_least.met_by(4.9)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("objectives: {a: {metric: m, description: d}}\nbuckets: {}", "exactly one"),
        ("objectives: {a: {metric: m, at_most: 3, description: d}}\nbuckets: {m: [1, 2]}", "edge"),
        ("objectives: {}\nbuckets: {m: [2, 1]}", "must rise"),
        ("objectives: {}\nbuckets: {}\nextra: 1", "extra"),
        ("objectives: [", "slo.yaml"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(objectives: Path, text: str, complaint: str) -> None:
    objectives.write_text(text)

    with pytest.raises(slo.SloError, match=complaint):
        slo.load(objectives)


def test_a_missing_file_is_named(objectives: Path) -> None:
    with pytest.raises(slo.SloError, match="slo.yaml"):
        slo.load(objectives)
