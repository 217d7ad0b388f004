"""The hibari engine with its real voice, which is small."""

from __future__ import annotations

from pathlib import Path

import hibari
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.hibari import RESULT, convert
from tritalk.model_files import ModelError
from tritalk.settings import SettingsError, read_settings
from tritalk.tts import engines
from tritalk.tts.engine import SILENCE, EngineError, Phrase, Voice
from tritalk.tts.settings import TtsSettings
from tritalk.tts.speakable import speakable

CARRIED = Path(hibari.__file__).parent / "assets" / "hibari.onnx"
SENTENCE = "Hello there, how are you today?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tts")
    convert({RESULT: CARRIED}, folder)
    return folder


@pytest.fixture(scope="module")
def voice(folder: Path) -> Voice:
    return engines.load(TtsSettings(), folder)["heart"]


def phrase(voice: Voice, text: str) -> Phrase:
    (found,) = voice.phrases(text)
    return found


@pytest.mark.parametrize("text", [SENTENCE, "Yes.", "I can help with a wide range of tasks."])
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.3, 2.0])
def test_the_phones_last_exactly_as_long_as_the_sound(
    voice: Voice, text: str, speed: float
) -> None:
    spoken = voice.speak(phrase(voice, text), speed, 0)

    total_s = sum(phone.duration_s for phone in spoken.phones)
    assert round(total_s * voice.sample_rate_hz, 6) == len(spoken.samples)


def test_silence_is_where_the_phones_say(voice: Voice) -> None:
    spoken = voice.speak(phrase(voice, SENTENCE), 1.0, 0)
    power = np.square(spoken.samples)
    sounding = silent = 0.0
    at = 0
    for phone in spoken.phones:
        begin, at = at, at + round(phone.duration_s * voice.sample_rate_hz)
        if phone.symbol == SILENCE:
            silent += power[begin:at].sum()
        else:
            sounding += power[begin:at].sum()

    assert silent < 0.1 * sounding


def test_the_conversion_does_not_change_the_sound(voice: Voice) -> None:
    ours = voice.speak(phrase(voice, SENTENCE), 1.0, 7)
    theirs = hibari.Hibari(model=str(CARRIED)).from_phonemes(
        phrase(voice, SENTENCE).phonemes, seed=7
    )

    np.testing.assert_array_equal(ours.samples, theirs)


def test_the_same_seed_gives_the_same_samples(voice: Voice) -> None:
    first, same, other = (voice.speak(phrase(voice, "Yes."), 1.0, seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first.samples, same.samples)
    assert not np.array_equal(first.samples, other.samples)


def test_sentences_are_told_from_abbreviations(voice: Voice) -> None:
    assert len(voice.phrases("It is No. 5, Dr. Smith vs. Mr. Jones. Really!")) == 2


def test_a_sentence_without_an_end_is_cut(voice: Voice) -> None:
    phrases = voice.phrases("word " * 1500)

    assert len(phrases) > 10
    assert all(len(part.phonemes) <= 400 for part in phrases)


@given(st.text(max_size=80))
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_text_has_a_pronunciation_or_none(voice: Voice, text: str) -> None:
    for part in voice.phrases(speakable(text)):
        assert any(character.isalpha() for character in part.phonemes)


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="python -m export get default"):
        engines.load(TtsSettings(), tmp_path)


def test_a_broken_voice_is_named(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_bytes(b"no voice at all")

    with pytest.raises(ModelError, match=r"hibari\.onnx cannot be used"):
        engines.load(TtsSettings(), tmp_path)


def test_a_voice_without_lengths_says_how_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_bytes(CARRIED.read_bytes())

    with pytest.raises(EngineError, match="export get hibari-en --replace"):
        engines.load(TtsSettings(), tmp_path)


def test_a_default_voice_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(EngineError, match="voice is emma.*heart"):
        engines.load(TtsSettings(voice="emma"), folder)


def test_an_unknown_engine_is_a_settings_error() -> None:
    config = '{"name": "tts", "parameters": {"engine": {"string_value": "organ"}}}'

    with pytest.raises(SettingsError, match=r"tts/config\.pbtxt: parameter engine.*hibari"):
        read_settings(TtsSettings, config)


def test_only_the_graph_that_is_known_is_converted(tmp_path: Path) -> None:
    other = onnx.load(CARRIED)
    other.graph.output.pop()
    onnx.save(other, tmp_path / "other.onnx")

    with pytest.raises(ValueError, match=r"not the graph of hibari-tts 0\.2"):
        convert({RESULT: tmp_path / "other.onnx"}, tmp_path)


def test_what_is_no_graph_is_not_converted(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"garbage garbage")

    with pytest.raises(ValueError, match="not an ONNX file"):
        convert({RESULT: tmp_path / "broken.onnx"}, tmp_path)
