"""Finished answers, kept for when the same is asked again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from tritalk import metrics
from tritalk.store import Records, Store
from tritalk.talker.manner import Manner
from tritalk.talker.same_question import normalised
from tritalk_client import wire

KIND = "answer"
"""What the keys of answers begin with."""

_VERSION = 1
"""Raise it when a stored answer is laid out differently, or answers would become others."""

_HASH_BYTES = 16


class StoredPiece(msgspec.Struct, frozen=True):
    """One media fragment of a stored answer."""

    fragment: wire.Fragment
    media: bytes
    clause: str
    """The clause that begins in it, empty when it goes on with the one before."""


class StoredAnswer(msgspec.Struct, frozen=True):
    """An answer that was given to its end."""

    reply: str
    pieces: tuple[StoredPiece, ...]
    """In the order of their fragments; their media, concatenated, is a playable file."""


class AnswerCache:
    """Keeps finished answers with their media; may be used from any thread.

    Args:
        store: Where they are kept; its keys of the kind `answer` are this cache's.
        ttl_s: Seconds that an answer is kept.
        max_answer_bytes: Largest answer that is kept, its media included.
        registry: Where hits and misses are counted.
    """

    def __init__(
        self, store: Store, *, ttl_s: float, max_answer_bytes: int, registry: metrics.Registry
    ) -> None:
        self._records = Records(
            store, StoredAnswer, version=_VERSION, ttl_s=ttl_s, max_bytes=max_answer_bytes
        )
        self._hits = registry(metrics.ANSWER_CACHE_HITS)
        self._misses = registry(metrics.ANSWER_CACHE_MISSES)

    @staticmethod
    def key(question: str, manner: Manner, history: Sequence[wire.ChatMessage] = ()) -> str:
        """The key of an answer.

        Args:
            question: What was asked; how it is written does not count, see `normalised`.
            manner: How the portrait looks, sounds and thinks; what does not change an answer does
                not count.
            history: What was said before, as far as the answer may refer to it. Without it an
                answer could tell one user what another has said.
        """
        return f"{_prefix(question)}{_digest(*_influences(manner), list(history))}"

    def find(self, key: str) -> StoredAnswer | None:
        """The answer of a key, None where there is none; counted as a hit or a miss."""
        answer = self._records.find(key)
        (self._misses if answer is None else self._hits).increment(1)
        return answer

    def put(self, key: str, answer: StoredAnswer) -> bool:
        """Keep an answer; whether it is kept. One that is too large is not, with a log line."""
        return self._records.put(key, answer)

    def forget(self, question: str | None = None) -> int:
        """Remove all answers, or those to one question; how many there were."""
        return self._records.delete_prefix(f"{KIND}:" if question is None else _prefix(question))


def _prefix(question: str) -> str:
    """What the keys of all answers to a question begin with, whoever gives them."""
    return f"{KIND}:{_digest(normalised(question))}:"


def _influences(manner: Manner) -> Sequence[object]:
    """All of a manner that an answer, or its media, depends on."""
    return (
        manner.avatar_id,
        manner.voice,
        manner.language,
        manner.speed,
        manner.system_prompt,
        manner.examples,
        manner.sampling,
    )


def _digest(*values: object) -> str:
    # JSON says where each value ends, so that no two lists of values run together alike.
    data = msgspec.json.encode(values)
    return hashlib.blake2b(data, digest_size=_HASH_BYTES).hexdigest()
