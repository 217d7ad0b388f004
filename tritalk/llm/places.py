"""Which place of which llama.cpp instance a chat goes to: where most of it was read already."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from tritalk.llm.engine import Stopped
from tritalk_client.wire import ChatMessage

# What a place is worth less for each answer that its instance is giving, in characters to be read.
_COMPANY_CHARS = 100
# How many of the chats that lost their places are remembered.
_PUSHED_OUT = 64
_TICK_S = 0.02


class State(Enum):
    """What is going on in a place."""

    FREE = auto()
    ANSWERING = auto()
    YIELDING = auto()
    """It is being read ahead or copied, which gives way to an answer and ends in a moment."""


@dataclass(frozen=True)
class Chat:
    """A chat as one text that begins like another's where the chats begin alike."""

    text: str = ""
    firm: int = 0
    """Characters that the chat will begin with when it goes on; what follows them may change."""

    @classmethod
    def of(cls, messages: Sequence[ChatMessage]) -> Chat:
        """The text of these messages; all but the last of them are firm."""
        parts = [f"{message.role}\0{message.content}\0" for message in messages]
        return cls("".join(parts), sum(map(len, parts[:-1])))


@dataclass
class Place:
    """Room for one chat in the cache of one instance."""

    instance: int
    slot: int
    """Its number in the instance."""
    chat: Chat = Chat()
    """What was read there, or is being read."""
    owned: bool = False
    """Whether that may go on; else it is nothing, or a copy that is no loss."""
    state: State = State.FREE
    stopped: Stopped = bool
    """Whether what is going on there has been told to stop."""
    used: int = 0
    """Number of the last use among all uses of all places."""

    @property
    def free_soon(self) -> bool:
        """Whether an answer that comes now had better wait for it."""
        return self.state is State.YIELDING or (self.state is State.ANSWERING and self.stopped())


class Places:
    """The places of all instances; may be used from any thread.

    Args:
        instances: How many instances there are.
        each: Places of each.
    """

    def __init__(self, instances: int, each: int) -> None:
        self._all = [Place(instance, slot) for slot in range(each) for instance in range(instances)]
        self._uses = 0
        # Chats and the instances that keep what they have read, as far as their memory allows.
        self._pushed_out: deque[tuple[int, Chat]] = deque(maxlen=_PUSHED_OUT)
        self._changed = threading.Condition()

    def take(self, chat: Chat, stopped: Stopped, *, state: State = State.ANSWERING) -> Place | None:
        """Take the best place for a chat; waits while there is none.

        An answer waits for a place that yields, or whose answer was cancelled, when that is the
        best. Nothing else waits while a place is free.

        Args:
            chat: What is to be read there.
            stopped: Asked while it waits; once it is true None is returned.
            state: What will be going on there.
        """
        with self._changed:
            while not stopped():
                place = self._best(chat, waits=state is State.ANSWERING)
                if place is not None and place.state is State.FREE:
                    self._uses += 1
                    self._remember(place, chat)
                    place.state, place.used = state, self._uses
                    place.chat, place.owned, place.stopped = chat, True, stopped
                    return place
                self._changed.wait(_TICK_S)
        return None

    def give_back(self, place: Place, chat: Chat, *, owned: bool = True) -> None:
        """A place is free again.

        Args:
            place: One that was taken or borrowed.
            chat: What was read there.
            owned: Whether that may go on.
        """
        self._leave(place, chat, State.FREE, owned=owned)

    def hold(self, place: Place, chat: Chat) -> None:
        """Keep a place for a moment after its use, to copy from it what was read there."""
        self._leave(place, chat, State.YIELDING, owned=True)

    def to_fill(self, instance: int, chat: Chat) -> list[Place]:
        """Where a copy of what was read helps: the empty places, and half of those with others.

        Chats that begin in another way keep the other half.
        """
        with self._changed:
            vacant = [
                place
                for place in self._all
                if place.instance == instance and not place.owned and place.state is State.FREE
            ]
            empty = [place for place in vacant if not place.chat.text]
            others = [
                place
                for place in vacant
                if place.chat.text and 2 * _common(place.chat, chat) < len(chat.text)
            ]
            others.sort(key=lambda place: place.used)
            return empty + others[: -(-len(others) // 2)]

    def borrow(self, place: Place) -> bool:
        """Take a place to copy something into it; false when somebody has come before."""
        with self._changed:
            if place.state is not State.FREE or place.owned:
                return False
            self._uses += 1
            place.state, place.used = State.YIELDING, self._uses
            return True

    def _leave(self, place: Place, chat: Chat, state: State, *, owned: bool) -> None:
        with self._changed:
            place.chat, place.owned, place.state = chat, owned, state
            self._changed.notify_all()

    def _remember(self, place: Place, chat: Chat) -> None:
        """That a chat loses its place to another, and which has one again."""
        for kept in [kept for kept in self._pushed_out if _goes_on(kept[1], chat)]:
            self._pushed_out.remove(kept)
        if place.owned and not _goes_on(place.chat, chat):
            self._pushed_out.append((place.instance, place.chat))

    def _best(self, chat: Chat, *, waits: bool) -> Place | None:
        candidates = [
            place for place in self._all if place.state is State.FREE or (waits and place.free_soon)
        ]
        return min(candidates, key=lambda place: self._cost(place, chat), default=None)

    def _cost(self, place: Place, chat: Chat) -> tuple[bool, float, int, int]:
        """Whether another loses his place, then the characters that have to be read."""
        company = owners = 0
        for other in self._all:
            if other.instance == place.instance and other is not place:
                company += other.state is State.ANSWERING
                owners += other.owned
        common = _common(place.chat, chat)
        pushes_out = place.owned and not _goes_on(place.chat, chat)
        cost = len(chat.text) - common + float(_COMPANY_CHARS * company)
        if pushes_out:
            # He has to read it again, the less likely the longer he is away.
            age = (self._uses - place.used) / len(self._all)
            cost += (len(place.chat.text) - common) / (1 + age)
            # What the instance has kept of this chat takes the place of what is pushed out.
            kept = [
                _common(kept, chat) for number, kept in self._pushed_out if number == place.instance
            ]
            cost -= max(0, max(kept, default=0) - common)
        return pushes_out, cost, owners, place.used


def _goes_on(read: Chat, chat: Chat) -> bool:
    """Whether a chat is what was read, or its continuation."""
    return _common(read, chat) >= read.firm


def _common(one: Chat, other: Chat) -> int:
    """How many characters two chats have in common at their beginning."""
    low, high = 0, min(len(one.text), len(other.text))
    if one.text[:high] == other.text[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if one.text[:middle] == other.text[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
