from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritalk.playback import Playback


def test_a_viewer_who_got_nothing_holds_nothing() -> None:
    playback = Playback()

    assert playback.lead_s(3.0) == playback.position_s(3.0) == playback.sent_s == 0.0


def test_what_was_sent_is_played_from_then_on() -> None:
    playback = Playback()
    playback.sent(2.0, now=10.0)

    assert playback.lead_s(10.5) == pytest.approx(1.5)
    assert playback.position_s(10.5) == pytest.approx(0.5)


def test_what_comes_early_is_played_after_what_he_holds() -> None:
    playback = Playback()
    playback.sent(1.0, now=0.0)
    playback.sent(1.0, now=0.25)

    assert playback.lead_s(0.5) == pytest.approx(1.5)
    assert playback.position_s(1.75) == pytest.approx(1.75)


def test_a_viewer_who_stalled_goes_on_from_where_he_stopped() -> None:
    playback = Playback()
    playback.sent(0.2, now=0.0)

    assert playback.position_s(5.0) == pytest.approx(0.2)
    playback.sent(0.4, now=5.0)

    assert playback.lead_s(5.1) == pytest.approx(0.3)
    assert playback.position_s(5.1) == pytest.approx(0.3)
    assert playback.position_s(99.0) == pytest.approx(0.6)


@given(
    st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 5)), min_size=1, max_size=20),
    st.floats(0, 30),
)
def test_all_that_was_sent_is_held_or_played_and_never_more_played_than_time_has_passed(
    sent: list[tuple[float, float]], later_s: float
) -> None:
    playback, now = Playback(), 0.0
    for duration_s, pause_s in sent:
        playback.sent(duration_s, now)
        now += pause_s
    now += later_s

    assert playback.lead_s(now) + playback.position_s(now) == pytest.approx(playback.sent_s)
    assert playback.sent_s == pytest.approx(sum(duration_s for duration_s, _ in sent))
    assert playback.position_s(now) <= now + 1e-9
