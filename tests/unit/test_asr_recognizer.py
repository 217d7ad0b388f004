"""The recognizer in-process, with the installed model and without Triton."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from export import assets
from tests.fakes import FakeFamily, metric_values
from tritalk import environment, metrics, slo
from tritalk.asr.ear import Ear, Sound
from tritalk.asr.recognizer import Recognizer
from tritalk.asr.reply import Kept
from tritalk.asr.settings import AsrSettings
from tritalk.audio import Samples, to_pcm
from tritalk.model_files import ModelError
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import RecognitionOptions, Transcript

FOLDER = environment.repository_root() / "model_repository" / "asr" / "1"
HANDS_FREE = RecognitionOptions(endpointing=True)
CHUNK = 1_600
SAID = "Note closely the size of the gas tank."


class Family(FakeFamily):
    series = {}  # noqa: RUF012 - the fake's own way to be read back


def speech() -> Samples:
    samples, rate = soundfile.read(
        assets.path("harvard-phrases") / "F2_harvard_phrases.wav", dtype="float32"
    )
    return np.asarray(soxr.resample(samples, rate, 16_000)[: int(2.78 * 16_000)])


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    registry = metrics.Registry(Family, slo.default())
    with Recognizer(FOLDER, AsrSettings(), registry) as recognizer:
        recognizer.warm_up()
        yield recognizer


def test_a_recording_is_recognised_in_the_callers_thread(recognizer: Recognizer) -> None:
    found = recognizer.transcribe(to_pcm(speech()))
    assert found.text == SAID
    with pytest.raises(TritalkError) as refused:
        recognizer.transcribe(bytes(32_000))
    assert refused.value.code is ErrorCode.NO_SPEECH


def test_a_chunk_is_answered_before_it_is_recognised_and_the_text_follows(
    recognizer: Recognizer,
) -> None:
    reply = Kept()
    began_s = time.monotonic()
    recognizer.hear(1, to_pcm(speech()), None, reply, start=True, end=True)
    assert time.monotonic() - began_s < 0.1
    wait_closed(reply)
    assert reply.transcript().text == SAID
    assert metric_values(Family, "asr_end_to_end_latency_ms")


def test_speakers_at_once_are_recognised_in_batches(recognizer: Recognizer) -> None:
    batches, jobs = recognizer.batches, recognizer.jobs
    samples = np.concatenate([speech(), np.zeros(12_000, dtype=np.float32)])
    replies: dict[int, list[Kept]] = {key: [] for key in range(10, 14)}
    began_s = time.monotonic()
    for begin in range(0, len(samples), CHUNK):
        time.sleep(max(0.0, began_s + (begin + CHUNK) / 16_000 - time.monotonic()))
        chunk = to_pcm(samples[begin : begin + CHUNK])
        for key, kept in replies.items():
            kept.append(Kept())
            options = HANDS_FREE if begin == 0 else None
            end = begin + CHUNK >= len(samples)
            recognizer.hear(key, chunk, options, kept[-1], start=begin == 0, end=end)
    for kept in replies.values():
        wait_closed(kept[-1])
        assert all(reply.closed for reply in kept)
        heard = [one for reply in kept for one in reply.heard if isinstance(one, Transcript)]
        assert [one.text for one in heard if one.final] == [SAID]
    assert recognizer.batches - batches <= 0.6 * (recognizer.jobs - jobs)
    assert len(metric_values(Family, "asr_partial_latency_ms")) >= 8


def test_options_come_with_the_start(recognizer: Recognizer) -> None:
    first, second = Kept(), Kept()
    recognizer.hear(20, bytes(320), None, first, start=True, end=False)
    recognizer.hear(20, bytes(320), HANDS_FREE, second, start=False, end=False)
    assert second.error is not None
    assert second.error.code is ErrorCode.BAD_REQUEST


def test_a_bad_chunk_fails_its_sequence_and_closes_what_was_open(recognizer: Recognizer) -> None:
    first, second, third = Kept(), Kept(), Kept()
    recognizer.hear(21, to_pcm(speech()), HANDS_FREE, first, start=True, end=False)
    recognizer.hear(21, bytes(3), None, second, start=False, end=False)
    assert first.closed
    assert second.error is not None
    assert second.error.code is ErrorCode.BAD_AUDIO
    recognizer.hear(21, bytes(320), None, third, start=False, end=False)
    assert third.error is not None
    assert "start a new one" in third.error.message


@pytest.mark.parametrize("end", [False, True])
def test_a_sequence_that_is_left_while_its_next_chunk_is_heard_ends_with_an_error(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, end: bool
) -> None:
    first, second = Left(), Kept()
    recognizer.hear(22, to_pcm(speech()[:12_800]), HANDS_FREE, first, start=True, end=False)
    hear = Ear.hear

    def slow(ear: Ear, pcm: bytes, *, end: bool) -> Sound:
        sound = hear(ear, pcm, end=end)
        first.left = True
        wait_closed(first)
        return sound

    monkeypatch.setattr(Ear, "hear", slow)
    recognizer.hear(22, bytes(320), None, second, start=False, end=end)
    assert second.error is not None
    assert "start a new one" in second.error.message


def test_no_thread_outlives_the_recognizer_and_nobody_is_left_waiting() -> None:
    before = threading.active_count()
    recognizer = Recognizer(FOLDER, AsrSettings(), metrics.Registry(Family, slo.default()))
    reply = Kept()
    recognizer.hear(1, to_pcm(speech()), HANDS_FREE, reply, start=True, end=False)
    recognizer.close()
    assert reply.closed
    assert threading.active_count() == before


def test_a_language_that_the_model_does_not_know_is_refused_at_load() -> None:
    with pytest.raises(ModelError, match="does not know 'xx'"):
        Recognizer(
            FOLDER,
            AsrSettings(default_language="xx"),
            metrics.Registry(Family, slo.default()),
        )


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"whisper\.json"):
        Recognizer(tmp_path, AsrSettings(), metrics.Registry(Family, slo.default()))


class Left(Kept):
    """A reply whose client goes when it is told to."""

    left = False

    def cancelled(self) -> bool:
        return self.left


def wait_closed(reply: Kept) -> None:
    deadline_s = time.monotonic() + 20
    while not reply.closed:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
