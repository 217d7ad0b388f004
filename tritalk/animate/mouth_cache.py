"""Mouths that were drawn before: greetings and other clauses that begin many answers."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from tritalk.animate.turn import Generate, Mouths
from tritalk.audio import Samples

_DIGEST_BYTES = 16


class MouthCache:
    """Draws mouths once for equal mel windows and faces; safe for threads, and itself a `Generate`.

    Triton's own response cache will not do: 24.10 answers a request for some outputs with what it
    keeps of a request for all ("response output count mismatch").

    Args:
        generate: Draws the mouths that are not kept.
        limit_bytes: Most memory of the mouths; those that were not asked for the longest give way.
    """

    def __init__(self, generate: Generate, limit_bytes: int) -> None:
        self._generate = generate
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._bytes = 0
        self._kept: OrderedDict[bytes, Mouths] = OrderedDict()

    def __call__(self, mel: Samples, faces: Mouths) -> Mouths:
        """See `Generate`; all faces of a call are those of one portrait."""
        key = _digest(mel, faces)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
        mouths = self._generate(mel, faces)
        self._keep(key, mouths)
        return mouths

    def _keep(self, key: bytes, mouths: Mouths) -> None:
        if mouths.nbytes > self._limit_bytes:
            return
        # The caller's array may be a view of memory that Triton takes back.
        mouths = mouths.copy()
        mouths.setflags(write=False)
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = mouths
            self._bytes += mouths.nbytes
            while self._bytes > self._limit_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes


def _digest(mel: Samples, faces: Mouths) -> bytes:
    digest = hashlib.blake2b(mel.tobytes(), digest_size=_DIGEST_BYTES)
    digest.update(faces[0].tobytes())
    return digest.digest()
