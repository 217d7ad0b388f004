"""Which clips share a run of the encoder."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tritalk.asr.encoder import similar


def test_clips_of_like_length_go_together() -> None:
    assert similar([100, 900, 120, 1000], ratio=1.5) == [[0, 2], [1, 3]]


@given(st.lists(st.integers(1, 10**6), max_size=30))
def test_every_clip_is_in_one_group_and_padding_is_bounded(lengths: list[int]) -> None:
    groups = similar(lengths, ratio=1.5)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert group == sorted(group)
        members = [lengths[index] for index in group]
        assert max(members) <= 1.5 * min(members)
