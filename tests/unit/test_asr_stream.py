"""One sequence, fed with crafted probabilities; the time is the test's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tritalk.asr.ear import Ear, Sound
from tritalk.asr.job import Job, Urgency
from tritalk.asr.manner import manner
from tritalk.asr.reply import Kept
from tritalk.asr.settings import AsrSettings
from tritalk.asr.stream import Stream
from tritalk.asr.teller import Meters
from tritalk.asr.vad import WINDOW
from tritalk_client.errors import ErrorCode
from tritalk_client.wire import Hearing, RecognitionOptions, Silence, Speaking, Transcript

WINDOW_S = WINDOW / 16_000
END, SENTENCE_END, PAUSE = 12, 8, 4
SPEECH, QUIET = 0.9, 0.05


class Words:
    """A spelling of words by their numbers; the text ends with a full stop after an even one."""

    names = ("", "one", "two.", "three", "four.", "five", "six.", "seven", "eight.")

    def text(self, tokens: Sequence[int]) -> str:
        return " ".join(self.names[token] for token in tokens)

    def is_boundary(self, tokens: Sequence[int], index: int, language: str) -> bool:
        return True


class Meter:
    def __init__(self) -> None:
        self.observed: list[float] = []
        self.shown: list[float] = []

    def observe(self, value: float) -> None:
        self.observed.append(value)

    def increment(self, value: float) -> None: ...

    def set(self, value: float) -> None:
        self.shown.append(value)


class Talk:
    """A sequence whose chunks come at the pace of speech, one window each unless told otherwise."""

    def __init__(self, **options: Any) -> None:
        self.now_s = 100.0
        self.meters = Meters(Meter(), Meter())
        self.replies: list[Kept] = []
        asked = RecognitionOptions(**options)
        self.stream = Stream(
            Ear(None, None, limit_s=None),  # type: ignore[arg-type]
            manner(AsrSettings(sentence_end_silence_ms=250), asked),
            Words(),
            self.meters,
            self.now_s,
        )

    def say(self, *runs: tuple[float, int], chunk: int = 1, fast: bool = False) -> None:
        """Hear runs of (probability, windows), in chunks of so many windows."""
        probabilities = np.concatenate([np.full(count, value) for value, count in runs])
        for begin in range(0, len(probabilities), chunk):
            part = probabilities[begin : begin + chunk].astype(np.float32)
            self.now_s += 0.0 if fast else len(part) * WINDOW_S
            self.chunk(part)

    def chunk(self, probabilities: np.ndarray, *, end: bool = False) -> None:
        samples = np.zeros(len(probabilities) * WINDOW, dtype=np.float32)
        self.replies.append(Kept())
        sound = Sound(len(samples), samples, probabilities)
        self.stream.hear(sound, self.replies[-1], end=end, now_s=self.now_s)

    def end(self) -> None:
        self.chunk(np.zeros(0, dtype=np.float32), end=True)

    def due(self) -> Job:
        job = self.stream.due()
        assert job is not None
        return job

    def recognise(self, *tokens: int, after_s: float = 0.05) -> Job:
        """Do the job that is due: one clip is found to say these words."""
        job = self.due()
        self.now_s += after_s
        self.stream.take(job, [tokens] * len(job.plan.clips), self.now_s)
        return job

    def heard(self, kind: type[Hearing] = Transcript) -> list[Any]:
        return [one for reply in self.replies for one in reply.heard if isinstance(one, kind)]

    def open_replies(self) -> int:
        return sum(not reply.closed for reply in self.replies)


def test_speech_is_told_with_the_chunk_in_which_it_is() -> None:
    talk = Talk(endpointing=True)
    talk.say((QUIET, 20), (SPEECH, 2))
    assert not talk.heard(Speaking)
    talk.say((SPEECH, 2))
    assert talk.heard(Speaking) == [Speaking(0, 3 * WINDOW_S), Speaking(0, 4 * WINDOW_S)]
    talk.say((QUIET, 2))
    assert len(talk.heard(Speaking)) == 2


def test_silence_is_answered_at_once_and_wants_nothing() -> None:
    talk = Talk(endpointing=True)
    talk.say((QUIET, 50))
    assert talk.open_replies() == 0
    assert talk.stream.due() is None
    assert talk.stream.buffered_s == 0


def test_partials_are_due_each_time_that_so_much_more_has_been_said() -> None:
    talk = Talk(endpointing=True)
    talk.say((QUIET, 20), (SPEECH, 12))
    assert talk.stream.due() is None
    talk.say((SPEECH, 1))
    assert talk.recognise(1).urgency is Urgency.PARTIAL
    talk.say((SPEECH, 12))
    assert talk.stream.due() is None
    talk.say((SPEECH, 1))
    talk.recognise(1, 3)
    (first, second) = talk.heard()
    assert (first.text, first.stable, second.text, second.stable) == ("one", "", "one three", "one")
    assert second.audio_s > first.audio_s


def test_the_clip_begins_a_margin_before_the_speech_and_carries_what_is_known() -> None:
    talk = Talk(endpointing=True)
    talk.say((QUIET, 50), (SPEECH, 13))
    (clip,) = talk.recognise(1, 3).plan.clips
    assert len(clip.samples) == 13 * WINDOW + 4_800
    assert (clip.settled, clip.draft) == ((), ())
    talk.say((SPEECH, 13))
    talk.recognise(1, 3, 5)
    talk.say((SPEECH, 13))
    (clip,) = talk.due().plan.clips
    assert (clip.settled, clip.draft) == ((1, 3), (5,))


def test_a_late_transcript_goes_to_the_latest_chunk() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 13))
    job = talk.due()
    talk.say((SPEECH, 5))
    assert talk.open_replies() == 1
    assert talk.stream.due() is None
    talk.stream.take(job, [(1,)], talk.now_s)
    assert [type(one) for one in talk.replies[-1].heard] == [Speaking, Transcript]


def test_a_pause_is_recognised_at_once_and_is_the_final_text_when_nothing_follows() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 10), (QUIET, PAUSE))
    assert talk.recognise(1, 3).urgency is Urgency.PAUSE
    (pause,) = talk.heard()
    assert pause.paused
    assert not pause.final
    assert pause.since_speech_ms == pytest.approx(PAUSE * 32 + 50)
    talk.say((QUIET, END - PAUSE - 1))
    assert len(talk.heard()) == 1
    talk.say((QUIET, 1))
    (_, final) = talk.heard()
    assert final.final
    assert final.text == final.stable == "one three"
    assert final.endpoint_ms == final.since_speech_ms == pytest.approx(END * 32 + 50)
    assert talk.stream.due() is None
    assert talk.open_replies() == 0
    assert talk.meters.final.observed == [final.since_speech_ms]  # type: ignore[attr-defined]


def test_a_complete_sentence_ends_sooner() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 10), (QUIET, PAUSE))
    talk.recognise(1, 2)
    talk.say((QUIET, SENTENCE_END - PAUSE))
    assert talk.heard()[-1].final


def test_a_sentence_found_complete_late_ends_at_once() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 10), (QUIET, PAUSE))
    job = talk.due()
    talk.say((QUIET, SENTENCE_END - PAUSE + 1))
    talk.stream.take(job, [(1, 2)], talk.now_s)
    assert [one.final for one in talk.heard()] == [False, True]


def test_who_asks_for_more_time_gets_it_after_a_sentence_too() -> None:
    talk = Talk(endpointing=True, end_silence_ms=1_600)
    talk.say((SPEECH, 10), (QUIET, PAUSE))
    talk.recognise(1, 2)
    talk.say((QUIET, 25))
    assert not talk.heard()[-1].final
    talk.say((QUIET, 6))
    assert talk.heard()[-1].final


def test_speech_that_goes_on_after_a_pause_takes_the_pause_back() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 10), (QUIET, PAUSE))
    job = talk.due()
    talk.say((SPEECH, 3))
    talk.stream.take(job, [(1,)], talk.now_s)
    (partial,) = talk.heard()
    assert not partial.paused
    assert partial.since_speech_ms is None
    talk.say((SPEECH, 10), (QUIET, PAUSE))
    talk.recognise(1, 3)
    talk.say((QUIET, END))
    assert [one.final for one in talk.heard()] == [False, False, True]


def test_an_end_before_the_pause_was_recognised_is_recognised_then() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 13))
    partial = talk.due()
    talk.say((QUIET, END))
    assert talk.stream.due() is None
    talk.stream.take(partial, [(1,)], talk.now_s)
    assert not talk.heard()
    assert talk.recognise(1, 3).urgency is Urgency.FINAL
    (final,) = talk.heard()
    assert final.text == "one three"
    assert talk.open_replies() == 0


def test_utterances_are_numbered_and_no_sample_is_in_two_of_them() -> None:
    talk = Talk(endpointing=True)
    spans = []
    for _ in range(3):
        talk.say((SPEECH, 10), (QUIET, PAUSE))
        job = talk.recognise(1)
        spans.append((job.utterance.first, job.plan.covered))
        talk.say((QUIET, END - PAUSE))
    assert [one.utterance for one in talk.heard() if one.final] == [0, 1, 2]
    for (_, end), (begin, _) in zip(spans, spans[1:], strict=False):
        assert begin >= end


def test_an_utterance_without_words_ends_with_an_empty_text() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 5), (QUIET, PAUSE))
    talk.recognise()
    talk.say((QUIET, END))
    (final,) = talk.heard()
    assert (final.text, final.stable, final.final) == ("", "", True)


def test_several_utterances_in_one_chunk_each_get_their_text() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 20), (QUIET, 20), (SPEECH, 20), (QUIET, 20), chunk=80)
    talk.recognise(1)
    talk.recognise(3)
    assert [(one.utterance, one.text) for one in talk.heard()] == [(0, "one"), (1, "three")]
    assert talk.open_replies() == 0


def test_a_recording_pushed_at_once_costs_no_partials() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 300), chunk=10, fast=True)
    assert talk.stream.due() is None
    talk.say((QUIET, END), fast=True)
    assert talk.recognise(1).urgency is Urgency.BACKLOG
    assert talk.heard()[-1].final


def test_a_long_recording_is_recognised_a_piece_at_a_time() -> None:
    talk = Talk()
    talk.chunk(np.full(1_700, SPEECH, dtype=np.float32), end=True)
    lengths = []
    while not talk.stream.gone:
        (clip,) = talk.recognise(1).plan.clips
        lengths.append(len(clip.samples))
    assert sum(lengths) == 1_700 * WINDOW
    assert max(lengths) <= 29 * 16_000
    (final,) = talk.heard()
    assert final.text == " ".join(["one"] * len(lengths))


def test_audio_that_does_not_come_is_silence_after_a_while() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 10))
    last_s = talk.now_s
    assert talk.stream.wake_s == pytest.approx(last_s + 1.5)
    talk.stream.tick(last_s + 1.45)
    assert talk.stream.due() is None
    talk.stream.tick(last_s + 1.51)
    assert talk.recognise(1).urgency is Urgency.FINAL
    assert talk.heard()[-1].final
    assert talk.stream.wake_s == float("inf")


def test_chunks_of_half_a_second_are_not_taken_for_a_stall() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 15), chunk=15)
    talk.stream.tick(talk.now_s + 0.6)
    talk.say((SPEECH, 15), chunk=15)
    assert {one.utterance for one in talk.heard(Speaking)} == {0}


def test_a_stall_counts_with_the_silence_before_it() -> None:
    talk = Talk(endpointing=True, end_silence_ms=3_000)
    talk.say((SPEECH, 10), (QUIET, 10))
    assert talk.stream.wake_s == pytest.approx(talk.now_s + 3.0 - 10 * WINDOW_S, abs=0.02)


def test_silence_is_told_once_for_each_such_silence() -> None:
    talk = Talk(endpointing=True, silence_timeout_s=2.0)
    talk.say((QUIET, 150))
    (told,) = talk.heard(Silence)
    assert told.silent_s == pytest.approx(2.0, abs=0.05)
    talk.say((SPEECH, 10), (QUIET, PAUSE))
    talk.recognise(1)
    talk.say((QUIET, 150))
    assert len(talk.heard(Silence)) == 2


def test_time_without_audio_is_silence_too() -> None:
    talk = Talk(endpointing=True, silence_timeout_s=30.0)
    talk.say((QUIET, 10))
    talk.now_s += 60
    talk.say((QUIET, 1))
    (told,) = talk.heard(Silence)
    assert told.silent_s > 60


def test_the_end_finalises_what_is_being_said() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 10))
    talk.end()
    talk.recognise(1)
    (final,) = talk.heard()
    assert final.final
    assert talk.stream.gone
    assert talk.open_replies() == 0


def test_the_end_of_silence_says_nothing() -> None:
    talk = Talk(endpointing=True)
    talk.say((QUIET, 10))
    talk.end()
    assert talk.stream.gone
    assert talk.replies[-1].closed
    assert not talk.replies[-1].heard
    assert talk.replies[-1].error is None


def test_one_request_gets_one_response() -> None:
    talk = Talk()
    talk.chunk(np.full(30, SPEECH, dtype=np.float32), end=True)
    talk.recognise(1, 2)
    (final,) = talk.replies[0].heard
    assert isinstance(final, Transcript)
    assert final.final
    assert final.endpoint_ms is None
    assert final.audio_s == 30 * WINDOW_S
    assert talk.stream.gone


@pytest.mark.parametrize(("windows", "code"), [(0, ErrorCode.BAD_AUDIO), (30, ErrorCode.NO_SPEECH)])
def test_a_question_without_speech_is_an_error(windows: int, code: ErrorCode) -> None:
    talk = Talk()
    talk.chunk(np.full(windows, QUIET, dtype=np.float32), end=True)
    assert talk.replies[0].error is not None
    assert talk.replies[0].error.code is code
    assert talk.stream.gone


def test_a_question_in_which_no_word_is_found_is_an_error() -> None:
    talk = Talk()
    talk.chunk(np.full(30, SPEECH, dtype=np.float32), end=True)
    talk.recognise()
    assert talk.replies[0].error is not None
    assert talk.replies[0].error.code is ErrorCode.NO_SPEECH


def test_silence_does_not_end_a_question() -> None:
    talk = Talk()
    talk.say((SPEECH, 10), (QUIET, PAUSE))
    talk.recognise(1)
    talk.say((QUIET, 100))
    assert talk.open_replies() == 0
    talk.say((SPEECH, 10))
    talk.end()
    talk.recognise(1, 3)
    (pause, final) = talk.heard()
    assert (pause.utterance, final.utterance, final.text) == (0, 0, "one three")


def test_a_question_that_ends_in_a_recognised_pause_needs_no_more_work() -> None:
    talk = Talk()
    talk.say((SPEECH, 10), (QUIET, PAUSE))
    talk.recognise(1)
    talk.end()
    assert talk.heard()[-1].final
    assert talk.stream.gone


def test_a_long_piece_ends_in_a_real_pause_and_the_next_begins_behind_it() -> None:
    talk = Talk(endpointing=True)
    for count in range(1, 14):
        talk.say((SPEECH, 13))
        talk.recognise(*range(1, 1 + min(count, 3)))
    talk.say((QUIET, 8))
    talk.recognise(1, 2, 3)
    talk.say((SPEECH, 13))
    job = talk.recognise(4)
    (clip,) = job.plan.clips
    assert (clip.settled, clip.draft) == ((), ())
    assert len(clip.samples) < 20 * WINDOW
    transcript = talk.heard()[-1]
    assert (transcript.text, transcript.stable) == ("one two. three four.", "one two. three")


def test_a_piece_is_settled_with_the_next_when_its_pause_came_while_others_were_recognised() -> (
    None
):
    talk = Talk(endpointing=True)
    for _ in range(13):
        talk.say((SPEECH, 13))
        talk.recognise(1, 2, 3)
    talk.say((SPEECH, 13))
    job = talk.due()
    talk.say((QUIET, 8), (SPEECH, 13))
    talk.stream.take(job, [(1, 2, 3)], talk.now_s)
    job = talk.due()
    assert job.plan.settling == 1
    before, after = job.plan.clips
    assert before.settled == (1, 2)
    assert (after.settled, after.draft) == ((), ())
    talk.stream.take(job, [(1, 2, 3, 4), (5,)], talk.now_s)
    transcript = talk.heard()[-1]
    assert (transcript.text, transcript.stable) == (
        "one two. three four. five",
        "one two. three four.",
    )


def test_speech_without_a_pause_is_cut_behind_its_stable_words() -> None:
    talk = Talk(endpointing=True)
    settled = 0
    for second in range(40):
        talk.say((SPEECH, 20), (0.6, 1), (SPEECH, 10))
        job = talk.due()
        if job.plan.settling:
            settled += 1
            assert job.plan.begin >= job.utterance.certain
            assert sum(len(clip.samples) for clip in job.plan.clips) < 14.5 * 16_000
        talk.stream.take(job, [(1, 2 + second % 7)] * len(job.plan.clips), talk.now_s)
    assert settled >= 2
    assert talk.stream.buffered_s < 15


def test_nothing_of_an_hour_of_silence_is_kept() -> None:
    talk = Talk(endpointing=True)
    for _ in range(60):
        talk.say((QUIET, 1_875), chunk=1_875, fast=True)
    audio, probabilities = talk.stream._audio, talk.stream._probabilities
    assert audio.end == 60 * 1_875 * WINDOW
    assert audio.end - audio.begin < 20_000
    assert probabilities.end - probabilities.begin <= 4_096 + 20


def test_nobody_is_left_waiting_when_the_sequence_fails() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 13))
    job = talk.due()
    talk.stream.drop()
    assert talk.open_replies() == 0
    talk.stream.take(job, [(1,)], talk.now_s)
    assert not talk.heard()


def test_a_client_that_has_gone_costs_no_recognition() -> None:
    talk = Talk(endpointing=True)
    talk.say((SPEECH, 13))
    talk.replies[-1].cancelled = lambda: True  # type: ignore[method-assign]
    assert talk.stream.due() is None
    assert talk.stream.gone
