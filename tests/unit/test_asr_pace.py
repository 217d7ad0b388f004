"""A microphone and a recording, told apart by when their audio comes."""

from __future__ import annotations

import pytest

from tritalk.asr.pace import Pace


def feed(pace: Pace, *, chunk_s: float, every_s: float, count: int, now_s: float = 0.0) -> float:
    for _ in range(count):
        now_s += every_s
        pace.took(chunk_s, now_s)
    return now_s


@pytest.mark.parametrize("chunk_s", [0.02, 0.1, 0.5])
def test_audio_at_the_pace_of_speech_is_live(chunk_s: float) -> None:
    pace = Pace(0.0)
    feed(pace, chunk_s=chunk_s, every_s=chunk_s, count=int(60 / chunk_s))
    assert pace.is_live


@pytest.mark.parametrize("chunk_s", [0.02, 0.5, 5.0])
def test_a_recording_sent_at_once_is_not(chunk_s: float) -> None:
    pace = Pace(0.0)
    feed(pace, chunk_s=chunk_s, every_s=0.001, count=int(10 / chunk_s))
    assert not pace.is_live


def test_what_a_stall_held_back_is_live() -> None:
    pace = Pace(0.0)
    now_s = feed(pace, chunk_s=0.1, every_s=0.1, count=50)
    now_s = feed(pace, chunk_s=0.1, every_s=0.001, count=20, now_s=now_s + 2.0)
    assert pace.is_live


def test_a_long_stall_is_no_licence_for_a_recording() -> None:
    pace = Pace(0.0)
    feed(pace, chunk_s=0.1, every_s=0.001, count=100, now_s=600.0)
    assert not pace.is_live


def test_a_lead_is_forgotten_after_some_time() -> None:
    pace = Pace(0.0)
    now_s = feed(pace, chunk_s=0.1, every_s=0.001, count=30)
    assert not pace.is_live
    feed(pace, chunk_s=0.1, every_s=0.1, count=300, now_s=now_s)
    assert pace.is_live
