"""The audio of sequences that have not ended yet."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.asr.vad import Listener, Probabilities
from tritalk.audio import Samples, from_pcm
from tritalk_client.errors import ErrorCode, TritalkError


@dataclass
class Sequence:
    """One sequence's audio so far.

    Attributes:
        listener: The voice activity detector's view of it.
        language: Code of the language that is spoken.
        touched_s: When the last chunk came, on the caller's clock.
    """

    listener: Listener
    language: str
    touched_s: float
    _chunks: list[Samples] = field(default_factory=list)
    _probabilities: list[Probabilities] = field(default_factory=list)
    _length: int = 0

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds."""
        return self._length / SAMPLE_RATE_HZ

    @property
    def samples(self) -> Samples:
        """The audio, float32 `[samples]`."""
        self._chunks = [np.concatenate([np.zeros(0, dtype=np.float32), *self._chunks])]
        return self._chunks[0]

    @property
    def probabilities(self) -> Probabilities:
        """The probability of speech in each whole window."""
        empty = np.zeros(0, dtype=np.float32)
        return np.concatenate([empty, *self._probabilities])

    def append(self, pcm: bytes, *, limit_s: float, now_s: float) -> None:
        """Take the next chunk.

        Args:
            pcm: Signed 16-bit little-endian mono PCM at 16 kHz; may be empty.
            limit_s: Longest audio of a sequence.
            now_s: The caller's clock.

        Raises:
            TritalkError: BAD_AUDIO when it is no PCM, TOO_LARGE when the audio gets too long.
        """
        self.touched_s = now_s
        length = self._length + len(pcm) // 2
        if length > limit_s * SAMPLE_RATE_HZ:
            raise TritalkError(
                ErrorCode.TOO_LARGE,
                f"the audio is longer than {limit_s:g} s; end the sequence earlier, or send the "
                "recording in several sequences",
            )
        samples = from_pcm(pcm)
        self._length = length
        self._chunks.append(samples)
        self._probabilities.append(self.listener.hear(samples))


class Sequences:
    """The open sequences by their ids.

    Args:
        idle_s: A sequence that gets nothing for so long is dropped: Triton drops it, too, and does
            not tell.
    """

    def __init__(self, *, idle_s: float) -> None:
        self._idle_s = idle_s
        self._open: dict[int, Sequence] = {}

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def duration_s(self) -> float:
        """Seconds of audio held for all of them."""
        return sum(sequence.duration_s for sequence in self._open.values())

    def begin(self, key: int, sequence: Sequence) -> None:
        """Open a sequence; an open one of this id is forgotten."""
        self._open[key] = sequence

    def find(self, key: int) -> Sequence:
        """An open sequence.

        Raises:
            TritalkError: BAD_REQUEST when there is none of this id.
        """
        try:
            return self._open[key]
        except KeyError:
            raise TritalkError(
                ErrorCode.BAD_REQUEST,
                f"sequence {key} is not open: it failed or was idle for too long; start a new one",
            ) from None

    def end(self, key: int) -> None:
        """Forget a sequence; one that is not open is forgotten already."""
        self._open.pop(key, None)

    def drop_idle(self, now_s: float) -> None:
        """Forget the sequences that have been idle for too long."""
        for key, sequence in list(self._open.items()):
            if now_s - sequence.touched_s > self._idle_s:
                del self._open[key]
