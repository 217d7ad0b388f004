from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tritalk.llm.deltas import Deltas


def sent(
    pieces: list[tuple[float, str]], interval_s: float = 0.05, *, first_chars: int = 1
) -> list[tuple[float, str]]:
    """What leaves of pieces that come at these times, without what is left at the end."""
    deltas = Deltas(interval_s, first_chars=first_chars)
    return [(now, due) for now, text in pieces if (due := deltas.add(text, now))]


def test_the_first_piece_leaves_at_once_and_the_next_together() -> None:
    pieces = [(9.00, "The"), (9.01, " big"), (9.02, " old"), (9.06, " clock"), (9.07, " runs")]

    assert sent(pieces) == [(9.00, "The"), (9.06, " big old clock")]


def test_the_pieces_of_a_first_clause_leave_at_once() -> None:
    pieces = [(9.00, "The"), (9.01, " big"), (9.02, " old"), (9.03, " clock"), (9.04, " runs")]

    assert sent(pieces, first_chars=9) == pieces[:3]


def test_a_clause_mark_and_what_follows_it_leave_at_once() -> None:
    pieces = [(9.00, "Yes"), (9.01, ", of"), (9.02, " course"), (9.03, " we"), (9.04, " do")]

    assert sent(pieces) == [(9.00, "Yes"), (9.01, ", of"), (9.02, " course")]


def test_slow_pieces_are_not_held() -> None:
    pieces = [(0.1 * number, f" {number}") for number in range(5)]

    assert sent(pieces) == pieces


def test_without_an_interval_every_piece_leaves_alone() -> None:
    pieces = [(0.0, "a"), (0.0, "b"), (0.0, "c")]

    assert sent(pieces, interval_s=0.0) == pieces


def test_what_is_left_at_the_end_is_given_once() -> None:
    deltas = Deltas(0.05, first_chars=1)
    deltas.add("One", 0.0)
    deltas.add(" two", 0.01)

    assert deltas.rest() == " two"
    assert deltas.rest() == ""


@given(
    st.lists(st.tuples(st.floats(0, 0.1), st.text(min_size=1, max_size=4)), max_size=40),
    st.floats(0, 0.2),
)
def test_no_text_is_lost_or_changed(pauses: list[tuple[float, str]], interval_s: float) -> None:
    deltas, now, out = Deltas(interval_s), 0.0, ""
    for pause_s, text in pauses:
        now += pause_s
        out += deltas.add(text, now)

    assert out + deltas.rest() == "".join(text for _, text in pauses)
