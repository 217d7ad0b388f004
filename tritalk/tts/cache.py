"""Speech that was spoken before."""

from __future__ import annotations

import threading
from collections import OrderedDict

from tritalk.tts.speech import Speech

Key = tuple[str, str, float]
"""Text, voice and speed: all that a speech depends on."""

_BYTES_PER_PHONEME = 200


class SpeechCache:
    """Keeps the speeches that were asked for last; may be used from any thread.

    Triton's own response cache will not do: up to 24.10 at least it keeps errors as well, and gives
    them to the next who asks as answers without outputs, and it does not tell requests for all
    outputs from requests for some.

    Args:
        limit_bytes: Most memory that the speeches take; 0 keeps none.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._speeches: OrderedDict[Key, Speech] = OrderedDict()

    def get(self, key: Key) -> Speech | None:
        """The speech of this key, where it is still kept."""
        with self._lock:
            speech = self._speeches.get(key)
            if speech is not None:
                self._speeches.move_to_end(key)
            return speech

    def put(self, key: Key, speech: Speech) -> None:
        """Keep a speech; those that were not asked for the longest give way."""
        size = _size(key, speech)
        with self._lock:
            if size > self._limit_bytes or key in self._speeches:
                return
            self._speeches[key] = speech
            self._bytes += size
            while self._bytes > self._limit_bytes:
                self._bytes -= _size(*self._speeches.popitem(last=False))


def _size(key: Key, speech: Speech) -> int:
    return len(speech.pcm) + len(speech.timing) * _BYTES_PER_PHONEME + len(key[0])
