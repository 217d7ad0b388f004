"""The user's speech on its way to recognition."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from tritalk.talker.clock import Now
from tritalk.talker.floor import Floor
from tritalk.talker.manner import Manner
from tritalk.talker.reply import SharedReply
from tritalk.talker.stages import Ear, Stages
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_COALESCED_BYTES = int(0.06 * wire.INPUT_SAMPLE_RATE_HZ) * 2
"""Least audio that a call is made for, while more comes; a call costs about a millisecond."""

MAX_WAITING_BYTES = int(wire.MAX_AUDIO_S * wire.INPUT_SAMPLE_RATE_HZ) * 2
"""Most audio of a conversation that waits to be recognised."""

_IDLE_S = 50.0
"""A microphone that was silent for so long begins anew, before recognition forgets it."""

_RETRY_S = 1.0
"""Audio that is passed over after a failure of recognition."""


@dataclass(eq=False)
class Microphone:
    """One sequence of recognition: an open microphone, or one question with an end of its own."""

    hands_free: bool
    options: wire.RecognitionOptions
    turn_id: str
    floor: Floor = field(default_factory=Floor)
    ear: Ear | None = None
    pending: bytes = b""
    heard_s: float = 0.0
    """When the latest audio came."""
    ended: bool = False
    failed: bool = False
    reply: SharedReply | None = None
    """Where what is still heard goes when it has ended."""

    @property
    def waiting_bytes(self) -> int:
        """Audio that recognition has not taken yet."""
        return len(self.pending) + (self.ear.waiting_bytes if self.ear is not None else 0)


Heard = Callable[[Microphone, "wire.Hearing | TritalkError | None"], None]
"""Takes what is heard through a microphone, in any thread; None when nothing more comes."""


class Ears:
    """Sends chunks to recognition, a few at a time; not safe for threads.

    Args:
        stages: The other models.
        heard: Takes what comes of it.
        now: A monotonic clock in seconds.
    """

    def __init__(self, stages: Stages, heard: Heard, now: Now) -> None:
        self._stages = stages
        self._heard = heard
        self._now = now
        self._open: Microphone | None = None
        self._deaf_until_s = 0.0
        self._at_work: list[Microphone] = []

    def hear(self, request: wire.Audio, pcm: bytes, manner: Manner) -> Microphone:
        """Take a chunk; returns the microphone it came through.

        Raises:
            TritalkError: BAD_AUDIO when it is no audio, BUSY when more audio waits to be recognised
                than a question may have. The chunk is not taken then.
        """
        self._check_audio(request, pcm)
        self._check_room(pcm)
        options = manner.recognition(request.sample_rate_hz, hands_free=request.hands_free)
        microphone = self._microphone(request, options)
        microphone.heard_s = self._now()
        microphone.pending += pcm
        if request.end_of_speech:
            microphone.ended = True
            self._open = None
        deaf = microphone.hands_free and self._now() < self._deaf_until_s
        if microphone.failed or deaf:
            microphone.pending = b""
        elif microphone.ended or len(microphone.pending) >= _COALESCED_BYTES:
            self._send(microphone)
        return microphone

    def close(self) -> None:
        """Hear nothing any more."""
        microphone, self._open = self._open, None
        if microphone is not None and microphone.ear is not None:
            microphone.ear.close()

    def lose(self, microphone: Microphone) -> None:
        """Recognition has failed; a hands-free user is heard anew with his next chunk."""
        microphone.failed = True
        if self._open is microphone and microphone.hands_free:
            self._open = None
            self._deaf_until_s = self._now() + _RETRY_S

    def _microphone(self, request: wire.Audio, options: wire.RecognitionOptions) -> Microphone:
        microphone = self._open
        # A question keeps the settings that it began with; an open microphone takes new ones.
        stale = microphone is not None and (
            microphone.hands_free != request.hands_free
            or (microphone.hands_free and microphone.options != options)
            or (microphone.hands_free and self._now() - microphone.heard_s > _IDLE_S)
        )
        if microphone is None or stale:
            self.close()
            microphone = Microphone(request.hands_free, options, new_turn_id())
            self._open = microphone
        return microphone

    def _check_audio(self, request: wire.Audio, pcm: bytes) -> None:
        problem = ""
        if request.sample_rate_hz != wire.INPUT_SAMPLE_RATE_HZ:
            problem = (
                f"the audio has {request.sample_rate_hz} Hz; "
                f"resample it to {wire.INPUT_SAMPLE_RATE_HZ}"
            )
        elif len(pcm) % 2:
            problem = f"PCM of 16 bits has an even number of bytes, got {len(pcm)}"
        elif request.end_of_speech and not pcm and self._open is None:
            problem = "there is no audio in the question"
        if problem:
            raise TritalkError(ErrorCode.BAD_AUDIO, problem)

    def _check_room(self, pcm: bytes) -> None:
        self._at_work = [microphone for microphone in self._at_work if microphone.waiting_bytes]
        waiting = sum(microphone.waiting_bytes for microphone in self._at_work)
        if pcm and waiting + len(pcm) > MAX_WAITING_BYTES:
            raise TritalkError(
                ErrorCode.BUSY,
                f"more than {wire.MAX_AUDIO_S:g} s of audio wait to be recognised, "
                "send it at the speed of speech",
            )

    def _send(self, microphone: Microphone) -> None:
        if microphone.ear is None:
            microphone.ear = self._stages.listen(
                secrets.randbits(62) | 1,
                microphone.options,
                lambda hearing: self._heard(microphone, hearing),
            )
        if microphone not in self._at_work:
            self._at_work.append(microphone)
        pcm, microphone.pending = microphone.pending, b""
        microphone.ear.send(pcm, end=microphone.ended)


def new_turn_id() -> str:
    """A name that no other turn has."""
    return secrets.token_hex(6)
