"""One turn: pieces of speech in, media fragments out."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tritalk.animate.canvas import Canvas
from tritalk.animate.encoder import FRAMES_PER_SECOND, MediaEncoder
from tritalk.animate.portrait import Portrait
from tritalk.animate.schedule import Pace, steps
from tritalk.animate.settings import AnimateSettings
from tritalk.animate.speech import Speech
from tritalk.audio import Samples
from tritalk.metrics import Instrument
from tritalk.playback import Playback
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

Mouths: TypeAlias = npt.NDArray[np.uint8]
"""uint8 `[n, 256, 256, 3]` BGR."""

Generate: TypeAlias = Callable[[Samples, Mouths], Mouths]
"""Draws mouths: mel float32 `[n, 1, 80, 16]` and face uint8 `[n, 256, 256, 6]` to `Mouths`.

Raises `TritalkError` when it cannot.
"""

NO_SAMPLES: Samples = np.zeros(0, np.float32)
_NO_MOUTHS: Mouths = np.zeros((0, 256, 256, 3), np.uint8)
_CLOSE_S = 1.0


@dataclass(frozen=True)
class Media:
    """A media fragment and what is said of it."""

    data: bytes
    fragment: wire.Fragment


@dataclass(frozen=True)
class Meters:
    """Where a turn's work is measured."""

    fps: Instrument
    mel_ms: Instrument


@dataclass(frozen=True)
class _Step:
    frames: range
    spoken: bool
    mouths: Future[Mouths]


class Turn:
    """Animates one answer as one continuous video; `cancel` alone may be called by other threads.

    Args:
        portrait: Who speaks.
        sample_rate_hz: Rate of the speech, one of `encoder.SAMPLE_RATES_HZ`.
        generate: Draws the mouths; is called in a thread of the turn's own.
        settings: Lengths of steps and fragments, time-out of the generator.
        meters: Where the work is measured.
        lead_s: Most seconds that are animated ahead of a viewer who plays each fragment as soon as
            he has it; None is as fast as it goes.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self,
        portrait: Portrait,
        sample_rate_hz: int,
        generate: Generate,
        *,
        settings: AnimateSettings,
        meters: Meters,
        lead_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._portrait = portrait
        self._rate = sample_rate_hz
        self._generate = generate
        self._settings = settings
        self._pace = Pace.of(settings, lead_s)
        self._meters = meters
        self._clock = clock
        self._canvas = Canvas(portrait.image, portrait.paster)
        self._encoder: MediaEncoder | None = None
        self._speech = Speech(sample_rate_hz)
        self._playback = Playback()
        self._cancelled = threading.Event()
        # Set when mouths have been drawn, and when the turn is cancelled.
        self._stirred = threading.Event()
        self._drawing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="animate-draw")
        self._latest: _Step | None = None
        self._frames = 0
        self._fragments = 0
        self._spoken = False
        self._finished = False
        self._work_began = clock()

    def speak(
        self, samples: Samples, last: bool, following: Callable[[], Samples] = lambda: NO_SAMPLES
    ) -> Iterator[Media]:
        """Animate the next piece of speech, of any length.

        What is left of it beyond its last whole frame goes into the next piece, or is completed
        with silence when it is the last. Ends early, without the rest, once the turn is cancelled.

        Args:
            samples: The piece.
            last: Whether the turn ends with it.
            following: The piece after it, if it is there already: it shapes the last mouths of this
                one. Without it they are drawn as before silence, in which clauses end.

        Raises:
            TritalkError: The generator failed (as it says), or TIMEOUT when it did not answer.
        """
        self._work_began = self._clock()
        self._speech.append(samples)
        silence = self._speech.pad() if last else NO_SAMPLES
        end = self._speech.frames
        waiting = deque(steps(self._frames, end, self._pace.step_frames))
        yield from self._wait_for_room(waiting, self._frames)
        step = self._begin_next(waiting, following)
        # Opened while the first mouths are drawn.
        encoder = self._encoder = self._encoder or self._open_encoder()
        encoder.add_audio(samples)
        encoder.add_audio(silence)
        while step is not None:
            mouths = self._drawn(step)
            if self._cancelled.is_set():
                return
            # One step is drawn while the one before it is encoded. More at once were no faster, and
            # would stand in the generator's queue before the first steps of other turns.
            after = None if self._room_in_s(waiting) > 0 else self._begin_next(waiting, following)
            for mouth in mouths:
                encoder.add_frame(self._canvas.draw(mouth))
            self._spoken |= step.spoken
            if after is None:
                yield from self._wait_for_room(waiting, step.frames.stop)
                after = self._begin_next(waiting, following)
            elif self._due_in_s() <= 0:
                yield self._media(encoder.cut(), step.frames.stop)
            step = after
        if self._cancelled.is_set():
            return
        if last:
            yield from self._last(encoder, end)
        elif encoder.pending_frames:
            yield self._media(encoder.cut(), end)

    def cancel(self) -> None:
        """Let `speak` end at once; a step that is being drawn is not waited for."""
        self._cancelled.set()
        self._stirred.set()

    def finish(self) -> Iterator[Media]:
        """What a cancelled turn still needs to end well: the audio of its last frames, if any."""
        if self._encoder is not None and not self._finished:
            self._encoder.abandon()
            self._spoken = False
            yield from self._last(self._encoder, self._frames)

    def close(self) -> None:
        """Free the encoder and the thread; a generator call that hangs is not waited for."""
        if self._cancelled.is_set() and self._latest is not None:
            wait([self._latest.mouths], timeout=_CLOSE_S)
        self._drawing.shutdown(wait=False, cancel_futures=True)
        if self._encoder is not None:
            self._encoder.close()

    def _open_encoder(self) -> MediaEncoder:
        height, width = self._portrait.image.shape[:2]
        return MediaEncoder(width, height, self._rate)

    def _wait_for_room(self, waiting: deque[range], drawn: int) -> Iterator[Media]:
        """Until the next step is not too far ahead of the viewer, or the turn is cancelled.

        The frames up to `drawn` leave meanwhile, when they are due.
        """
        while not self._cancelled.is_set() and (room_in_s := self._room_in_s(waiting)) > 0:
            due_in_s = self._due_in_s()
            if self._encoder is not None and due_in_s <= 0:
                yield self._media(self._encoder.cut(), drawn)
                continue
            began = self._clock()
            self._cancelled.wait(min(room_in_s, due_in_s))
            self._work_began += self._clock() - began

    def _room_in_s(self, waiting: deque[range]) -> float:
        if not waiting:
            return 0.0
        held_s = self._playback.lead_s(self._clock())
        return self._pace.room_in_s(waiting[0].stop - self._frames, held_s)

    def _due_in_s(self) -> float:
        pending_frames = 0 if self._encoder is None else self._encoder.pending_frames
        return self._pace.due_in_s(pending_frames, self._playback.lead_s(self._clock()))

    def _begin_next(self, waiting: deque[range], following: Callable[[], Samples]) -> _Step | None:
        if not waiting or self._cancelled.is_set():
            return None
        frames = waiting.popleft()
        spoken = self._speech.is_spoken(frames)
        began = self._clock()
        mel = self._speech.windows(frames, following())
        self._meters.mel_ms.observe((self._clock() - began) * 1000)
        faces = self._portrait.faces[: len(frames)]
        mouths = self._drawing.submit(self._generate, mel, faces)
        mouths.add_done_callback(lambda _: self._stirred.set())
        self._latest = _Step(frames, spoken, mouths)
        return self._latest

    def _drawn(self, step: _Step) -> Mouths:
        """The mouths of a step; none when the turn is cancelled before they are drawn."""
        timeout_s = self._settings.generator_timeout_s
        expires_at = time.monotonic() + timeout_s
        while not step.mouths.done():
            if self._cancelled.is_set():
                return _NO_MOUTHS
            if not self._stirred.wait(expires_at - time.monotonic()):
                raise TritalkError(
                    ErrorCode.TIMEOUT,
                    f"no mouths within {timeout_s:g} s (generator_timeout_s); "
                    "is wav2lip overloaded?",
                )
            self._stirred.clear()
        return step.mouths.result()

    def _last(self, encoder: MediaEncoder, end: int) -> Iterator[Media]:
        self._finished = True
        data = encoder.finish()
        if data:
            yield self._media(data, end)

    def _media(self, data: bytes, end: int) -> Media:
        """A fragment that brings the frames up to `end`."""
        frames = end - self._frames
        now = self._clock()
        if frames and now > self._work_began:
            self._meters.fps.observe(frames / (now - self._work_began))
        self._work_began = now
        self._playback.sent(frames / FRAMES_PER_SECOND, now)
        fragment = wire.Fragment(
            index=self._fragments,
            start_s=self._frames / FRAMES_PER_SECOND,
            duration_s=frames / FRAMES_PER_SECOND,
            frames=frames,
            samples=frames * self._speech.samples_per_frame,
            spoken=self._spoken,
        )
        self._frames = end
        self._fragments += 1
        self._spoken = False
        return Media(data, fragment)
