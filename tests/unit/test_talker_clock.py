from __future__ import annotations

import pytest

from tritalk.talker.clock import StageClock
from tritalk.talker.watch import StageWatch
from tritalk_client.errors import ErrorCode


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_shares_of_the_stages_add_up_to_the_turn() -> None:
    hands = Hands()
    clock = StageClock(hands.now_s, hands)
    for stage, at_s in {
        "transcript": 100.2,
        "first_token": 100.3,
        "first_clause": 100.5,
        "first_audio": 100.55,
        "first_frame": 100.7,
        "last_token": 101.0,
    }.items():
        hands.now_s = at_s
        clock.mark(stage)

    shares = clock.shares()

    assert shares == pytest.approx(
        {"total": 700, "asr": 200, "llm": 300, "tts": 50, "animate": 150}
    )
    assert shares["total"] == pytest.approx(sum(shares.values()) - shares["total"])


def test_a_stage_without_part_in_the_turn_has_no_share() -> None:
    hands = Hands()
    clock = StageClock(hands.now_s, hands)
    for stage in ("first_clause", "first_audio", "first_frame"):
        hands.now_s += 0.1
        clock.mark(stage)

    assert clock.shares() == pytest.approx({"total": 300, "tts": 200, "animate": 100})


def test_only_the_first_stamp_counts() -> None:
    hands = Hands()
    clock = StageClock(hands.now_s, hands)
    hands.now_s += 1
    clock.mark("first_token")
    hands.now_s += 1
    clock.mark("first_token")

    assert clock.times.first_token == 1000


def test_a_turn_that_never_spoke_has_no_latency() -> None:
    hands = Hands()
    clock = StageClock(hands.now_s, hands)
    clock.mark("transcript")

    assert clock.shares() == {}


def test_the_watch_blames_the_stage_that_has_been_silent_too_long() -> None:
    hands = Hands()
    watch = StageWatch({"llm": 5, "tts": 2}, hands)
    watch.beat("llm")
    watch.beat("tts")
    hands.now_s += 3

    late = watch.overdue()

    assert late is not None
    assert (late.stage, late.code, late.retryable) == ("tts", ErrorCode.TIMEOUT, True)


def test_a_stage_at_rest_is_never_late() -> None:
    hands = Hands()
    watch = StageWatch({"llm": 5, "tts": 2}, hands)
    watch.beat("llm")
    watch.beat("tts")
    watch.rest("tts")
    hands.now_s += 3

    assert watch.overdue() is None
    assert watch.patience_s() == pytest.approx(2)
