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


Event: TypeAlias = (
    Started
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
