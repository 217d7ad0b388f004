"""Speech recognition of many sequences: chunks in, transcripts out."""

from __future__ import annotations

from collections.abc import Sequence as Many
from pathlib import Path

import numpy as np

from tritalk.asr import sequences, text, vad
from tritalk.asr.mel import SAMPLE_RATE_HZ
from tritalk.asr.settings import AsrSettings
from tritalk.asr.whisper import WINDOW_S, Clip, Whisper
from tritalk.model_files import ModelError
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.wire import INPUT_SAMPLE_RATE_HZ, RecognitionOptions, Transcript

_LONGEST_PIECE_S = WINDOW_S - 1.0
"""Longest piece of speech for one look of the model; it wants some silence behind it."""


class Recognizer:
    """Collects the audio of sequences and recognises those that end, together.

    Not safe for several threads.

    Args:
        folder: Holds the files of the Whisper model and silero_vad.onnx.
        settings: See `AsrSettings`.

    Raises:
        ModelError: A file is missing or broken, or the default language is unknown to the model.
    """

    def __init__(self, folder: Path, settings: AsrSettings) -> None:
        self._settings = settings
        self._whisper = Whisper(folder, threads=settings.threads)
        self._detector = vad.Detector(folder / "silero_vad.onnx", threads=1)
        self._sequences = sequences.Sequences(idle_s=settings.sequence_idle_s)
        if settings.default_language not in self._whisper.languages:
            raise ModelError(
                f"parameter default_language: {self._whisper.name} does not know "
                f"{settings.default_language!r}"
            )

    @property
    def buffered_s(self) -> float:
        """Seconds of audio held for sequences that have not ended."""
        return self._sequences.duration_s

    def warm_up(self) -> None:
        """Recognise a second of noise, so that the first sequence does not pay for first use."""
        noise = np.random.default_rng(0).normal(0, 0.01, SAMPLE_RATE_HZ).astype(np.float32)
        self._detector.listen().hear(noise)
        self._whisper.transcribe([Clip(noise, self._settings.default_language)])

    def accept(
        self, key: int, pcm: bytes, options: RecognitionOptions | None, *, start: bool, now_s: float
    ) -> Transcript:
        """Take a chunk of a sequence.

        Args:
            key: The sequence's id.
            pcm: Signed 16-bit little-endian mono PCM at 16 kHz; may be empty.
            options: Hold for the whole sequence, whichever chunk they come with.
            start: Whether it is the sequence's first chunk.
            now_s: A clock that only rises.

        Returns:
            An empty transcript, not final, with the length of the audio so far.

        Raises:
            TritalkError: BAD_AUDIO, TOO_LARGE or BAD_REQUEST; the sequence is forgotten then.
        """
        self._sequences.drop_idle(now_s)
        if start:
            language = self._settings.default_language
            fresh = sequences.Sequence(self._detector.listen(), language, now_s)
            self._sequences.begin(key, fresh)
        sequence = self._sequences.find(key)
        try:
            if options is not None:
                sequence.language = self._checked_language(options)
            sequence.append(pcm, limit_s=self._settings.max_audio_s, now_s=now_s)
        except TritalkError:
            self._sequences.end(key)
            raise
        return Transcript(
            text="", final=False, audio_s=sequence.duration_s, language=sequence.language
        )

    def finish(self, keys: Many[int]) -> list[Transcript | TritalkError]:
        """Recognise sequences that have ended, together, and forget them.

        Args:
            keys: Ids of open sequences, each once.

        Returns:
            For each its final transcript, or why there is none: BAD_AUDIO when no audio came,
            NO_SPEECH when nobody speaks in it.
        """
        ended = [self._sequences.find(key) for key in keys]
        for key in keys:
            self._sequences.end(key)
        clips = [self._clips(sequence) for sequence in ended]
        everything = [clip for pieces in clips for clip in pieces]
        texts = iter(self._whisper.transcribe(everything) if everything else [])
        return [
            _outcome(sequence, [next(texts) for _ in pieces])
            for sequence, pieces in zip(ended, clips, strict=True)
        ]

    def _checked_language(self, options: RecognitionOptions) -> str:
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
        return options.language

    def _clips(self, sequence: sequences.Sequence) -> list[Clip]:
        """The speech of a sequence in pieces that the model can look at."""
        settings, probabilities = self._settings, sequence.probabilities
        span = vad.speech_span(
            probabilities, threshold=settings.vad_threshold, margin_s=settings.speech_margin_s
        )
        if span is None:
            return []
        samples = sequence.samples
        pieces = vad.cuts(
            probabilities,
            span[0],
            min(span[1], len(samples)),
            longest=int(_LONGEST_PIECE_S * SAMPLE_RATE_HZ),
        )
        return [Clip(samples[begin:end], sequence.language) for begin, end in pieces]


def _outcome(sequence: sequences.Sequence, pieces: Many[str]) -> Transcript | TritalkError:
    if not sequence.duration_s:
        return TritalkError(ErrorCode.BAD_AUDIO, "there is no audio in the sequence")
    found = text.join(pieces, sequence.language)
    if not text.says_something(found):
        return TritalkError(
            ErrorCode.NO_SPEECH,
            f"nobody speaks in the {sequence.duration_s:.1f} s of audio; check the microphone",
        )
    return Transcript(
        text=found, final=True, audio_s=sequence.duration_s, language=sequence.language
    )
