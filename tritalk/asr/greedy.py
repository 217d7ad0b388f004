"""The rules of greedy decoding, as functions of tokens and logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tritalk.asr.model_config import WhisperModel

Logits = npt.NDArray[np.float32]

_LONGEST_CYCLE = 24
_REPEATS = 4
_REPEATED_TOKENS = 12

_TOKENS_PER_SECOND = 12.0
_SPARE_TOKENS = 16


class Rules:
    """Which tokens a transcript may hold: no annotations, no timestamps, not nothing at all.

    The reference implementation's rules with `without_timestamps`: `suppress_tokens="-1"` and
    `suppress_blank`.

    Args:
        model: The model's tokens.
    """

    def __init__(self, model: WhisperModel) -> None:
        self._barred = np.zeros(model.vocabulary, dtype=np.float32)
        self._barred[list(model.barred)] = -np.inf
        self._barred[model.first_timestamp :] = -np.inf
        self._barred_first = self._barred.copy()
        self._barred_first[[model.blank, model.end]] = -np.inf

    def pick(self, logits: Logits, *, first: bool) -> npt.NDArray[np.int64]:
        """The likeliest token of each sequence.

        Args:
            logits: float32 `[batch, vocabulary]`.
            first: Whether these are the first tokens of the transcripts.
        """
        barred = self._barred_first if first else self._barred
        picked: npt.NDArray[np.int64] = (logits + barred).argmax(axis=-1)
        return picked


def most_tokens(audio_s: float, *, limit: int) -> int:
    """How many tokens a clip can hold at the most, several times what anybody can say.

    Args:
        audio_s: Length of the clip in seconds.
        limit: Most tokens of any clip.
    """
    return min(limit, _SPARE_TOKENS + int(audio_s * _TOKENS_PER_SECOND))


def without_loop(tokens: Sequence[int]) -> Sequence[int] | None:
    """The tokens with a loop at their end cut down to one round, None when there is no loop.

    Greedy decoding sometimes repeats itself until it is stopped. People repeat themselves, too,
    so a loop is at least four equal rounds and twelve tokens.
    """
    for cycle in range(1, min(_LONGEST_CYCLE, len(tokens) // _REPEATS) + 1):
        rounds = max(_REPEATS, -(-_REPEATED_TOKENS // cycle))
        looped = cycle * rounds
        if len(tokens) >= looped and all(
            tokens[-index] == tokens[-index - cycle] for index in range(1, looped - cycle + 1)
        ):
            return tokens[: len(tokens) - looped + cycle]
    return None
