from __future__ import annotations

import pytest

from tritalk.talker.floor import Floor
from tritalk_client.wire import Speaking, Transcript

SPOKEN = "The dog is called Rex."


def speaking(
    floor: Floor,
    speech_s: float,
    *,
    utterance: int = 0,
    answering: bool = True,
    interrupt_ms: int = 300,
    echo_guard: bool = False,
) -> bool:
    return floor.speaking(
        Speaking(utterance, speech_s),
        answering=answering,
        interrupt_ms=interrupt_ms,
        echo_guard=echo_guard,
    )


def transcript(text: str, *, utterance: int = 0, stable: str = "") -> Transcript:
    return Transcript(text, False, 1.0, "en", utterance, stable)


def words(
    floor: Floor,
    text: str,
    *,
    stable: str = "",
    spoken: str = SPOKEN,
    answering: bool = True,
    echo_guard: bool = True,
) -> bool:
    heard = transcript(text, stable=stable)
    return floor.words(heard, spoken, answering=answering, echo_guard=echo_guard)


# --- sounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speech_s", "interrupt_ms", "interrupts"),
    [(0.29, 300, False), (0.3, 300, True), (2.0, 300, True), (0.0, 0, True), (0.9, 1000, False)],
)
def test_so_much_speech_interrupts_an_answer(
    speech_s: float, interrupt_ms: int, interrupts: bool
) -> None:
    assert speaking(Floor(), speech_s, interrupt_ms=interrupt_ms) is interrupts


def test_speech_interrupts_nothing_where_nothing_is_answered() -> None:
    floor = Floor()

    assert not speaking(floor, 2.0, answering=False)
    assert floor.verdict(transcript("Hello!"), "", echo_guard=False) == ("question", "Hello!")


def test_a_sound_that_does_not_interrupt_is_a_back_channel() -> None:
    floor = Floor()
    speaking(floor, 0.2)

    assert floor.verdict(transcript("Uh-huh."), "", echo_guard=False) == (
        "back_channel",
        "Uh-huh.",
    )


def test_what_interrupts_is_a_question() -> None:
    floor = Floor()
    speaking(floor, 0.2)
    speaking(floor, 0.4)

    assert floor.verdict(transcript("Stop."), "", echo_guard=False) == ("question", "Stop.")


def test_speech_that_outlasts_the_answer_it_began_in_is_a_question() -> None:
    floor = Floor()
    speaking(floor, 0.2, answering=True)

    assert not speaking(floor, 0.5, answering=False)

    assert floor.verdict(transcript("And you?"), "", echo_guard=False)[0] == "question"


def test_a_sound_that_outlasts_the_answer_by_a_moment_stays_a_back_channel() -> None:
    floor = Floor()
    speaking(floor, 0.2, answering=True)
    speaking(floor, 0.29, answering=False)

    assert floor.verdict(transcript("Yes."), "", echo_guard=False)[0] == "back_channel"


def test_each_utterance_is_judged_by_itself() -> None:
    floor = Floor()
    speaking(floor, 0.2, utterance=0)
    assert floor.is_new(1)

    speaking(floor, 0.2, utterance=1, answering=False)

    assert not floor.is_new(1)
    heard = transcript("Hello!", utterance=1)
    assert floor.verdict(heard, "", echo_guard=False)[0] == "question"


@pytest.mark.parametrize("text", ["", "  ", "...", "?!", "♪"])
def test_what_has_no_words_is_nothing(text: str) -> None:
    floor = Floor()
    speaking(floor, 1.0)

    assert floor.verdict(transcript(text), "", echo_guard=False) == ("nothing", "")


# --- words, where the microphone hears the portrait ----------------------------------------------


def test_a_sound_by_itself_does_not_interrupt_where_it_may_be_the_portraits() -> None:
    assert not speaking(Floor(), 2.0, echo_guard=True)


@pytest.mark.parametrize(
    ("text", "stable", "interrupts"),
    [
        ("the dog is", "the dog is", False),
        ("the dog is who", "the dog is", False),
        ("the dog is who is", "the dog is", False),
        ("the dog who is that", "the dog", True),
        ("the dog is who", "the dog is who", True),
        ("wait", "", False),
        ("wait a", "", True),
    ],
)
def test_foreign_words_interrupt_when_there_are_two_or_one_is_certain(
    text: str, stable: str, interrupts: bool
) -> None:
    assert words(Floor(), text, stable=stable) is interrupts


def test_a_slip_at_the_end_of_an_echo_does_not_interrupt_and_what_is_heard_again_does() -> None:
    floor = Floor()
    assert not words(floor, "the dog is called New York")
    assert not words(floor, "the dog is called Rex")

    assert not words(floor, "the dog is called Rex who is")
    assert words(floor, "the dog is called Rex who is that")


def test_a_slip_in_the_last_words_of_an_echo_is_no_question() -> None:
    floor = Floor()
    words(floor, "the dog is")

    heard = transcript("The dog is called New York.")

    assert floor.verdict(heard, SPOKEN, echo_guard=True) == ("echo", "")


def test_words_interrupt_nothing_without_the_guard_or_an_answer() -> None:
    assert not words(Floor(), "wait a moment", echo_guard=False)
    assert not words(Floor(), "wait a moment", answering=False)


def test_an_echo_is_one() -> None:
    floor = Floor()
    speaking(floor, 0.5, echo_guard=True)
    words(floor, "dog is called Rex")

    assert floor.verdict(transcript("Dog is called Rex."), "", echo_guard=True) == ("echo", "")


def test_an_echo_is_one_when_the_answer_has_ended_before_it_was_understood() -> None:
    floor = Floor()
    words(floor, "dog is called")

    assert floor.verdict(transcript("Dog is called Rex."), "", echo_guard=True)[0] == "echo"


def test_an_echo_too_short_for_a_partial_transcript_is_one() -> None:
    floor = Floor()
    speaking(floor, 0.2, answering=False, echo_guard=True)

    assert floor.verdict(transcript("Rex."), SPOKEN, echo_guard=True) == ("echo", "")


def test_the_users_words_behind_an_echo_are_his_question() -> None:
    floor = Floor()
    words(floor, "is called rex why that")
    words(floor, "is called rex why that")

    verdict = floor.verdict(transcript("Is called Rex. Why that?"), SPOKEN, echo_guard=True)

    assert verdict == ("question", "Why that?")


def test_words_that_began_in_an_answer_are_a_question_when_they_go_on_behind_it() -> None:
    floor = Floor()
    words(floor, "why", answering=True)

    assert not words(floor, "why that", spoken="", answering=False)

    assert floor.verdict(transcript("Why that?"), "", echo_guard=True) == (
        "question",
        "Why that?",
    )


def test_two_words_that_only_the_end_has_shown_are_a_question_and_one_is_not() -> None:
    for text, expected in [("Stop please.", "question"), ("Okay.", "back_channel")]:
        floor = Floor()
        speaking(floor, 0.4, echo_guard=True)

        assert floor.verdict(transcript(text), SPOKEN, echo_guard=True)[0] == expected
