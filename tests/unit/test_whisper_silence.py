"""Many positions of encoded silence as few groups."""

from __future__ import annotations

import numpy as np
import pytest

from export.whisper.silence import grouped

RANDOM = np.random.default_rng(0)
POSITIONS, SIZE = 60, 8


def attended(
    query: np.ndarray, keys: np.ndarray, values: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    weights = np.exp(keys @ query + scores)
    return np.asarray(weights @ values / weights.sum())


@pytest.fixture
def kinds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys and values of which there are four kinds, and the kind of each position."""
    kind = RANDOM.integers(0, 4, POSITIONS)
    keys, values = RANDOM.normal(0, 1, (2, 4, SIZE))[:, kind]
    return keys[None].astype(np.float16), values[None].astype(np.float16), kind


@pytest.mark.parametrize("speech", [0, 1, 17, 59])
def test_attention_to_groups_of_equal_positions_is_attention_to_all_of_them(
    kinds: tuple[np.ndarray, np.ndarray, np.ndarray], speech: int
) -> None:
    keys, values, _ = kinds
    groups = grouped(keys, values, 4)
    query = RANDOM.normal(0, 1, SIZE)
    with np.errstate(divide="ignore"):
        scores = np.log(groups.counts[speech])
    np.testing.assert_allclose(
        attended(query, groups.keys[0], groups.values[0], scores),
        attended(query, keys[0, speech:], values[0, speech:], np.zeros(POSITIONS - speech)),
        atol=1e-3,
    )


def test_each_position_behind_the_speech_is_counted_once(
    kinds: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    groups = grouped(*kinds[:2], 3)
    assert groups.counts.shape == (POSITIONS + 1, 3)
    np.testing.assert_array_equal(groups.counts.sum(axis=1), np.arange(POSITIONS, -1, -1))


def test_a_position_that_nothing_is_like_stays_alone() -> None:
    keys, values = RANDOM.normal(0, 0.1, (2, 1, POSITIONS, SIZE))
    keys[0, 41] += 20
    groups = grouped(keys, values, 5)
    (alone,) = np.flatnonzero(groups.counts[0] == 1)
    np.testing.assert_allclose(groups.keys[0, alone], keys[0, 41], atol=1e-5)
    assert (groups.counts[41, alone], groups.counts[42, alone]) == (1, 0)


def test_heads_are_grouped_together() -> None:
    keys, values = RANDOM.normal(0, 1, (2, 1, 2, POSITIONS, SIZE))
    groups = grouped(keys, values, 6)
    assert groups.keys.shape == groups.values.shape == (1, 2, 6, SIZE)


def test_few_positions_are_each_a_group() -> None:
    keys, values = RANDOM.normal(0, 1, (2, 1, 5, SIZE))
    groups = grouped(keys, values, 100)
    np.testing.assert_array_equal(groups.counts[0], np.ones(5))
