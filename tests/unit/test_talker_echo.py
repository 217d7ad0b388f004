from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritalk.talker import echo

WORDS = st.lists(st.text("abcdefghijklmnopqrstuvwxyzäé", min_size=1, max_size=8), max_size=12)


@pytest.mark.parametrize(
    ("heard", "spoken", "rest"),
    [
        ("Once upon a time", "Once upon a time there was a king.", ""),
        ("upon a time", "Once upon a time there was a king.", ""),
        ("once a king", "Once upon a time there was a king.", ""),
        ("ONCE, upon: a time!", "Once upon a time.", ""),
        # Misheard, as an echo is.
        ("once upon a tame there vas", "Once upon a time there was a king.", "vas"),
        ("a kind", "there was a king", ""),
        ("Stop it", "Once upon a time", "Stop it"),
        ("a time, stop it please.", "Once upon a time.", "stop it please."),
        ("It doesn't, really?", "It doesn't matter.", "really?"),
        ("It doesn’t", "It doesn't matter.", ""),
        ("", "Once upon a time", ""),
        ("...", "Once upon a time", ""),
        ("Hello", "", "Hello"),
    ],
)
def test_what_is_left_of_a_transcript_without_the_echo(heard: str, spoken: str, rest: str) -> None:
    assert echo.without(heard, spoken) == rest


def test_a_word_that_is_said_often_does_not_take_the_echo_ahead() -> None:
    spoken = "the cat and the dog and the cow"

    assert echo.without("the cat and the dog and the cow", spoken) == ""
    assert echo.without("and the cow", spoken) == ""


@given(WORDS)
def test_what_is_spoken_is_its_own_echo(spoken: list[str]) -> None:
    text = " ".join(spoken)

    assert echo.without(text, text) == ""
    assert echo.without(text.upper().lower(), text) == ""


@given(WORDS, st.integers(0, 12), st.integers(0, 12))
def test_every_stretch_of_what_is_spoken_is_an_echo(
    spoken: list[str], start: int, length: int
) -> None:
    heard = " ".join(spoken[start : start + length])

    assert echo.without(heard, " ".join(spoken)) == ""


@given(st.text(max_size=60), st.text(max_size=60))
def test_what_is_left_is_the_end_of_what_was_heard(heard: str, spoken: str) -> None:
    rest = echo.without(heard, spoken)

    assert heard.endswith(rest)


@given(WORDS.filter(bool))
def test_the_users_own_words_are_left_whole_behind_any_echo(spoken: list[str]) -> None:
    # given words with characters that no spoken word has
    own = "9876 54321 00000"

    assert echo.without(f"{' '.join(spoken)} {own}", " ".join(spoken)) == own
    assert echo.without(own, " ".join(spoken)) == own
