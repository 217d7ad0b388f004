"""Speech recognition of many sequences: chunks in, what is heard out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tritalk import metrics
from tritalk.asr import noise, vad
from tritalk.asr.conditioning import Conditioner
from tritalk.asr.ear import Ear, Sound
from tritalk.asr.manner import manner
from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.asr.reply import Kept, Reply
from tritalk.asr.sequences import Sequences
from tritalk.asr.settings import AsrSettings
from tritalk.asr.stream import Stream
from tritalk.asr.teller import Meters
from tritalk.asr.whisper import Clip, Whisper
from tritalk.asr.worker import Worker, stopped
from tritalk.model_files import ModelError
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import INPUT_SAMPLE_RATE_HZ, RecognitionOptions, Transcript


class Recognizer:
    """Listens to sequences and recognises what is said in them, together.

    `hear` takes audio in and returns at once; what is heard goes to the reply that came with the
    latest chunk, from threads of the recognizer's own. It is called from one thread. Nothing here
    needs Triton: a benchmark hands in replies of its own, or calls `transcribe`, which takes the
    same steps as a sequence of one chunk does, in the caller's thread:

        with Recognizer(folder, AsrSettings(), registry) as recognizer:
            recognizer.warm_up()
            transcript = recognizer.transcribe(pcm)

    Args:
        folder: Holds the files of the Whisper model and silero_vad.onnx.
        settings: See `AsrSettings`.
        registry: Where the metrics live.
        clock: Seconds that only rise; a test may pass its own.

    Raises:
        ModelError: A file is missing or broken, or the default language is unknown to the model.
        SettingsError: Noise is to be suppressed without the library for it.
    """

    def __init__(
        self,
        folder: Path,
        settings: AsrSettings,
        registry: metrics.Registry,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        noise.check(settings.noise_suppression)
        self._settings = settings
        self._clock = clock
        self._whisper = Whisper(folder, threads=settings.threads)
        self._detector = vad.Detector(folder / "silero_vad.onnx", threads=1)
        if settings.default_language not in self._whisper.languages:
            raise ModelError(
                f"parameter default_language: {self._whisper.name} does not know "
                f"{settings.default_language!r}"
            )
        self._meters = Meters(registry(metrics.ASR_LATENCY), registry(metrics.ASR_PARTIAL_LATENCY))
        self._sequences = Sequences(idle_s=settings.sequence_idle_s)
        self._changed = threading.Condition()
        self._worker = Worker(
            self._sequences,
            self._changed,
            self._whisper.recognise,
            most_audio_s=settings.batch_audio_s,
            buffered=registry(metrics.AUDIO_BUFFER),
            clock=clock,
        )

    def __enter__(self) -> Recognizer:
        """Nothing more to do; the threads run already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def batches(self) -> int:
        """How many batches have been recognised."""
        return self._worker.batches

    @property
    def jobs(self) -> int:
        """How many transcripts were made in them."""
        return self._worker.jobs

    def warm_up(self) -> None:
        """Recognise a second of noise, so that the first sequence does not pay for first use."""
        noisy = np.random.default_rng(0).normal(0, 0.01, SAMPLE_RATE_HZ).astype(np.float32)
        self._detector.listen().hear(noisy)
        self._whisper.recognise([Clip(noisy, self._settings.default_language)])

    def hear(
        self,
        key: int,
        pcm: bytes,
        options: RecognitionOptions | None,
        reply: Reply,
        *,
        start: bool,
        end: bool,
    ) -> None:
        """Take a chunk of a sequence.

        Args:
            key: The sequence's id.
            pcm: Signed 16-bit little-endian mono PCM at 16 kHz; may be empty.
            options: Hold for the whole sequence; they come with its first chunk or not at all.
            reply: Takes what is heard from here on, and errors: BAD_AUDIO, TOO_LARGE, BAD_REQUEST
                and NO_SPEECH are the client's, and the sequence is forgotten after one.
            start: Whether it is the sequence's first chunk.
            end: Whether it is its last.
        """
        now_s = self._clock()
        try:
            stream = self._stream(key, options, start=start, now_s=now_s)
            sound = self._listen(stream, pcm, end=end)
            with self._changed:
                if self._worker.stopped:
                    raise stopped()
                # Again, since meanwhile it may have failed, or been left by its client.
                self._sequences.find(key).hear(sound, reply, end=end, now_s=now_s)
                if end:
                    self._sequences.end(key)
                self._changed.notify()
        except TritalkError as error:
            reply.fail(error)

    def transcribe(self, pcm: bytes, options: RecognitionOptions | None = None) -> Transcript:
        """Recognise a recording in the caller's thread, as a sequence of one chunk is.

        Args:
            pcm: Signed 16-bit little-endian mono PCM at 16 kHz.
            options: Without endpointing.

        Raises:
            TritalkError: As the sequence would get it.
        """
        stream, reply = self._new_stream(options, self._clock()), Kept()
        stream.hear(stream.ear.hear(pcm, end=True), reply, end=True, now_s=self._clock())
        while (job := stream.due()) is not None:
            stream.take(job, self._whisper.recognise(job.plan.clips), self._clock())
        return reply.transcript()

    def close(self) -> None:
        """End the threads, and answer all that are waiting."""
        self._worker.close()

    def _stream(
        self, key: int, options: RecognitionOptions | None, *, start: bool, now_s: float
    ) -> Stream:
        with self._changed:
            if not start and options is not None:
                raise TritalkError(
                    ErrorCode.BAD_REQUEST,
                    "OPTIONS come with the START of a sequence, or not at all",
                )
            if start:
                self._sequences.begin(key, self._new_stream(options, now_s))
            return self._sequences.find(key)

    def _listen(self, stream: Stream, pcm: bytes, *, end: bool) -> Sound:
        """Take a chunk in without the lock: one thread alone listens, and it takes time."""
        try:
            return stream.ear.hear(pcm, end=end)
        except TritalkError:
            with self._changed:
                stream.drop()
            raise

    def _new_stream(self, options: RecognitionOptions | None, now_s: float) -> Stream:
        treated = manner(self._settings, self._checked(options))
        level = self._settings.noise_suppression
        conditioner = Conditioner(noise.WebRtcNoiseFilter(level) if level else None)
        ear = Ear(self._detector.listen(), conditioner, limit_s=treated.limit_s)
        return Stream(ear, treated, self._whisper, self._meters, now_s)

    def _checked(self, options: RecognitionOptions | None) -> RecognitionOptions | None:
        if options is None:
            return None
        if options.sample_rate_hz != INPUT_SAMPLE_RATE_HZ:
            raise TritalkError(
                ErrorCode.BAD_AUDIO,
                f"the audio has {options.sample_rate_hz} Hz; resample it to {INPUT_SAMPLE_RATE_HZ}",
            )
        if options.language not in self._whisper.languages:
            known = " ".join(sorted(self._whisper.languages))
            raise TritalkError(
                ErrorCode.BAD_REQUEST,
                f"language {options.language!r} is unknown; {self._whisper.name} knows {known}",
            )
        return options
