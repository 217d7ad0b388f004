"""Where utterances begin, pause and end, on crafted probabilities."""

from __future__ import annotations

from tritalk.asr.endpointing import Change, Endpointer, Hysteresis

HYSTERESIS = Hysteresis(begins=0.5, windows=3, goes_on=0.35)


def hear(endpointer: Endpointer, *runs: tuple[float, int]) -> list[Change]:
    """Hear runs of (probability, windows); what each window changed, but nothing."""
    changes = [endpointer.hear(value) for value, count in runs for _ in range(count)]
    return [change for change in changes if change is not Change.NOTHING]


def test_some_windows_in_a_row_begin_an_utterance_with_the_first_of_them() -> None:
    endpointer = Endpointer(HYSTERESIS)
    assert hear(endpointer, (0.1, 10), (0.9, 3)) == [Change.BEGUN]
    assert (endpointer.resumed, endpointer.last, endpointer.spoken) == (10, 13, 3)
    assert endpointer.speaking


def test_a_click_begins_nothing() -> None:
    endpointer = Endpointer(HYSTERESIS)
    assert not hear(endpointer, (0.1, 10), (0.9, 2), (0.1, 5), (0.9, 1), (0.1, 5))
    assert not endpointer.speaking
    assert endpointer.last == 0


def test_speech_goes_on_at_a_lower_probability_than_it_begins() -> None:
    endpointer = Endpointer(HYSTERESIS)
    hear(endpointer, (0.9, 3), (0.4, 10))
    assert endpointer.speaking
    assert endpointer.last == 13
    fresh = Endpointer(HYSTERESIS)
    assert not hear(fresh, (0.4, 10))


def test_silence_is_counted_from_the_last_speech() -> None:
    endpointer = Endpointer(HYSTERESIS)
    hear(endpointer, (0.9, 5), (0.1, 4))
    assert (endpointer.last, endpointer.silent) == (5, 4)


def test_what_may_be_a_beginning_is_not_counted_as_silence_until_it_is_none() -> None:
    endpointer = Endpointer(HYSTERESIS)
    hear(endpointer, (0.9, 5), (0.1, 8), (0.9, 2))
    assert endpointer.silent == 8
    hear(endpointer, (0.1, 1))
    assert endpointer.silent == 11


def test_speech_after_a_pause_resumes_the_utterance() -> None:
    endpointer = Endpointer(HYSTERESIS)
    hear(endpointer, (0.9, 5), (0.1, 8))
    assert hear(endpointer, (0.9, 4)) == [Change.RESUMED]
    assert (endpointer.paused, endpointer.resumed, endpointer.last) == (5, 13, 17)
    assert endpointer.spoken == 9


def test_after_the_end_speech_begins_another_utterance() -> None:
    endpointer = Endpointer(HYSTERESIS)
    hear(endpointer, (0.9, 5), (0.1, 8))
    endpointer.end()
    assert hear(endpointer, (0.9, 3)) == [Change.BEGUN]
    assert endpointer.spoken == 3


def test_an_utterance_ended_in_mid_speech_goes_on_as_another() -> None:
    endpointer = Endpointer(HYSTERESIS)
    hear(endpointer, (0.9, 5))
    endpointer.end()
    assert not endpointer.speaking
    assert hear(endpointer, (0.9, 3)) == [Change.BEGUN]
