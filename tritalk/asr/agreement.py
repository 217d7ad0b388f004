"""Which words of a transcript will not change any more: local agreement.

Source: D. Macháček, R. Dabre, O. Bojar, "Turning Whisper into Real-Time Transcription System", 2023
(LocalAgreement-2): the beginning on which two transcripts of the growing audio agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def agreed(
    before: Sequence[int], after: Sequence[int], is_boundary: Callable[[Sequence[int], int], bool]
) -> int:
    """How many tokens are certain.

    Args:
        before: Tokens of the transcript of the audio up to a while ago.
        after: Tokens of the transcript of all the audio.
        is_boundary: Whether the word before the token of this index of a transcript is whole, so
            that the text may be cut there; what it says of 0 is not asked.

    Returns:
        The length of the longest common beginning that ends with a whole word. The last word of a
        transcript may still grow, so it is never certain.
    """
    count = 0
    for left, right in zip(before, after, strict=False):
        if left != right:
            break
        count += 1
    count = min(count, len(after) - 1)
    while count > 0 and not is_boundary(after, count):
        count -= 1
    return max(count, 0)
