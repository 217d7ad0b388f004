"""The text of one utterance while it grows."""

from __future__ import annotations

from collections.abc import Sequence

from tritalk.asr.utterance import Utterance


class Letters:
    """A spelling in which every token is a word of one letter."""

    def text(self, tokens: Sequence[int]) -> str:
        return " ".join(map(chr, tokens))

    def is_boundary(self, tokens: Sequence[int], index: int, language: str) -> bool:
        return True


def tokens(text: str) -> tuple[int, ...]:
    return tuple(map(ord, text))


def utterance() -> Utterance:
    return Utterance(3, 1_000, "en", Letters())


def test_what_two_transcripts_agree_on_is_stable() -> None:
    one = utterance()
    one.hear(tokens("abc"), 2_000)
    assert (one.text, one.stable) == ("a b c", "")
    one.hear(tokens("abxy"), 3_000)
    assert (one.text, one.stable) == ("a b x y", "a b")
    assert (one.settled, one.draft) == (tokens("ab"), tokens("xy"))


def test_stable_words_lie_before_what_the_older_transcript_covers() -> None:
    one = utterance()
    assert one.certain == 1_000
    one.hear(tokens("abc"), 2_000)
    one.hear(tokens("abcd"), 3_000)
    assert one.certain == 2_000
    one.hear(tokens("abcx"), 4_000)
    assert one.certain == 2_000


def test_no_word_becomes_stable_while_a_cut_is_wanted() -> None:
    one = utterance()
    one.hear(tokens("abc"), 2_000)
    one.hear(tokens("abcd"), 3_000, frozen=True)
    assert one.stable == ""
    one.hear(tokens("abcde"), 4_000)
    assert one.stable == "a b c d"


def test_a_settled_piece_stays_and_the_next_one_follows() -> None:
    one = utterance()
    one.hear(tokens("ab"), 2_000)
    one.settle([tokens("abc")], 2_500)
    assert (one.text, one.stable, one.begin) == ("a b c", "a b c", 2_500)
    assert (one.settled, one.draft) == ((), ())
    one.hear(tokens("xy"), 4_000)
    assert (one.text, one.stable) == ("a b c x y", "a b c")


def test_a_recognised_pause_ends_the_piece_when_speech_goes_on() -> None:
    one = utterance()
    one.hear(tokens("ab"), 2_000)
    one.paused_at = 40
    one.pause_was(40, 2_400)
    assert (one.begin, one.split, one.stable) == (2_400, None, "a b")


def test_a_pause_that_is_not_recognised_yet_is_kept_for_a_split() -> None:
    one = utterance()
    one.hear(tokens("ab"), 2_000)
    one.pause_was(40, 2_400)
    assert (one.begin, one.split, one.stable) == (1_000, 2_400, "")
    one.paused_at = 40
    one.settle_recognised_pause()
    assert (one.begin, one.split, one.stable) == (2_400, None, "a b")
