"""Settings of a conversation."""

from __future__ import annotations

from typing import TypeAlias, TypedDict

from tritalk_client import wire

Avatar: TypeAlias = wire.AvatarInfo | str
"""A registered portrait, or its id."""


class Settings(TypedDict, total=False):
    """What can be set for a conversation; the server decides on what is left out."""

    voice: str
    """The voice's name."""
    language: str
    """The language that is spoken, as its ISO 639 code."""
    system_prompt: str
    """What the language model is told about its part, at most 8,000 characters."""
    sampling: wire.Sampling
    """How the language model picks its words."""
    speed: float
    """Speed of speech, 0.5 to 2."""
    lead_s: float
    """Most seconds of an answer that the server sends ahead of playing it, at least 0.2."""
    interrupt_ms: int
    """Milliseconds of speech that interrupt an answer; shorter sounds do not."""
    end_silence_ms: int
    """Silence that ends the question of a hands-free user, 100 to 5,000 ms."""
    silence_timeout_s: float
    """Silence of a hands-free user after which `Silence` comes; 0 is never."""
    echo_guard: bool
    """Whether words that the portrait is just speaking are taken for its echo in the microphone."""
    answer_cache: bool
    """Whether answers to frequent questions may come from the cache, and go there."""


UNPACED_LEAD_S = 3_600.0
"""The largest lead: an answer that nobody watches as it comes need not wait for its viewer."""


def configuration(
    avatar: Avatar | None, settings: Settings, *, session_id: str | None = None
) -> wire.Configure:
    """The message that carries settings.

    Raises:
        TritalkError: BAD_REQUEST, naming the setting that is out of its bounds.
    """
    message = wire.Configure(
        avatar_id=None if avatar is None else avatar_id(avatar), session_id=session_id, **settings
    )
    # What the server would refuse is refused before anything is sent.
    wire.decode_request(wire.encode(message))
    return message


def avatar_id(avatar: Avatar) -> str:
    """The id of a portrait."""
    return avatar if isinstance(avatar, str) else avatar.avatar_id
