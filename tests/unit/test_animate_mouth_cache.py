from __future__ import annotations

import numpy as np
import pytest

from tritalk.animate.mouth_cache import MouthCache
from tritalk.animate.turn import Mouths
from tritalk.audio import Samples
from tritalk_client.errors import ErrorCode, TritalkError

SIDE = 16
BYTES = 2 * SIDE * SIDE * 3


class Generator:
    """Draws what it is asked for, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.broken = False

    def __call__(self, mel: Samples, faces: Mouths) -> Mouths:
        self.calls += 1
        if self.broken:
            raise TritalkError(ErrorCode.UNAVAILABLE, "no mouths", stage="wav2lip")
        return np.full(
            (len(mel), SIDE, SIDE, 3), int(mel[0, 0, 0, 0]) + faces[0, 0, 0, 0], np.uint8
        )


def windows(value: float) -> Samples:
    return np.full((2, 1, 80, 16), value, np.float32)


def portrait(value: int) -> Mouths:
    return np.full((2, SIDE, SIDE, 6), value, np.uint8)


def test_equal_windows_of_one_portrait_are_drawn_once() -> None:
    generator = Generator()
    cache = MouthCache(generator, 10 * BYTES)

    first = cache(windows(3), portrait(1))
    again = cache(windows(3), portrait(1))

    assert generator.calls == 1
    assert np.array_equal(first, again)


@pytest.mark.parametrize(("mel", "face"), [(4, 1), (3, 2)])
def test_another_sound_or_portrait_is_drawn_anew(mel: int, face: int) -> None:
    generator = Generator()
    cache = MouthCache(generator, 10 * BYTES)
    cache(windows(3), portrait(1))

    drawn = cache(windows(mel), portrait(face))

    assert generator.calls == 2
    assert drawn[0, 0, 0, 0] == mel + face


def test_those_not_asked_for_the_longest_give_way() -> None:
    generator = Generator()
    cache = MouthCache(generator, 2 * BYTES)
    for value in (1, 2, 1, 3):
        cache(windows(value), portrait(0))
    assert generator.calls == 3

    cache(windows(1), portrait(0))
    assert generator.calls == 3
    cache(windows(2), portrait(0))
    assert generator.calls == 4


def test_a_failure_is_not_kept() -> None:
    generator = Generator()
    cache = MouthCache(generator, 10 * BYTES)
    generator.broken = True
    with pytest.raises(TritalkError):
        cache(windows(1), portrait(0))
    generator.broken = False

    assert cache(windows(1), portrait(0))[0, 0, 0, 0] == 1


def test_what_is_kept_does_not_change_with_the_memory_it_came_in() -> None:
    shared = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    cache = MouthCache(lambda mel, faces: shared, 10 * BYTES)
    cache(windows(1), portrait(0))

    shared[:] = 9

    assert cache(windows(1), portrait(0)).max() == 0
