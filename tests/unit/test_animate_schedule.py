from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritalk.animate.schedule import Playback, should_cut, steps


def fragments(frames_per_second: float, total: int = 250, step: int = 5) -> list[int]:
    """Lengths of the fragments of a turn whose frames are made at a steady rate."""
    playback, now, pending, lengths = Playback(), 0.0, 0, []
    for _ in range(total // step):
        now += step / frames_per_second
        pending += step
        lead = playback.lead_frames(now)
        if should_cut(pending, lead, first_frames=step, longest_frames=25):
            playback.sent(pending, now)
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
    playback.sent(50, now=0.0)

    in_hand = should_cut(5, playback.lead_frames(0.5), first_frames=5, longest_frames=25)
    waiting = should_cut(5, playback.lead_frames(9.0), first_frames=5, longest_frames=25)

    assert not in_hand
    assert waiting


def test_playback_that_stalled_goes_on_from_where_it_stopped() -> None:
    playback = Playback()
    playback.sent(5, now=0.0)
    playback.sent(10, now=5.0)

    assert playback.lead_frames(5.2) == pytest.approx(5.0)


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
