"""From the model's spelling to the transcript."""

from __future__ import annotations

import pytest

from tritalk.asr import text


def test_spaces_are_single_and_broken_characters_gone() -> None:
    assert text.tidy("  Hello \n world\N{REPLACEMENT CHARACTER}") == "Hello world"


def test_pieces_are_joined_as_the_language_is_written() -> None:
    assert text.join([" One.", "", "Two. "], "en") == "One. Two."
    assert text.join(["你好。", "再见。"], "zh") == "你好。再见。"


@pytest.mark.parametrize(
    ("found", "said"), [("", False), (" . ", False), ("...", False), ("I", True), ("好", True)]
)
def test_punctuation_alone_says_nothing(found: str, said: bool) -> None:
    assert text.says_something(found) is said


@pytest.mark.parametrize(
    "found",
    [
        "What is the capital of France?",
        "Stop!",
        "I am done.",
        'He said "no."',
        "你好。",
        "你叫什么名字？",
    ],
)
def test_a_sentence_with_its_mark_is_complete(found: str) -> None:
    assert text.is_complete(found)


@pytest.mark.parametrize(
    "found",
    [
        "",
        ".",
        "What is the capital",
        "I went to the.",
        "I like apples and.",
        "Because, um.",
        "Well...",
        "And then…",
        "Hello,",
        "我想要苹果和。",
        "因为。",
    ],
)
def test_a_text_after_which_more_is_to_come_is_not(found: str) -> None:
    assert not text.is_complete(found)
