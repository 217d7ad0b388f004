"""How the portrait looks, sounds and thinks in one conversation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from tritalk.talker.settings import TalkerSettings
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


@dataclass(frozen=True)
class Manner:
    """The settings of a conversation; without an avatar it has not begun."""

    avatar_id: str
    voice: str
    language: str
    system_prompt: str
    examples: tuple[tuple[str, str], ...]
    """Questions and answers that are put before the history."""
    sampling: wire.Sampling
    speed: float

    @classmethod
    def default(cls, settings: TalkerSettings) -> Manner:
        """What holds where the client says nothing."""
        return cls(
            avatar_id="",
            voice=settings.voice,
            language=settings.language,
            system_prompt=settings.system_prompt,
            examples=settings.examples,
            sampling=wire.Sampling(
                max_new_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                repeat_penalty=settings.repeat_penalty,
            ),
            speed=1.0,
        )

    def changed(self, request: wire.Configure) -> Manner:
        """This with what the request sets.

        Raises:
            TritalkError: BAD_REQUEST when there is no avatar yet and the request names none.
        """
        changes = {
            name: value
            for name, value in msgspec.structs.asdict(request).items()
            if value is not None
        }
        if not self.avatar_id and request.avatar_id is None:
            raise TritalkError(
                ErrorCode.BAD_REQUEST, "a conversation begins with an avatar_id in `configure`"
            )
        if request.system_prompt is not None:
            changes["examples"] = ()
        return replace(self, **changes)
