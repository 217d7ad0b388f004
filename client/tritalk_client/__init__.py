"""Python SDK of tritalk, a talking digital human on NVIDIA Triton.

`Talker` is for threads, `AsyncTalker` for asyncio; both offer the same calls.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tritalk_client.aio import AsyncConversation, AsyncNarration, AsyncTalker, AsyncTurn
    from tritalk_client.calls import Speech
    from tritalk_client.conversation import Conversation, Turn
    from tritalk_client.errors import ErrorCode, TritalkError
    from tritalk_client.events import (
        Event,
        Failure,
        Fragment,
        Interrupted,
        Media,
        Reconnected,
        ReplyText,
        Silence,
        Speaking,
        StageTimes,
        Started,
        Transcript,
        TurnCompleted,
        TurnStarted,
    )
    from tritalk_client.health import Health, ModelHealth
    from tritalk_client.narration import Narration
    from tritalk_client.reconnect import Reconnect
    from tritalk_client.recording import Recorder
    from tritalk_client.settings import Avatar, Settings
    from tritalk_client.talker import Talker
    from tritalk_client.timeouts import Timeouts
    from tritalk_client.video import Answer, Arrivals, Video
    from tritalk_client.wire import AvatarInfo, Sampling, Usage

# The server's models import `wire` and `errors` from this package and must not pay, in every one
# of their processes, for gRPC and the audio libraries: names are imported when they are used.
_MODULES = {
    "aio": ("AsyncConversation", "AsyncNarration", "AsyncTalker", "AsyncTurn"),
    "calls": ("Speech",),
    "conversation": ("Conversation", "Turn"),
    "errors": ("ErrorCode", "TritalkError"),
    "events": (
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
    ),
    "health": ("Health", "ModelHealth"),
    "narration": ("Narration",),
    "reconnect": ("Reconnect",),
    "recording": ("Recorder",),
    "settings": ("Avatar", "Settings"),
    "talker": ("Talker",),
    "timeouts": ("Timeouts",),
    "video": ("Answer", "Arrivals", "Video"),
    "wire": ("AvatarInfo", "Sampling", "Usage"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Answer",
    "Arrivals",
    "AsyncConversation",
    "AsyncNarration",
    "AsyncTalker",
    "AsyncTurn",
    "Avatar",
    "AvatarInfo",
    "Conversation",
    "ErrorCode",
    "Event",
    "Failure",
    "Fragment",
    "Health",
    "Interrupted",
    "Media",
    "ModelHealth",
    "Narration",
    "Reconnect",
    "Reconnected",
    "Recorder",
    "ReplyText",
    "Sampling",
    "Settings",
    "Silence",
    "Speaking",
    "Speech",
    "StageTimes",
    "Started",
    "Talker",
    "Timeouts",
    "Transcript",
    "TritalkError",
    "Turn",
    "TurnCompleted",
    "TurnStarted",
    "Usage",
    "Video",
]


def __getattr__(name: str) -> Any:
    """A public name, imported from its module at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
