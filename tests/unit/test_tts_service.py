from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.fakes import FakeFamily, metric_values
from tritalk import slo
from tritalk.metrics import Registry
from tritalk.tts.cache import SpeechCache
from tritalk.tts.engine import SILENCE, Phone, Phrase, Spoken
from tritalk.tts.lane import LongLane
from tritalk.tts.service import SpeechService
from tritalk.tts.settings import TtsSettings
from tritalk.tts.speech import Speech
from tritalk_client.errors import ErrorCode, TritalkError

RATE_HZ = 16_000
WAIT_S = 10.0


class Piano:
    """A voice that plays a note of 0.1 s for every letter of a line, in 0.5 s of silence."""

    sample_rate_hz = RATE_HZ

    def __init__(self) -> None:
        self.played: list[str] = []

    def phrases(self, text: str) -> list[Phrase]:
        return [Phrase(line) for line in text.splitlines()]

    def speak(self, phrase: Phrase, speed: float, seed: int) -> Spoken:
        self.played.append(phrase.phonemes)
        sound_s = len(phrase.phonemes) * 0.1 / speed
        time_s = np.arange(round(sound_s * RATE_HZ)) / RATE_HZ
        note = (0.1 * np.sin(2 * np.pi * (200 + seed) * time_s)).astype(np.float32)
        pad = np.zeros(RATE_HZ // 2, np.float32)
        phones = [Phone(SILENCE, 0.5), Phone("a", sound_s), Phone(SILENCE, 0.5)]
        return Spoken(np.concatenate([pad, note, pad]), phones)


@pytest.fixture
def family() -> type[FakeFamily]:
    class Family(FakeFamily):
        series = {}

    return Family


@pytest.fixture
def piano() -> Piano:
    return Piano()


@pytest.fixture
def service(piano: Piano, family: type[FakeFamily]) -> SpeechService:
    settings = TtsSettings(
        lead_silence_ms=0, clause_pause_ms=100, sentence_pause_ms=300, max_phonemes=100
    )
    registry = Registry(family, slo.default())
    return SpeechService({"piano": piano, "organ": Piano()}, settings, registry)


def seconds(speech: Speech) -> float:
    return len(speech.pcm) / 2 / speech.sample_rate_hz


def refusal(service: SpeechService, text: str, voice: str = "", speed: float = 1.0) -> TritalkError:
    with pytest.raises(TritalkError) as raised:
        service.speak(text, voice, speed)
    return raised.value


def test_a_clause_and_a_sentence_leave_their_pause(service: SpeechService) -> None:
    assert seconds(service.speak("abc,")) == pytest.approx(0.4 + 0.1, abs=0.01)
    assert seconds(service.speak("abc.")) == pytest.approx(0.4 + 0.3, abs=0.01)
    assert seconds(service.speak('abc."')) == pytest.approx(0.5 + 0.3, abs=0.01)


def test_who_speaks_fast_pauses_briefly(service: SpeechService) -> None:
    assert seconds(service.speak("abc.", "", 2.0)) == pytest.approx(0.35, abs=0.01)


def test_lines_follow_one_another_in_sound_and_timing(service: SpeechService) -> None:
    speech = service.speak("abc.\nde.")

    assert seconds(speech) == pytest.approx(0.4 + 0.3 + 0.3 + 0.3, abs=0.02)
    assert [phone.symbol for phone in speech.timing] == ["a", SILENCE, "a", SILENCE]
    last = speech.timing[-1]
    assert last.start_s + last.duration_s == pytest.approx(seconds(speech), abs=1e-4)


@pytest.mark.parametrize("voice", ["", "default", "piano"])
def test_the_first_voice_is_the_default(service: SpeechService, piano: Piano, voice: str) -> None:
    service.speak("abc", voice)

    assert piano.played == ["abc"]


def test_an_unknown_voice_is_answered_with_those_there_are(service: SpeechService) -> None:
    error = refusal(service, "abc", voice="tuba")

    assert error.code is ErrorCode.UNKNOWN_VOICE
    assert "piano, organ" in error.message


@pytest.mark.parametrize("speed", [0.49, 2.01, -1.0, float("nan"), float("inf")])
def test_a_speed_out_of_bounds_is_refused(service: SpeechService, speed: float) -> None:
    error = refusal(service, "abc", speed=speed)

    assert error.code is ErrorCode.BAD_REQUEST
    assert "0.5 and 2.0" in error.message


@pytest.mark.parametrize("text", ["", "   ", "🎉", "...", "!!!", "```python", "你好，世界。"])
def test_a_text_without_a_sound_is_told_from_a_bad_request(
    service: SpeechService, text: str
) -> None:
    error = refusal(service, text)

    assert error.code is ErrorCode.NOTHING_TO_SAY
    assert not error.retryable


@pytest.mark.parametrize("text", ["x" * 8001, "x" * 101])
def test_too_long_a_text_or_speech_is_refused(service: SpeechService, text: str) -> None:
    error = refusal(service, text)

    assert error.code is ErrorCode.TOO_LARGE
    assert "in parts" in error.message


def test_the_same_request_is_spoken_once(service: SpeechService, piano: Piano) -> None:
    first = service.speak("abc")

    assert service.speak("abc") == first
    assert service.speak("abc", "piano") == first
    assert piano.played == ["abc"]


@pytest.mark.parametrize(("voice", "speed"), [("organ", 1.0), ("piano", 1.5)])
def test_another_voice_or_speed_is_another_speech(
    service: SpeechService, voice: str, speed: float
) -> None:
    assert service.speak("abc") is not service.speak("abc", voice, speed)


def test_speech_is_measured_where_it_is_made(
    service: SpeechService, family: type[FakeFamily]
) -> None:
    service.speak("abc")
    service.speak("abc")

    assert len(metric_values(family, "tts_synthesis_duration_seconds")) == 1
    (rtf,) = metric_values(family, "rtf_ratio")
    assert rtf > 0
    assert metric_values(family, "output_audio_sample_rate") == [RATE_HZ]


def test_a_closed_service_does_not_begin_another_phrase(service: SpeechService) -> None:
    service.close()

    assert refusal(service, "abc").code is ErrorCode.UNAVAILABLE


def speech(size: int) -> Speech:
    return Speech(b"\0" * size, RATE_HZ, [])


def test_the_cache_gives_up_what_was_not_asked_for_the_longest() -> None:
    cache = SpeechCache(limit_bytes=250)
    for name in "ab":
        cache.put((name, "", 1.0), speech(100))

    # when the older is asked for, and another comes
    cache.get(("a", "", 1.0))
    cache.put(("c", "", 1.0), speech(100))

    kept = [name for name in "abc" if cache.get((name, "", 1.0))]
    assert kept == ["a", "c"]


def test_the_cache_does_not_take_what_is_larger_than_itself() -> None:
    cache = SpeechCache(limit_bytes=250)
    cache.put(("a", "", 1.0), speech(100))
    cache.put(("b", "", 1.0), speech(300))

    assert cache.get(("a", "", 1.0))
    assert not cache.get(("b", "", 1.0))


def test_a_full_lane_refuses_and_goes_on_when_it_has_room() -> None:
    lane = LongLane(max_queue=1)
    gate, done = threading.Event(), threading.Event()
    outcomes: list[Speech | TritalkError] = []

    def slow() -> Speech:
        assert gate.wait(WAIT_S)
        return speech(2)

    def answer(outcome: Speech | TritalkError) -> None:
        outcomes.append(outcome)
        done.set()

    lane.submit(slow, answer)
    with pytest.raises(TritalkError) as raised:
        lane.submit(slow, answer)
    assert raised.value.code is ErrorCode.BUSY

    gate.set()
    assert done.wait(WAIT_S)
    lane.submit(slow, answer)
    lane.close()
    assert outcomes == [speech(2), speech(2)]


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (TritalkError(ErrorCode.NOTHING_TO_SAY, "no sound"), ErrorCode.NOTHING_TO_SAY),
        (RuntimeError("boom"), ErrorCode.INTERNAL),
    ],
)
def test_what_fails_in_the_lane_is_answered(raised: Exception, code: ErrorCode) -> None:
    def fail() -> Speech:
        raise raised

    outcomes: list[Speech | TritalkError] = []
    lane = LongLane(max_queue=1)
    lane.submit(fail, outcomes.append)
    lane.close()

    (error,) = outcomes
    assert isinstance(error, TritalkError)
    assert error.code is code
