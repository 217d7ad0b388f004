from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritalk.talker.clauses import ClauseSplitter


def split(
    text: str, *, size: int = 3, first: int = 12, first_longest: int = 1000, longest: int = 200
) -> list[str]:
    splitter = ClauseSplitter(
        first_clause_chars=first, first_clause_longest_chars=first_longest, clause_chars=longest
    )
    clauses = []
    for start in range(0, len(text), size):
        clauses += splitter.feed(text[start : start + size])
    return clauses + splitter.flush()


def test_sentences_come_one_by_one() -> None:
    assert split("It is noon. The sun is high! Are you hungry?") == [
        "It is noon.",
        "The sun is high!",
        "Are you hungry?",
    ]


def test_a_sentence_is_given_as_soon_as_the_next_begins() -> None:
    splitter = ClauseSplitter(
        first_clause_chars=12, first_clause_longest_chars=1000, clause_chars=200
    )

    assert splitter.feed("It is noon.") == []
    assert splitter.feed(" The") == ["It is noon."]


def test_the_first_clause_may_end_at_a_comma_and_later_ones_do_not() -> None:
    assert split("Well of course, I can help. If you like, we begin now.") == [
        "Well of course,",
        "I can help.",
        "If you like, we begin now.",
    ]


def test_a_long_first_clause_is_cut_where_a_speaker_might_pause_and_later_ones_are_not() -> None:
    text = (
        "The sea is a vast and mysterious realm that covers most of the planet and holds it. "
        "It is a place of endless storms and of silent light that nobody has seen."
    )

    clauses = split(text, first_longest=48)

    assert clauses == [
        "The sea is a vast and mysterious realm",
        "that covers most of the planet and holds it.",
        "It is a place of endless storms and of silent light that nobody has seen.",
    ]


def test_a_long_first_clause_without_such_a_place_is_left_whole() -> None:
    text = "Supercalifragilistic expialidocious words never stop anybody anywhere anyhow."

    assert split(text, first_longest=48) == [text]


def test_a_comma_too_early_does_not_end_the_first_clause() -> None:
    assert split("Yes, I can help you.") == ["Yes, I can help you."]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Watson lives at 221B Baker St. in London.",
        "It costs 3.50 dollars and weighs 1.2 kilograms.",
        "J. R. R. Tolkien wrote it.",
        "Meet me at 5 p.m. tomorrow.",
        "See www.example.org for more.",
    ],
)
def test_a_stop_inside_a_sentence_does_not_end_it(text: str) -> None:
    assert split(text) == [text]


def test_the_word_i_and_the_word_no_end_sentences() -> None:
    assert split("So do I. She said no. We left.") == ["So do I.", "She said no.", "We left."]


def test_list_numbers_stay_with_their_items() -> None:
    assert split("1. Wash it.\n2. Dry it.") == ["1. Wash it.", "2. Dry it."]


def test_chinese_sentences_need_no_space() -> None:
    assert split("今天天气很好。我们去公园吧！你呢？", size=1) == [
        "今天天气很好。",
        "我们去公园吧！",
        "你呢？",
    ]


def test_closing_quotes_belong_to_their_sentence() -> None:
    assert split('He said "Stop!" Then he ran.') == ['He said "Stop!"', "Then he ran."]


def test_an_endless_sentence_is_cut_at_a_comma_or_a_space() -> None:
    text = "one two three four five six seven, " + "eight nine ten " * 10
    clauses = split(text, first=1000, longest=60)

    assert max(map(len, clauses)) <= 60
    assert " ".join(clauses).split() == text.split()


def test_marks_alone_are_not_spoken() -> None:
    assert split("... !!! \n - \n Hello there.") == ["Hello there."]


@given(st.text(alphabet="ab .,!?1\n—。，", max_size=200), st.integers(1, 7))
def test_no_word_is_lost_however_the_text_arrives(text: str, size: int) -> None:
    whole = "".join(split(text, size=len(text) + 1, longest=40))
    pieces = "".join(split(text, size=size, longest=40))

    def letters(value: str) -> str:
        return "".join(character for character in value if character.isalnum())

    assert letters(whole) == letters(text)
    assert letters(pieces) == letters(text)


@pytest.mark.parametrize("text", ["!" * 8000, "?! " * 2600, "J. " * 2600, "a, " * 2600])
def test_a_text_of_marks_alone_is_cut_without_looking_at_all_of_it_again(text: str) -> None:
    clauses = split(text, size=len(text))

    assert all(len(clause) <= 200 for clause in clauses)
