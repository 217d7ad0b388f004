from __future__ import annotations

from tritalk.store.journal import Change, Journal


def told(journal: Journal) -> list[tuple[str, str]]:
    """All changes in the order in which they are told."""
    order = []
    while (change := journal.first()) is not None:
        order.append((change.kind, change.key))
        journal.told(change)
    return order


def test_the_last_change_of_a_key_counts() -> None:
    journal = Journal()
    for change in (Change("put", "a"), Change("put", "b"), Change("delete", "a")):
        journal.note(change)

    assert told(journal) == [("put", "b"), ("delete", "a")]


def test_removing_a_prefix_makes_the_changes_under_it_void_but_not_later_ones() -> None:
    journal = Journal()
    journal.note(Change("put", "a:1"))
    journal.note(Change("delete_prefix", "a:x"))
    journal.note(Change("put", "b"))
    journal.note(Change("delete_prefix", "a:"))
    journal.note(Change("put", "a:2"))

    assert told(journal) == [("delete_prefix", "a:"), ("put", "b"), ("put", "a:2")]


def test_a_change_that_was_overtaken_while_it_was_told_is_not_forgotten() -> None:
    journal = Journal()
    journal.note(Change("put", "a"))
    change = journal.first()
    assert change is not None
    journal.note(Change("put", "a"))

    journal.told(change)

    assert len(journal) == 1


def test_it_is_bounded() -> None:
    journal = Journal(limit=3)
    for n in range(10):
        journal.note(Change("put", f"k{n}"))

    assert [key for _, key in told(journal)] == ["k7", "k8", "k9"]
