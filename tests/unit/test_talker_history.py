from __future__ import annotations

import threading
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tritalk.talker.history import History
from tritalk_client.wire import MAX_TEXT_CHARS, ChatMessage

PART = "You are kind."
EXAMPLES = (("Hello!", "Hi!"),)


def count_words(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content.split()) for message in messages)


def contents(messages: Sequence[ChatMessage]) -> list[str]:
    return [message.content for message in messages]


def history_of(exchanges: int) -> History:
    history = History()
    for number in range(exchanges):
        history.add(f"question {number}", f"answer {number}")
    return history


def trim(history: History, limit_tokens: int) -> None:
    history.trim(PART, EXAMPLES, limit_tokens=limit_tokens, count=count_words)


# --- prompts -------------------------------------------------------------------------------------


def test_a_prompt_has_the_part_the_examples_what_was_said_and_the_question() -> None:
    history = history_of(1)

    prompt = history.prompt(PART, EXAMPLES, "And now?")

    assert [message.role for message in prompt] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    assert contents(prompt) == [PART, "Hello!", "Hi!", "question 0", "answer 0", "And now?"]
    assert len(history) == 2


def test_a_prompt_without_part_or_question_has_only_what_was_said() -> None:
    assert contents(history_of(1).prompt("", (), "")) == ["question 0", "answer 0"]


def test_a_question_without_an_answer_is_one_with_the_next() -> None:
    history = history_of(1)
    history.add("Tell me", "")
    history.add("a story", "")

    assert contents(history.prompt("", (), "of a dog."))[2:] == ["Tell me a story of a dog."]
    # Asking for the prompt leaves no trace.
    history.add("please.", "Once.")
    assert contents(history.messages)[2:] == ["Tell me a story please.", "Once."]


def test_a_question_without_an_answer_is_dropped_when_both_are_too_long() -> None:
    history = History()
    history.add("x" * MAX_TEXT_CHARS, "")

    history.add("And now?", "Fine.")

    assert contents(history.messages) == ["And now?", "Fine."]


def test_the_longest_question_and_its_predecessor_make_no_message_too_long() -> None:
    history = History()
    history.add("x" * 100, "")

    history.add("y" * (MAX_TEXT_CHARS - 101), "")

    assert [len(message.content) for message in history.messages] == [MAX_TEXT_CHARS]


def test_an_answer_longer_than_a_message_may_be_is_kept_so_far_as_it_may() -> None:
    history = History()

    history.add("Tell me everything.", "y" * (MAX_TEXT_CHARS + 5))

    assert len(history.messages[-1].content) == MAX_TEXT_CHARS


def test_a_script_has_no_question() -> None:
    history = History()

    history.add("", "Good morning.")

    assert [message.role for message in history.messages] == ["assistant"]


# --- trimming ------------------------------------------------------------------------------------


def test_what_fits_is_left_as_it_is() -> None:
    history = history_of(4)

    trim(history, limit_tokens=3 + 2 + 16)

    assert len(history) == 8


def test_the_older_half_goes_when_there_is_too_much() -> None:
    history = history_of(4)

    trim(history, limit_tokens=3 + 2 + 15)

    assert contents(history.messages) == ["question 2", "answer 2", "question 3", "answer 3"]
    assert contents(history.prompt(PART, EXAMPLES, ""))[:3] == [PART, "Hello!", "Hi!"]


def test_what_is_left_begins_with_a_question() -> None:
    history = history_of(3)

    trim(history, limit_tokens=3 + 2 + 11)

    assert contents(history.messages) == ["question 2", "answer 2"]


def test_all_goes_where_nothing_fits() -> None:
    history = history_of(5)

    trim(history, limit_tokens=1)

    assert history.messages == []
    assert contents(history.prompt(PART, EXAMPLES, "Hm?")) == [PART, "Hello!", "Hi!", "Hm?"]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), max_size=30),
    st.integers(0, 200),
)
def test_after_trimming_a_prompt_is_bounded_and_ends_as_before(
    exchanges: list[tuple[int, int]], limit_tokens: int
) -> None:
    history = History()
    for asked, answered in exchanges:
        history.add("why " * asked, "so " * answered)
    before = history.messages

    trim(history, limit_tokens)

    kept = history.messages
    assert not kept or count_words(history.prompt(PART, EXAMPLES, "")) <= limit_tokens
    assert kept == before[len(before) - len(kept) :]
    assert len(kept) == len(before) or not kept or kept[0].role == "user"


def test_an_hour_of_talk_stays_bounded_and_is_read_anew_seldom() -> None:
    history = History()
    beginnings = 0
    first = ""
    for number in range(720):
        history.add(f"question {number}", "answer " * 20)
        trim(history, limit_tokens=1000)
        if history.messages[0].content != first:
            first = history.messages[0].content
            beginnings += 1

    assert count_words(history.messages) <= 1000
    # Half of the history holds some 20 exchanges.
    assert beginnings < 720 / 15


def test_what_is_said_while_tokens_are_counted_is_not_lost() -> None:
    history = history_of(4)

    def count(messages: Sequence[ChatMessage]) -> int:
        speaker = threading.Thread(target=history.add, args=("late question", "late answer"))
        if len(messages) == 8:
            speaker.start()
            speaker.join(20)
            assert not speaker.is_alive()
        return len(messages)

    history.trim("", (), limit_tokens=7, count=count)

    assert contents(history.messages)[-2:] == ["late question", "late answer"]
