"""Decisions on the probabilities of speech."""

from __future__ import annotations

import numpy as np
import pytest

from tritalk.asr import vad
from tritalk.asr.vad import WINDOW


def probabilities(*runs: tuple[float, int]) -> np.ndarray:
    """Windows as runs of (probability, number)."""
    return np.concatenate([np.full(count, value, dtype=np.float32) for value, count in runs])


def test_a_short_span_stays_in_one_piece() -> None:
    assert vad.cuts(probabilities((0.9, 10)), 100, 5000, longest=5000) == [(100, 5000)]


def test_a_long_span_is_cut_in_the_middle_of_its_longest_pause() -> None:
    heard = probabilities((0.9, 60), (0.05, 3), (0.9, 10), (0.05, 9), (0.9, 40))
    pieces = vad.cuts(heard, 0, len(heard) * WINDOW, longest=100 * WINDOW)
    assert pieces == [(0, 77 * WINDOW + WINDOW // 2), (77 * WINDOW + WINDOW // 2, 122 * WINDOW)]


@pytest.mark.parametrize("seed", range(5))
def test_the_pieces_are_the_span_and_none_is_too_long(seed: int) -> None:
    random = np.random.default_rng(seed)
    heard = random.random(2000).astype(np.float32)
    begin, end = 1000, 1_000_000
    pieces = vad.cuts(heard, begin, end, longest=200 * WINDOW)
    assert [piece[0] for piece in pieces] == [begin, *[piece[1] for piece in pieces[:-1]]]
    assert pieces[-1][1] == end
    assert all(0 < last - first <= 200 * WINDOW for first, last in pieces)


@pytest.mark.parametrize(
    ("heard", "window"),
    [
        (((0.9, 5), (0.1, 5), (0.9, 5)), 7),
        (((0.9, 2), (0.02, 1), (0.9, 2), (0.14, 3), (0.9, 2)), 6),
        (((0.9, 5), (0.5, 1), (0.8, 5)), 5),
        (((0.9, 1),), 0),
    ],
)
def test_the_quietest_point_is_in_the_longest_pause_or_least_like_speech(
    heard: tuple[tuple[float, int], ...], window: int
) -> None:
    assert vad.quietest(probabilities(*heard)) == window
