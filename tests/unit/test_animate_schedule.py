from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritalk.animate.schedule import Pace, steps
from tritalk.animate.settings import AnimateSettings
from tritalk.playback import Playback


def pace(lead_s: float | None = None, **settings: int) -> Pace:
    return Pace.of(AnimateSettings(**settings), lead_s)


def fragments(frames_per_second: float, total: int = 250, step: int = 5) -> list[int]:
    """Lengths of the fragments of a turn whose frames are made at a steady rate."""
    playback, now, pending, lengths = Playback(), 0.0, 0, []
    for _ in range(total // step):
        now += step / frames_per_second
        pending += step
        if pace(step_frames=step).due_in_s(pending, playback.lead_s(now)) <= 0:
            playback.sent(pending / 25, now)
            lengths.append(pending)
            pending = 0
    return lengths


def test_the_first_fragment_is_one_step_and_the_next_grow_to_the_longest() -> None:
    lengths = fragments(frames_per_second=100)

    assert lengths[0] == 5
    assert lengths[:6] == sorted(lengths[:6])
    assert max(lengths) == lengths[-1] == 25


def test_a_machine_that_cannot_keep_up_sends_every_step_at_once() -> None:
    assert set(fragments(frames_per_second=20)) == {5}


def test_a_viewer_who_waits_again_gets_short_fragments_again() -> None:
    playback = Playback()
    playback.sent(2.0, now=0.0)

    assert pace().due_in_s(5, playback.lead_s(0.5)) == pytest.approx(1.3)
    assert pace().due_in_s(5, playback.lead_s(9.0)) <= 0


def test_nothing_is_due_before_a_step_is_drawn() -> None:
    assert pace().due_in_s(0, held_s=0.0) == math.inf
    assert pace().due_in_s(4, held_s=0.0) == math.inf


def test_without_a_lead_there_is_always_room() -> None:
    assert pace().room_in_s(500, held_s=3600.0) <= 0


def test_a_step_waits_until_it_is_within_the_lead() -> None:
    # given a viewer who holds 0.7 s, and 0.4 s that would be unsent with the next step
    assert pace(lead_s=1.0).room_in_s(10, held_s=0.7) == pytest.approx(0.1)
    assert pace(lead_s=1.0).room_in_s(10, held_s=0.5) <= 0


@given(lead_s=st.floats(0.2, 20), step=st.integers(1, 25), longest=st.integers(1, 250))
def test_a_step_fits_the_lead_of_a_viewer_who_holds_nothing(
    lead_s: float, step: int, longest: int
) -> None:
    chosen = pace(lead_s, step_frames=step, longest_fragment_frames=longest)

    assert chosen.room_in_s(chosen.step_frames, held_s=0.0) <= 1e-9
    assert 1 <= chosen.step_frames <= chosen.longest_fragment_frames <= longest
    assert chosen.longest_fragment_frames / 25 <= lead_s + 1e-9


@given(rate=st.floats(1, 500), total=st.integers(1, 60).map(lambda n: n * 5))
def test_no_fragment_is_longer_than_the_longest_or_shorter_than_a_step(
    rate: float, total: int
) -> None:
    assert all(5 <= length <= 25 for length in fragments(rate, total))


@given(first=st.integers(0, 1000), count=st.integers(0, 200), length=st.integers(1, 25))
def test_steps_cover_every_frame_once_in_order(first: int, count: int, length: int) -> None:
    runs = steps(first, first + count, length)

    assert [frame for run in runs for frame in run] == list(range(first, first + count))
    assert all(len(run) == length for run in runs[:-1])
