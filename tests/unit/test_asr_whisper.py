"""The installed model: what drafts and settled tokens change, and neighbours do not."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import soxr

from export import assets
from tritalk import environment
from tritalk.asr.whisper import Clip, Tokens, Whisper
from tritalk.audio import Samples

FOLDER = environment.repository_root() / "model_repository" / "asr" / "1"


def recording(speaker: str) -> Samples:
    path = assets.path("harvard-phrases") / f"{speaker}_harvard_phrases.wav"
    samples, rate = soundfile.read(path, dtype="float32")
    return np.asarray(soxr.resample(samples, rate, 16_000))


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    return Whisper(FOLDER, threads=1)


@pytest.fixture(scope="module")
def clips() -> list[Samples]:
    first, second = recording("F2"), recording("M2")
    return [first[: int(2.78 * 16_000)], second, first]


@pytest.fixture(scope="module")
def alone(whisper: Whisper, clips: list[Samples]) -> list[Tokens]:
    return [whisper.recognise([Clip(samples, "en")])[0] for samples in clips]


def test_clips_together_get_the_tokens_that_they_get_alone(
    whisper: Whisper, clips: list[Samples], alone: list[Tokens]
) -> None:
    assert whisper.recognise([Clip(samples, "en") for samples in clips]) == alone


@pytest.mark.parametrize("right", [0, 3, 8, 100])
def test_a_draft_changes_nothing(
    whisper: Whisper, clips: list[Samples], alone: list[Tokens], right: int
) -> None:
    """However much of it is right: nothing, the beginning, or all of it and more."""
    wrong = whisper.tokens(" something else entirely, and a good deal of it")
    drafted = [
        Clip(samples, "en", draft=(*tokens[:right], *wrong))
        for samples, tokens in zip(clips, alone, strict=True)
    ]
    assert whisper.recognise(drafted) == alone
    assert whisper.recognise(drafted[:1]) == alone[:1]


def test_drafts_and_settled_tokens_of_neighbours_change_nothing(
    whisper: Whisper, clips: list[Samples], alone: list[Tokens]
) -> None:
    mixed = [
        Clip(clips[0], "en", settled=alone[0][:4], draft=alone[0][4:6]),
        Clip(clips[1], "en", draft=alone[1][:2]),
        Clip(clips[2], "en", settled=alone[2][:9]),
    ]
    assert whisper.recognise(mixed) == alone


def test_a_transcript_begins_with_its_settled_tokens_whatever_is_heard(
    whisper: Whisper, clips: list[Samples]
) -> None:
    settled = whisper.tokens(" Not quite closely")
    ((*found,),) = whisper.recognise([Clip(clips[0], "en", settled=settled)])
    assert tuple(found[: len(settled)]) == settled
    assert "gas tank" in whisper.text(found)


def test_settled_tokens_stay_at_the_limit_of_the_model(
    whisper: Whisper, clips: list[Samples]
) -> None:
    settled = whisper.tokens(" so much was said" * 100)
    (found,) = whisper.recognise([Clip(clips[0], "en", settled=settled)])
    assert found == settled[: len(found)]
    assert len(found) > 200
