"""Encoded silence, and its many positions as few keys and values.

Behind the speech Whisper's attention sees silence up to 30 s. A part of its positions are alike;
some, far apart, draw the attention of every query. So positions are grouped by how alike their keys
and values are, whatever their places (k-means): those that nothing is like stay alone, and the rest
become a few means. A group is one key and one value, and the logarithm of how many positions it
stands for is added to its score, which is exact as far as the keys of the group are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.whisper.checkpoint import Array

NEVER = -1e9
"""Added to a score, it takes all weight from a key; a lower one would overflow in the softmax."""

_ROUNDS = 15
_VALUES_WEIGHT = 0.3
"""Of the values against the keys: a wrong key moves the attention, a wrong value one result."""


@dataclass(frozen=True)
class Silence:
    """What 30 s of silence turn into, float16.

    Attributes:
        keys: Of the encoder's layers, each `[1, audio_context, state]`.
        values: Likewise.
        cross_keys: Of the decoder's layers, each `[1, heads, audio_context, state / heads]`.
        cross_values: Likewise.
    """

    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    cross_keys: tuple[Array, ...]
    cross_values: tuple[Array, ...]


@dataclass(frozen=True)
class Groups:
    """The positions of silence of one layer as groups.

    Attributes:
        keys: The mean of each group, as `Silence` has them but for the number of positions.
        values: Likewise.
        counts: int16 `[audio_context + 1, groups]`: row `n` is how many positions each group stands
            for when the first `n` of all are speech.
    """

    keys: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int16]


def grouped(keys: Array, values: Array, count: int) -> Groups:
    """Group the positions of one layer.

    Args:
        keys: `[..., positions, size]`, as in `Silence`.
        values: Likewise.
        count: Most groups.
    """
    positions = keys.shape[-2]
    parts = [_by_position(keys), _VALUES_WEIGHT * _by_position(values)]
    members = _alike(np.concatenate(parts, axis=1), min(count, positions))
    means = members / members.sum(axis=1, keepdims=True)
    counts = np.zeros((positions + 1, len(members)), dtype=np.int16)
    counts[:-1] = members[:, ::-1].cumsum(axis=1)[:, ::-1].T
    return Groups(means @ keys.astype(np.float32), means @ values.astype(np.float32), counts)


def _by_position(array: Array) -> npt.NDArray[np.float32]:
    """All numbers of each position in a row, on a scale on which they spread by one."""
    rows = np.moveaxis(array.astype(np.float32), -2, 0).reshape(array.shape[-2], -1)
    rows -= rows.mean(axis=0)
    return np.asarray(rows / rows.std(), dtype=np.float32)


def _alike(rows: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """Group rows; float32 `[groups, rows]`, one where a row is of a group.

    K-means from rows that lie as far apart as can be: what nothing is like gets its own group.
    """
    chosen = [0]
    distances = _distances(rows, rows[:1])[:, 0]
    while len(chosen) < count:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, _distances(rows, rows[chosen[-1:]])[:, 0])
    centres = rows[chosen]
    members = np.zeros((count, len(rows)), dtype=np.float32)
    for _ in range(_ROUNDS):
        nearest = _distances(rows, centres).argmin(axis=1)
        members = np.equal.outer(np.unique(nearest), nearest).astype(np.float32)
        centres = members @ rows / members.sum(axis=1, keepdims=True)
    return members


def _distances(
    rows: npt.NDArray[np.float32], centres: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    squares = (rows**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    distances: npt.NDArray[np.float32] = squares - 2 * rows @ centres.T
    return distances
