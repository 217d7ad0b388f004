"""Which tokens a transcript may hold, and when it ends."""

from __future__ import annotations

import numpy as np
import pytest

from tritalk.asr.greedy import Rules, most_tokens, without_loop
from tritalk.asr.model_config import WhisperModel

END, START, TIMESTAMP, BLANK, MUSIC = 10, 11, 14, 5, 6
MODEL = WhisperModel(
    name="whisper-test",
    mels=80,
    audio_context=1500,
    text_context=448,
    state=64,
    heads=1,
    audio_layers=1,
    text_layers=1,
    vocabulary=16,
    silence_levels=(-1.0,),
    start=START,
    end=END,
    transcribe=12,
    no_timestamps=13,
    first_timestamp=TIMESTAMP,
    blank=BLANK,
    barred=(MUSIC, START, 12, 13),
    languages={"en": 9},
)


def logits(*order: int) -> np.ndarray:
    """Logits of one sequence that likes these tokens best, in this order."""
    values = np.zeros((1, MODEL.vocabulary), dtype=np.float32)
    for rank, token in enumerate(order):
        values[0, token] = 100 - rank
    return values


def test_the_likeliest_token_is_picked_for_each_sequence() -> None:
    batch = np.concatenate([logits(3), logits(7)])
    assert Rules(MODEL).pick(batch, first=False).tolist() == [3, 7]


@pytest.mark.parametrize("token", [MUSIC, START, TIMESTAMP, TIMESTAMP + 1])
def test_annotations_special_tokens_and_timestamps_are_never_picked(token: int) -> None:
    assert Rules(MODEL).pick(logits(token, 2), first=False).tolist() == [2]


@pytest.mark.parametrize("token", [END, BLANK])
def test_a_transcript_begins_neither_with_its_end_nor_with_a_blank(token: int) -> None:
    rules = Rules(MODEL)
    assert rules.pick(logits(token, 2), first=True).tolist() == [2]
    assert rules.pick(logits(token, 2), first=False).tolist() == [token]


def test_a_long_clip_may_have_more_tokens_up_to_the_limit() -> None:
    assert most_tokens(1.0, limit=224) < most_tokens(5.0, limit=224) < 224
    assert most_tokens(30.0, limit=224) == 224


def test_four_rounds_of_the_same_words_are_cut_down_to_one() -> None:
    assert without_loop([1, 2, *[7, 8, 9] * 4]) == [1, 2, 7, 8, 9]


def test_one_token_must_repeat_more_often_before_it_counts_as_a_loop() -> None:
    assert without_loop([4] * 11) is None
    assert without_loop([3, *[4] * 12]) == [3, 4]


@pytest.mark.parametrize(
    "tokens", [[], [1], [7, 8, 9] * 3, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]
)
def test_what_people_say_is_no_loop(tokens: list[int]) -> None:
    assert without_loop(tokens) is None
