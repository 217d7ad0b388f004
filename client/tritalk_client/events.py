"""What a user of the SDK iterates over: the events of `wire.py`, media with its bytes."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from tritalk_client import wire
from tritalk_client.wire import (
    AnswersForgotten,
    Failure,
    Interrupted,
    ReplyText,
    Silence,
    Speaking,
    StageTimes,
    Started,
    Transcript,
    TurnCompleted,
    TurnStarted,
)

__all__ = [
    "AnswersForgotten",
    "Event",
    "Failure",
    "Fragment",
    "Interrupted",
    "Media",
    "Reconnected",
    "ReplyText",
    "Silence",
    "Speaking",
    "StageTimes",
    "Started",
    "Transcript",
    "TurnCompleted",
    "TurnStarted",
]


class Media(wire.Media, kw_only=True):
    """A piece of the answer's video; the pieces of a turn, joined, are a playable MP4."""

    data: bytes
    """Fragmented MP4 (H.264 and AAC)."""

    def __repr__(self) -> str:
        """As of any event, without the bytes."""
        return _brief(self)


class Fragment(wire.Fragment, kw_only=True):
    """A piece of a narration's video; the pieces, joined, are a playable MP4."""

    data: bytes
    """Fragmented MP4 (H.264 and AAC)."""

    def __repr__(self) -> str:
        """As of any message, without the bytes."""
        return _brief(self)


class Reconnected(msgspec.Struct, kw_only=True, tag="reconnected"):
    """The connection was lost, and the conversation goes on with a new one."""

    session_id: str
    resumed: bool
    """Whether the server knew the session: its history and settings; else it began anew."""
    lost: str | None = None
    """The turn that was under way; none of its events follow."""
    sent_again: int = 0
    """Typed questions whose turn had not begun; they were asked again."""
    unanswered: int = 0
    """Spoken questions whose turn had not begun; they must be asked again."""


Event: TypeAlias = (
    Started
    | Reconnected
    | Speaking
    | Silence
    | Transcript
    | TurnStarted
    | ReplyText
    | Media
    | Interrupted
    | TurnCompleted
    | AnswersForgotten
    | Failure
)


def join(event: wire.Event, data: bytes) -> Event:
    """An event of the wire as the user sees it.

    Args:
        event: The `EVENT` tensor's message.
        data: The `MEDIA` tensor; only a media event has something in it.
    """
    if isinstance(event, wire.Media):
        return Media(**msgspec.structs.asdict(event), data=data)
    return event


def join_fragment(fragment: wire.Fragment, data: bytes) -> Fragment:
    """A fragment of a narration with its bytes."""
    return Fragment(**msgspec.structs.asdict(fragment), data=data)


def _brief(piece: Media | Fragment) -> str:
    fields = {**msgspec.structs.asdict(piece), "data": f"<{len(piece.data)} bytes>"}
    values = ", ".join(
        f"{name}={value if name == 'data' else repr(value)}" for name, value in fields.items()
    )
    return f"{type(piece).__name__}({values})"
