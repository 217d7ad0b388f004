"""The slow step of taking a chunk in: treat its audio, and look for speech in it."""

from __future__ import annotations

from dataclasses import dataclass

from tritalk.asr.conditioning import Conditioner
from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.asr.vad import Listener, Probabilities
from tritalk.audio import Samples, from_pcm
from tritalk_client.errors import ErrorCode, TritalkError


@dataclass(frozen=True)
class Sound:
    """What has been made of a chunk.

    Attributes:
        length: Samples that have come.
        samples: The treated samples that are whole now.
        probabilities: Of speech, in the windows that are whole now.
    """

    length: int
    samples: Samples
    probabilities: Probabilities

    @property
    def duration_s(self) -> float:
        """Seconds of audio that have come."""
        return self.length / SAMPLE_RATE_HZ


class Ear:
    """Listens to one sequence.

    Args:
        listener: The voice activity detector's view of it.
        conditioner: Treats its audio.
        limit_s: Longest audio, None is any.
    """

    def __init__(
        self, listener: Listener, conditioner: Conditioner, *, limit_s: float | None
    ) -> None:
        self._listener = listener
        self._conditioner = conditioner
        self._limit_s = limit_s
        self._length = 0

    def hear(self, pcm: bytes, *, end: bool) -> Sound:
        """Listen to the next chunk.

        Args:
            pcm: Signed 16-bit little-endian mono PCM at 16 kHz; may be empty.
            end: Whether it is the last.

        Raises:
            TritalkError: BAD_AUDIO when it is no PCM, TOO_LARGE when the audio gets too long.
        """
        length = len(pcm) // 2
        if self._limit_s is not None and self._length + length > self._limit_s * SAMPLE_RATE_HZ:
            raise TritalkError(
                ErrorCode.TOO_LARGE,
                f"the audio is longer than {self._limit_s:g} s; end the sequence earlier, let the "
                "model find the ends of utterances, or send the recording in several sequences",
            )
        samples = self._conditioner.take(from_pcm(pcm), end=end)
        self._length += length
        return Sound(length, samples, self._listener.hear(samples))
