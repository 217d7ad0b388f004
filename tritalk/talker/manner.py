"""How the portrait looks, sounds and thinks in one conversation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from tritalk.talker.settings import TalkerSettings
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

UNPACED_S = 3600.0
"""A lead that means: as fast as it is made."""


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
    lead_s: float
    interrupt_ms: int
    end_silence_ms: int | None
    silence_timeout_s: float | None
    echo_guard: bool
    answer_cache: bool

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
            lead_s=settings.lead_s,
            interrupt_ms=settings.interrupt_ms,
            end_silence_ms=None,
            silence_timeout_s=None,
            echo_guard=settings.echo_guard,
            answer_cache=settings.answer_cache,
        )

    @property
    def paced(self) -> bool:
        """Whether answers come at the speed of speech, and not as fast as they are made."""
        return self.lead_s < UNPACED_S

    def recognition(self, sample_rate_hz: int, *, hands_free: bool) -> wire.RecognitionOptions:
        """How the user is heard."""
        return wire.RecognitionOptions(
            language=self.language,
            sample_rate_hz=sample_rate_hz,
            endpointing=hands_free,
            end_silence_ms=self.end_silence_ms if hands_free else None,
            silence_timeout_s=self.silence_timeout_s if hands_free else None,
        )

    def animation(self) -> wire.AnimateOptions:
        """How the portrait is drawn."""
        return wire.AnimateOptions(self.avatar_id, self.lead_s if self.paced else None)

    def changed(self, request: wire.Configure) -> Manner:
        """This with what the request sets.

        Raises:
            TritalkError: BAD_REQUEST when there is no avatar yet and the request names none.
        """
        changes = {
            name: value
            for name, value in msgspec.structs.asdict(request).items()
            if value is not None and name != "session_id"
        }
        if not self.avatar_id and request.avatar_id is None:
            raise TritalkError(
                ErrorCode.BAD_REQUEST, "a conversation begins with an avatar_id in `configure`"
            )
        if request.system_prompt is not None:
            changes["examples"] = ()
        return replace(self, **changes)
