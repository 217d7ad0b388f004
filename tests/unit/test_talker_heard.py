from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritalk.talker.heard import Spoken, heard_text

ANSWER = [Spoken("Once upon a time.", 0.0, 1.7), Spoken("There was a king.", 1.7, 3.4)]
WHOLE = "Once upon a time. There was a king."


@pytest.mark.parametrize(
    ("position_s", "heard"),
    [
        (-1.0, ""),
        (0.0, ""),
        (0.3, ""),
        (0.4, "Once"),
        (0.6, "Once"),
        (1.6, "Once upon a time"),
        (1.7, "Once upon a time."),
        (1.8, "Once upon a time."),
        (2.2, "Once upon a time. There"),
        (3.4, WHOLE),
        (99.0, WHOLE),
    ],
)
def test_whole_words_are_heard_as_their_time_comes(position_s: float, heard: str) -> None:
    assert heard_text(ANSWER, position_s) == heard


def test_nothing_is_heard_of_nothing() -> None:
    assert heard_text([], 3.0) == ""


@pytest.mark.parametrize(
    ("text", "at_chars", "heard"),
    [
        ("I don't know", 5, "I"),
        ("I don't know", 6, "I"),
        ("I don’t know", 5, "I"),
        ("a well-known king", 6, "a"),
        ("Das war schön, ja", 11, "Das war"),
        ("Он знал всё", 5, "Он"),
        ("Fine, thanks", 4, "Fine"),
        ("He said “no” twice", 9, "He said"),
        ("He said “no” twice", 11, "He said “no"),
        ("我叫Tom。", 4, "我叫"),
        ("It costs 1250 pounds", 11, "It costs"),
    ],
)
def test_a_word_counts_only_as_a_whole(text: str, at_chars: int, heard: str) -> None:
    clauses = [Spoken(text, 0.0, float(len(text)))]

    assert heard_text(clauses, at_chars + 0.5) == heard


def test_characters_count_where_words_are_not_set_apart() -> None:
    clauses = [Spoken("今天天气很好。", 0.0, 7.0)]

    assert heard_text(clauses, 3.5) == "今天天"


def test_a_clause_without_length_is_heard_when_it_is_past() -> None:
    clauses = [Spoken("Hm.", 1.0, 1.0)]

    assert heard_text(clauses, 1.0) == ""
    assert heard_text(clauses, 1.1) == "Hm."


@given(
    st.lists(st.tuples(st.text("ab c'-ü.今", min_size=1, max_size=30), st.floats(0.01, 5))),
    st.floats(0, 50),
    st.floats(0, 50),
)
def test_who_hears_for_longer_hears_no_less(
    answer: list[tuple[str, float]], one_s: float, other_s: float
) -> None:
    clauses = []
    at_s = 0.0
    for text, duration_s in answer:
        clause = " ".join(text.split())
        clauses.append(Spoken(clause, at_s, at_s + duration_s))
        at_s += duration_s

    earlier, later = (heard_text(clauses, at) for at in sorted((one_s, other_s)))

    assert later.startswith(earlier)
    assert heard_text(clauses, at_s).startswith(later)
