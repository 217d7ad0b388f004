from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes import FakeStages
from tests.stores import FakeClock
from tritalk.talker.ears import MAX_WAITING_BYTES, Ears, Microphone
from tritalk.talker.manner import Manner
from tritalk.talker.settings import TalkerSettings
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

MANNER = replace(Manner.default(TalkerSettings()), avatar_id="ada")
CHUNK_20_MS = bytes(640)


class Listening:
    """Ears with scripted recognition, and what they have heard."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stages = FakeStages()
        self.heard: list[tuple[Microphone, wire.Hearing | TritalkError | None]] = []
        self.ears = Ears(self.stages, lambda *heard: self.heard.append(heard), self.clock)

    def hear(
        self,
        pcm: bytes = CHUNK_20_MS,
        *,
        hands_free: bool = True,
        end: bool = False,
        manner: Manner = MANNER,
    ) -> Microphone:
        request = wire.Audio(hands_free=hands_free, end_of_speech=end)
        return self.ears.hear(request, pcm, manner)


@pytest.fixture
def listening() -> Listening:
    return Listening()


def test_small_chunks_go_to_recognition_a_few_at_a_time_and_none_is_lost(
    listening: Listening,
) -> None:
    chunks = [bytes([number]) * 640 for number in range(10)]

    for chunk in chunks:
        listening.hear(chunk)
    listening.hear(b"", end=True)

    (ear,) = listening.stages.ears
    assert ear.pcm == b"".join(chunks)
    # Three of 20 ms at a time, and what was left with the end.
    assert ear.sends == 4
    assert ear.ended


def test_a_chunk_that_is_long_enough_goes_at_once(listening: Listening) -> None:
    listening.hear(bytes(1920))

    assert listening.stages.ears[0].sends == 1


def test_a_question_is_recognised_with_its_end_and_heard_through_its_microphone(
    listening: Listening,
) -> None:
    first = listening.hear(bytes(3200), hands_free=False)
    last = listening.hear(bytes(3200), hands_free=False, end=True)

    assert first is last
    (transcript, end) = listening.heard
    assert transcript[0] is end[0] is first
    assert isinstance(transcript[1], wire.Transcript)
    assert transcript[1].text == "How are you?"
    assert end[1] is None
    options = listening.stages.ears[0].options
    assert (options.endpointing, options.end_silence_ms) == (False, None)


def test_the_next_question_has_a_microphone_of_its_own(listening: Listening) -> None:
    first = listening.hear(hands_free=False, end=True)
    second = listening.hear(hands_free=False, end=True)

    assert first is not second
    assert first.turn_id != second.turn_id
    assert len(listening.stages.ears) == 2


def test_an_open_microphone_is_recognised_with_the_users_settings(listening: Listening) -> None:
    manner = replace(MANNER, language="de", end_silence_ms=700, silence_timeout_s=9.0)

    listening.hear(bytes(1920), manner=manner)

    assert listening.stages.ears[0].options == wire.RecognitionOptions(
        language="de", endpointing=True, end_silence_ms=700, silence_timeout_s=9.0
    )


def test_an_open_microphone_takes_new_settings_and_a_question_keeps_its_own(
    listening: Listening,
) -> None:
    german = replace(MANNER, language="de")
    listening.hear(bytes(1920))
    listening.hear(bytes(1920), manner=german)
    assert [ear.closed for ear in listening.stages.ears] == [True, False]

    listening.hear(bytes(1920), hands_free=False)
    listening.hear(bytes(1920), hands_free=False, manner=german, end=True)

    assert [ear.options.language for ear in listening.stages.ears] == ["en", "de", "en"]


def test_a_microphone_that_sent_nothing_for_long_begins_anew(listening: Listening) -> None:
    before = listening.hear(bytes(1920))
    listening.clock.advance(45.0)
    assert listening.hear(bytes(1920)) is before

    listening.clock.advance(59.0)

    assert listening.hear(bytes(1920)) is not before
    assert [ear.closed for ear in listening.stages.ears] == [True, False]


def test_a_question_may_pause_for_as_long_as_it_likes(listening: Listening) -> None:
    before = listening.hear(bytes(1920), hands_free=False)
    listening.clock.advance(300.0)

    assert listening.hear(bytes(1920), hands_free=False) is before


# --- bounds --------------------------------------------------------------------------------------


def test_more_audio_than_a_question_may_have_does_not_wait_for_recognition(
    listening: Listening,
) -> None:
    listening.stages.deaf = True
    second = bytes(32_000)
    for _ in range(60):
        listening.hear(second)

    with pytest.raises(TritalkError) as caught:
        listening.hear(second)

    assert (caught.value.code, caught.value.retryable) == (ErrorCode.BUSY, True)
    assert len(listening.stages.ears[0].pcm) == MAX_WAITING_BYTES


def test_audio_of_questions_that_have_ended_counts_until_recognition_took_it(
    listening: Listening,
) -> None:
    listening.stages.deaf = True
    for _ in range(3):
        listening.hear(bytes(MAX_WAITING_BYTES // 3), hands_free=False, end=True)
    with pytest.raises(TritalkError):
        listening.hear(bytes(2), hands_free=False)

    listening.stages.ears[0].pcm = b""

    listening.hear(bytes(2), hands_free=False)


def test_a_microphone_can_be_closed_when_recognition_is_busy(listening: Listening) -> None:
    listening.stages.deaf = True
    listening.hear(bytes(MAX_WAITING_BYTES))

    assert listening.hear(b"", end=True).ended


# --- failures ------------------------------------------------------------------------------------


def test_after_a_failure_a_hands_free_user_is_heard_anew_in_a_second(
    listening: Listening,
) -> None:
    broken = listening.hear(bytes(1920))
    listening.ears.lose(broken)

    listening.clock.advance(0.99)
    assert listening.hear(bytes(1920)) is not broken
    assert len(listening.stages.ears) == 1
    listening.clock.advance(0.01)
    listening.hear(bytes(1920))

    assert len(listening.stages.ears) == 2
    # Nothing of the second in which nobody listened.
    assert len(listening.stages.ears[1].pcm) == 1920


def test_after_a_failure_the_rest_of_a_question_is_passed_over_and_the_next_is_heard(
    listening: Listening,
) -> None:
    broken = listening.hear(bytes(1920), hands_free=False)
    listening.ears.lose(broken)

    assert listening.hear(bytes(1920), hands_free=False, end=True) is broken
    assert len(listening.stages.ears) == 1
    listening.hear(bytes(1920), hands_free=False, end=True)

    assert len(listening.stages.ears) == 2


def test_the_failure_of_a_microphone_that_is_closed_leaves_the_open_one_alone(
    listening: Listening,
) -> None:
    old = listening.hear(bytes(1920))
    new = listening.hear(bytes(1920), manner=replace(MANNER, language="de"))

    listening.ears.lose(old)

    assert listening.hear(bytes(1920), manner=replace(MANNER, language="de")) is new
    assert len(listening.stages.ears[1].pcm) == 3840


def test_closing_hears_nothing_more_and_may_be_done_twice(listening: Listening) -> None:
    listening.ears.close()
    listening.hear(bytes(1920))

    listening.ears.close()
    listening.ears.close()

    assert listening.stages.ears[0].closed
