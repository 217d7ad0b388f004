"""Rhubarb's mouth shapes and their course over time."""

from pathlib import Path

import numpy as np
import pytest

from export.lipsync import labels, rhubarb, shapes
from export.lipsync.rhubarb import MouthShape


def test_shapes_are_read_from_rhubarbs_tsv() -> None:
    assert rhubarb.parse_tsv("0.00\tX\n0.13\tB\n1.20\tA\n") == [
        MouthShape(0.0, "X"),
        MouthShape(0.13, "B"),
        MouthShape(1.2, "A"),
    ]


def test_a_shape_that_is_held_is_reached() -> None:
    track = shapes.track([MouthShape(0.0, "X"), MouthShape(0.5, "D")], 1.0)
    assert track[0] == pytest.approx(np.array(shapes.SHAPES["X"]), abs=1e-6)
    assert track[-1] == pytest.approx(np.array(shapes.SHAPES["D"]), abs=1e-6)


def test_a_change_is_half_done_at_its_time() -> None:
    track = shapes.track([MouthShape(0.0, "X"), MouthShape(0.5, "D")], 1.0)
    assert shapes.at(track, np.array([0.4975]))[0, 0] == pytest.approx(0.5, abs=0.01)


def test_movement_has_no_jumps() -> None:
    track = shapes.track([MouthShape(0.1 * k, "AD"[k % 2]) for k in range(10)], 1.0)
    assert np.abs(np.diff(track, axis=0)).max() < 0.08


def test_before_the_first_shape_the_mouth_rests() -> None:
    assert not shapes.track([MouthShape(0.5, "D")], 1.0)[:50].any()


def test_values_between_two_rows_are_interpolated_and_the_ends_hold() -> None:
    track = np.array([[0.0], [1.0]], np.float32)
    times = np.array([-1.0, 0.25 / shapes.TRACK_HZ, 9.0])
    assert shapes.at(track, times)[:, 0].tolist() == [0.0, 0.25, 1.0]


def test_every_shape_sets_every_parameter_within_bounds() -> None:
    assert set(shapes.SHAPES) == set("ABCDEFGHX")
    for values in shapes.SHAPES.values():
        assert len(values) == len(shapes.PARAMETERS)
        assert all(0 <= value <= 1 for value in values)


def rhubarb_that_says(folder: Path, script: str) -> Path:
    program = folder / "rhubarb"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


def test_the_track_is_the_mean_over_hisses(tmp_path: Path) -> None:
    """Given a labeller that changes its mind with each call, then half of each answer counts."""
    seen = tmp_path / "seen"
    script = (
        f"if [ -e {seen} ]; then printf '0.0\\tD\\n'; else printf '0.0\\tX\\n'; touch {seen}; fi"
    )
    track = labels.mouth_track(
        np.zeros(16_000, np.float32),
        rhubarb_that_says(tmp_path, script),
        hisses_db=(float("-inf"), -60.0),
    )
    assert track[:, 0] == pytest.approx(np.full(len(track), 0.5))


def test_rhubarbs_own_words_are_told_when_it_fails(tmp_path: Path) -> None:
    folder = rhubarb_that_says(tmp_path, "echo no such recogniser >&2; exit 1")
    with pytest.raises(RuntimeError, match="no such recogniser"):
        rhubarb.mouth_shapes(np.zeros(160, np.float32), folder)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "rhubarb")):
        rhubarb.mouth_shapes(np.zeros(160, np.float32), tmp_path)
