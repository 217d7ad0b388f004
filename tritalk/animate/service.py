"""The `animate` model without Triton: checks requests and hands them to their sequences."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial

from tritalk import audio
from tritalk.animate.encoder import SAMPLE_RATES_HZ
from tritalk.animate.mouth_cache import MouthCache
from tritalk.animate.portrait import Portraits
from tritalk.animate.sequence import Piece, Reply, Sequence
from tritalk.animate.settings import AnimateSettings
from tritalk.animate.turn import NO_SAMPLES, Generate, Meters, Turn
from tritalk.metrics import ANIMATION_FPS, MEL_TIME, VIDEO_HEIGHT, Registry
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


@dataclass(frozen=True)
class Request:
    """One request of a sequence, as it came."""

    sequence_id: int
    start: bool = False
    end: bool = False
    cancel: bool = False
    pcm: bytes = b""
    sample_rate_hz: int | None = None
    """Needed at the start, and not to be changed after it."""
    options: bytes | None = None
    """A `wire.AnimateOptions`; needed at the start."""


@dataclass(frozen=True)
class _Open:
    sequence: Sequence
    sample_rate_hz: int


class AnimateService:
    """Serves turns side by side; safe for threads.

    Args:
        settings: The model's settings.
        portraits: Where portraits come from.
        generate: Draws mouths.
        metrics: The model's metrics.
    """

    def __init__(
        self,
        settings: AnimateSettings,
        portraits: Portraits,
        generate: Generate,
        metrics: Registry,
    ) -> None:
        self._settings = settings
        self._portraits = portraits
        if settings.mouth_cache_mib:
            generate = MouthCache(generate, settings.mouth_cache_mib * 2**20)
        self._generate = generate
        self._meters = Meters(fps=metrics(ANIMATION_FPS), mel_ms=metrics(MEL_TIME))
        self._height = metrics(VIDEO_HEIGHT)
        self._lock = threading.Lock()
        self._open: dict[int, _Open] = {}

    @property
    def max_pcm_bytes(self) -> int:
        """Size of the longest piece at the highest rate."""
        return audio.pcm_bytes(self._settings.max_piece_s, max(SAMPLE_RATES_HZ))

    def handle(self, request: Request, reply: Reply) -> None:
        """Take a request; returns at once, the reply is given as the work is done.

        Raises:
            TritalkError: The request is refused and `reply` is not used: BAD_REQUEST, BAD_AUDIO,
                TOO_LARGE, BUSY, or why its sequence takes no more pieces. One that ends its
                sequence does so none the less.
        """
        try:
            # Triton lets a cancel with START pass after the END of its sequence, too.
            if request.cancel:
                self._cancel(request, reply)
            elif request.start:
                self._start(request, reply)
            else:
                opened = self._get(request.sequence_id)
                samples = self._samples(request, opened.sample_rate_hz)
                opened.sequence.put(Piece(reply, samples, last=request.end))
        except TritalkError:
            if request.end:
                self._end(request.sequence_id)
            raise

    def close(self) -> None:
        """End every turn and wait for their threads."""
        with self._lock:
            sequences = [opened.sequence for opened in self._open.values()]
        for sequence in sequences:
            sequence.cancel()
        for sequence in sequences:
            sequence.join()

    def _start(self, request: Request, reply: Reply) -> None:
        self._end(request.sequence_id)
        if request.options is None:
            raise TritalkError(
                ErrorCode.BAD_REQUEST, "the START of a sequence needs OPTIONS with an avatar_id"
            )
        options = wire.decode(request.options, wire.AnimateOptions)
        rate = request.sample_rate_hz
        if rate is None or not request.pcm:
            raise TritalkError(
                ErrorCode.BAD_AUDIO, "the START of a sequence needs AUDIO with its SAMPLE_RATE"
            )
        if rate not in SAMPLE_RATES_HZ:
            allowed = ", ".join(map(str, SAMPLE_RATES_HZ))
            raise TritalkError(ErrorCode.BAD_AUDIO, f"SAMPLE_RATE {rate} is not one of {allowed}")
        samples = self._samples(request, rate)
        sequence = Sequence(
            f"animate-{request.sequence_id}",
            partial(self._open_turn, options, rate),
            idle_timeout_s=self._settings.idle_timeout_s,
            queued_pieces=self._settings.queued_pieces,
            queued_samples=round(self._settings.queued_s * rate),
            on_end=partial(self._forget, request.sequence_id),
        )
        with self._lock:
            if len(self._open) >= self._settings.turns:
                raise TritalkError(
                    ErrorCode.BUSY,
                    f"{len(self._open)} answers are being animated (turns); try again soon",
                )
            self._open[request.sequence_id] = _Open(sequence, rate)
        sequence.begin(Piece(reply, samples, last=request.end))

    def _cancel(self, request: Request, reply: Reply) -> None:
        with self._lock:
            opened = self._open.get(request.sequence_id)
        try:
            if opened is not None:
                opened.sequence.put(Piece(reply, NO_SAMPLES, cancel=True))
                return
        except TritalkError:
            # It has ended just now, which is all that a cancel wants.
            pass
        reply.done()

    def _end(self, sequence_id: int) -> None:
        with self._lock:
            opened = self._open.get(sequence_id)
        if opened is not None:
            opened.sequence.cancel()

    def _get(self, sequence_id: int) -> _Open:
        with self._lock:
            opened = self._open.get(sequence_id)
        if opened is None:
            raise TritalkError(
                ErrorCode.BAD_REQUEST,
                "this answer has ended, failed, was cancelled or was idle for too long; "
                "begin the next one with START",
            )
        return opened

    def _samples(self, request: Request, rate: int) -> audio.Samples:
        if request.sample_rate_hz not in (None, rate):
            raise TritalkError(
                ErrorCode.BAD_AUDIO,
                f"SAMPLE_RATE changed from {rate} to {request.sample_rate_hz} in mid-sequence",
            )
        longest = self._settings.max_piece_s
        if len(request.pcm) > audio.pcm_bytes(longest, rate):
            raise TritalkError(
                ErrorCode.TOO_LARGE, f"AUDIO is longer than {longest:g} s (max_piece_s)"
            )
        return audio.from_pcm(request.pcm) if request.pcm else NO_SAMPLES

    def _open_turn(self, options: wire.AnimateOptions, rate: int) -> Turn:
        portrait = self._portraits.get(options.avatar_id)
        self._height.set(portrait.image.shape[0])
        return Turn(
            portrait,
            rate,
            self._generate,
            settings=self._settings,
            meters=self._meters,
            lead_s=options.lead_s,
        )

    def _forget(self, sequence_id: int, sequence: Sequence) -> None:
        with self._lock:
            opened = self._open.get(sequence_id)
            if opened is not None and opened.sequence is sequence:
                del self._open[sequence_id]
