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


def configuration(avatar: Avatar | None, settings: Settings) -> wire.Configure:
    """The message that carries settings."""
    return wire.Configure(avatar_id=None if avatar is None else avatar_id(avatar), **settings)


def avatar_id(avatar: Avatar) -> str:
    """The id of a portrait."""
    return avatar if isinstance(avatar, str) else avatar.avatar_id
