"""The audio of sequences that have not ended."""

from __future__ import annotations

import numpy as np
import pytest

from tritalk.asr.sequences import Sequence, Sequences
from tritalk.audio import Samples
from tritalk_client.errors import ErrorCode, TritalkError

SECOND = bytes(32_000)


class Ear:
    """Hears speech in every whole second, as a detector's listener would in every window."""

    def hear(self, samples: Samples) -> np.ndarray:
        return np.ones(len(samples) // 16_000, dtype=np.float32)


def sequence(now_s: float = 0.0) -> Sequence:
    return Sequence(Ear(), "en", now_s)  # type: ignore[arg-type]


def test_chunks_are_joined_in_order() -> None:
    one = sequence()
    for value in (1000, -2000):
        one.append(np.full(3, value, dtype="<i2").tobytes(), limit_s=1, now_s=0)
    expected = np.array([1000] * 3 + [-2000] * 3, dtype=np.float32) / 32768
    np.testing.assert_array_equal(one.samples, expected)
    assert one.duration_s == 6 / 16_000


def test_each_chunk_is_heard_as_it_comes() -> None:
    one = sequence()
    one.append(SECOND * 2, limit_s=60, now_s=0)
    one.append(b"", limit_s=60, now_s=0)
    one.append(SECOND, limit_s=60, now_s=0)
    assert len(one.probabilities) == 3


def test_a_sequence_without_audio_is_empty() -> None:
    assert len(sequence().samples) == 0
    assert len(sequence().probabilities) == 0


def test_audio_beyond_the_limit_is_refused_naming_it() -> None:
    one = sequence()
    one.append(SECOND * 2, limit_s=2, now_s=0)
    with pytest.raises(TritalkError, match="longer than 2 s") as refused:
        one.append(bytes(2), limit_s=2, now_s=0)
    assert refused.value.code is ErrorCode.TOO_LARGE


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(TritalkError, match="even number of bytes") as refused:
        sequence().append(bytes(3), limit_s=2, now_s=0)
    assert refused.value.code is ErrorCode.BAD_AUDIO


def test_the_buffer_counts_all_open_sequences() -> None:
    many = Sequences(idle_s=60)
    for key in (1, 2):
        many.begin(key, sequence())
        many.find(key).append(SECOND, limit_s=60, now_s=0)
    assert many.duration_s == 2
    many.end(1)
    assert many.duration_s == 1


def test_a_sequence_that_was_never_begun_is_refused() -> None:
    with pytest.raises(TritalkError, match="sequence 7 is not open") as refused:
        Sequences(idle_s=60).find(7)
    assert refused.value.code is ErrorCode.BAD_REQUEST


def test_an_idle_sequence_is_forgotten_and_a_busy_one_kept() -> None:
    many = Sequences(idle_s=10)
    many.begin(1, sequence(now_s=0))
    many.begin(2, sequence(now_s=0))
    many.find(2).append(SECOND, limit_s=60, now_s=9)
    many.drop_idle(now_s=11)
    assert len(many) == 1
    assert many.find(2).duration_s == 1
