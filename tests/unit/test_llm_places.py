from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tritalk.llm.places import Chat, Place, Places, State
from tritalk_client.wire import ChatMessage

WAIT_S = 10.0
SYSTEM = ChatMessage("system", "You are a guide in a museum of clocks. " * 10)


def chat(*texts: str, system: ChatMessage = SYSTEM) -> Chat:
    """A chat that begins with the user and takes turns."""
    roles = ("user", "assistant")
    return Chat.of([system, *(ChatMessage(roles[i % 2], text) for i, text in enumerate(texts))])


def never() -> bool:
    return False


def take(places: Places, wanted: Chat) -> Place:
    place = places.take(wanted, never)
    assert place is not None
    return place


def answer(places: Places, *texts: str, system: ChatMessage = SYSTEM) -> Place:
    """Let a chat be answered; returns the place that it was given."""
    place = take(places, chat(*texts, system=system))
    places.give_back(place, chat(*texts, "Of course, with pleasure.", system=system))
    return place


def test_a_chat_goes_on_where_it_was() -> None:
    places = Places(2, 4)
    first = answer(places, "What is this?")
    answer(places, "How old is that?")

    assert take(places, chat("What is this?", "Of course, wi", "And that?")) is first


def test_what_was_read_ahead_is_answered_there_though_its_end_has_changed() -> None:
    places = Places(2, 4)
    place = take(places, chat("What is the capi"))
    places.give_back(place, chat("What is the capi"))

    assert take(places, chat("What is the cap of that bottle made of?")) is place


def test_new_chats_are_spread_over_the_instances() -> None:
    places = Places(2, 4)

    used = [answer(places, f"{number} is my number. Is it prime?") for number in range(4)]

    assert sorted(place.instance for place in used) == [0, 0, 1, 1]
    assert len({(place.instance, place.slot) for place in used}) == 4


def test_a_new_chat_avoids_the_instance_that_is_busy() -> None:
    places = Places(2, 4)
    busy = take(places, chat("Tell me everything."))

    assert take(places, chat("Hello?")).instance != busy.instance


def test_a_new_chat_takes_no_place_of_another_while_one_is_empty() -> None:
    places = Places(1, 2)
    other = answer(places, "What is this?", "A clock.", "And that? " * 20)

    assert answer(places, "What is this?") is not other


def test_a_copy_of_the_beginning_is_better_than_an_empty_place() -> None:
    places = Places(1, 3)
    donor = answer(places, "What is this?")
    copies = places.to_fill(0, donor.chat)
    assert places.borrow(copies[0])
    places.give_back(copies[0], donor.chat, owned=False)

    assert answer(places, "Who are you?") is copies[0]


def test_without_an_empty_place_the_one_is_taken_that_was_not_used_for_longest() -> None:
    places = Places(1, 3)
    answers = [answer(places, f"{name} is my name.") for name in ("Ada", "Bob", "Cleo")]
    for name in ("Bob", "Cleo", "Bob", "Cleo"):
        answer(places, f"{name} is my name.", "Of course, with pleasure.", "Go on.")

    assert take(places, chat("Dora is my name.")) is answers[0]


def test_who_lost_his_place_comes_back_to_the_instance_that_knows_him() -> None:
    places = Places(2, 1)
    for name in ("Ada", "Bob", "Cleo"):
        answer(places, f"{name} is my name, and I have a very long question.")
    for name in ("Ada", "Bob", "Cleo") * 2:
        # Bob's instance is the one that none of the others was ever on.
        place = answer(places, f"{name} is my name, and I have a very long question.", "Yes?", "So")
        was = {"Ada": 0, "Bob": 1, "Cleo": 0}[name]
        assert place.instance == was


def test_places_of_others_are_not_to_be_filled() -> None:
    places = Places(2, 2)
    owned = answer(places, "What is this?")
    busy = take(places, chat("And what is that?"))

    free = [place for instance in (0, 1) for place in places.to_fill(instance, owned.chat)]

    assert len(free) == 2
    assert owned not in free
    assert busy not in free


def test_copies_of_what_begins_in_another_way_lose_only_half_of_their_places() -> None:
    places = Places(1, 5)
    other = ChatMessage("system", "Vous êtes guide dans un musée. " * 10)
    first = answer(places, "What is this?")
    for place in places.to_fill(0, first.chat):
        assert places.borrow(place)
        places.give_back(place, first.chat, owned=False)

    second = answer(places, "Qu'est-ce que c'est ?", system=other)

    assert places.to_fill(0, first.chat) == []
    assert len(places.to_fill(0, second.chat)) == 2


def test_a_place_that_somebody_has_come_to_is_not_borrowed() -> None:
    places = Places(1, 1)
    (place,) = places.to_fill(0, chat("Hello."))
    take(places, chat("Hello."))

    assert not places.borrow(place)


def test_an_answer_waits_for_its_place_while_that_is_still_being_read() -> None:
    places = Places(1, 2)
    reading = places.take(chat("What is the capi"), never, state=State.YIELDING)
    assert reading is not None

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(take, places, chat("What is the capital?"))
        assert not threading.Event().wait(0.1)
        assert not waiting.done()
        places.give_back(reading, chat("What is the capi"))

        assert waiting.result(WAIT_S) is reading


def test_an_answer_waits_for_its_place_while_a_cancelled_one_leaves_it() -> None:
    places, cancelled = Places(1, 2), threading.Event()
    place = places.take(chat("What is"), cancelled.is_set)
    assert place is not None
    cancelled.set()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(take, places, chat("What is the time?"))
        assert not threading.Event().wait(0.1)
        assert not waiting.done()
        places.give_back(place, chat("What is"))

        assert waiting.result(WAIT_S) is place


def test_reading_ahead_waits_for_no_place_while_another_is_free() -> None:
    places = Places(1, 2)
    first = places.take(chat("What is"), never, state=State.YIELDING)

    second = places.take(chat("What is the"), never, state=State.YIELDING)

    assert first is not None
    assert second not in (None, first)


def test_who_waits_for_a_place_can_be_stopped() -> None:
    places, stop = Places(1, 1), threading.Event()
    take(places, chat("Tell me everything."))

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(places.take, chat("Hello."), stop.is_set)
        stop.set()

        assert waiting.result(WAIT_S) is None


@pytest.mark.parametrize("length", [1, 7, 1000])
def test_chats_are_alike_up_to_their_first_difference(length: int) -> None:
    places, nobody = Places(1, 2), ChatMessage("system", "")
    far, near = places.to_fill(0, chat(system=nobody))
    for place, text in ((far, "x" * (length - 1) + "y"), (near, "x" * length + "y")):
        assert places.borrow(place)
        places.give_back(place, chat(text, system=nobody), owned=False)

    assert take(places, chat("x" * length + "z", system=nobody)) is near
