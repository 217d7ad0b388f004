"""Which words of a transcript are certain."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tritalk import environment
from tritalk.asr.agreement import agreed
from tritalk.asr.whisper import Whisper

FOLDER = environment.repository_root() / "model_repository" / "asr" / "1"


def anywhere(tokens: Sequence[int], index: int) -> bool:
    return True


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        ((), (), 0),
        ((), (1, 2), 0),
        ((1, 2), (1, 2, 3), 2),
        ((1, 2, 9), (1, 2, 3, 4), 2),
        ((9, 2, 3), (1, 2, 3), 0),
        ((1, 2, 3, 4), (1, 2), 1),
        ((1, 2), (1, 2), 1),
    ],
)
def test_the_common_beginning_without_the_last_token_is_certain(
    before: tuple[int, ...], after: tuple[int, ...], count: int
) -> None:
    assert agreed(before, after, anywhere) == count


def test_it_is_cut_back_to_a_whole_word() -> None:
    assert agreed((1, 2, 3, 4), (1, 2, 3, 4, 5), lambda tokens, index: index == 2) == 2
    assert agreed((1, 2, 3, 4), (1, 2, 3, 4, 5), lambda tokens, index: False) == 0


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    return Whisper(FOLDER, threads=1)


@pytest.mark.parametrize(
    ("text", "language", "allowed"),
    [
        (" I don't", "en", {" I"}),
        (" A well-known book", "en", {" A", " A well-known"}),
        (" Hello, world", "en", {" Hello,"}),
        (" Unbelievably", "en", set()),
        ("你好吗", "zh", {"你好", "你"}),
    ],
)
def test_no_word_of_the_model_is_split(
    whisper: Whisper, text: str, language: str, allowed: set[str]
) -> None:
    tokens = whisper.tokens(text)
    cut = {
        text[: len(whisper.text(tokens[:index])) + text.startswith(" ")]
        for index in range(1, len(tokens))
        if whisper.is_boundary(tokens, index, language)
    }
    assert cut <= allowed
    assert bool(cut) is bool(allowed)
