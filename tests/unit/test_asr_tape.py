"""A stream of numbers of which the older part is forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from tritalk.asr.tape import Tape


def numbers(begin: int, end: int) -> np.ndarray:
    return np.arange(begin, end, dtype=np.float32)


def test_parts_are_counted_from_the_beginning() -> None:
    tape = Tape()
    tape.append(numbers(0, 10))
    tape.append(numbers(10, 15))
    assert tape.end == 15
    np.testing.assert_array_equal(tape.part(8, 12), numbers(8, 12))
    np.testing.assert_array_equal(tape.part(12, 99), numbers(12, 15))
    assert len(tape.part(20, 30)) == 0


@pytest.mark.parametrize("size", [7, 320, 50_000])
def test_what_is_forgotten_takes_no_room_and_the_rest_stays(size: int) -> None:
    tape = Tape()
    for begin in range(0, 100 * size, size):
        tape.append(numbers(begin, begin + size))
        tape.forget(tape.end - 500)
        kept = tape.part(tape.end - min(500, tape.end), tape.end)
        np.testing.assert_array_equal(kept, numbers(max(0, tape.end - 500), tape.end))
    assert tape.end - tape.begin <= 2 * 4096 + 500


def test_a_part_is_a_copy() -> None:
    tape = Tape()
    tape.append(numbers(0, 10))
    part = tape.part(0, 10)
    tape.append(np.full(100_000, -1, dtype=np.float32))
    tape.forget(100_000)
    np.testing.assert_array_equal(part, numbers(0, 10))


def test_nothing_is_forgotten_twice_or_before_it_came() -> None:
    tape = Tape()
    tape.append(numbers(0, 10_000))
    tape.forget(9_000)
    tape.forget(10)
    tape.forget(99_999)
    assert tape.begin == tape.end == 10_000
    tape.append(numbers(10_000, 10_003))
    np.testing.assert_array_equal(tape.part(0, 99_999), numbers(10_000, 10_003))
