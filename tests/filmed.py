"""Answers with a video that can be watched and heard, for tests of who records them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.scripted_triton import Pause, Step
from tritalk.animate.encoder import MediaEncoder
from tritalk_client import Media, StageTimes, wire

FPS = 25
WIDTH, HEIGHT = 96, 64
DARK, STEP = 40, 4
CLICK = 0.8


def turn(
    turn_id: str = "turn-1",
    *,
    seconds: float = 1.0,
    click_s: float | None = None,
    rate_hz: int = 24_000,
    width: int = WIDTH,
    frames_each: int = 5,
) -> list[Media]:
    """A turn's fragments; each frame is a little brighter than the one before."""
    encoder = MediaEncoder(width, HEIGHT, rate_hz)
    samples = np.zeros(round(seconds * rate_hz), np.float32)
    if click_s is not None:
        samples[round(click_s * rate_hz) :][: rate_hz // 500] = CLICK
    encoder.add_audio(samples)
    total, pieces = round(seconds * FPS), []
    for begin in range(0, total, frames_each):
        frames = min(frames_each, total - begin)
        for number in range(begin, begin + frames):
            picture = np.full((HEIGHT * 3 // 2, width), 128, np.uint8)
            picture[:HEIGHT] = DARK + STEP * number
            encoder.add_frame(picture)
        pieces.append((begin / FPS, frames, encoder.cut()))
    rest = encoder.finish()
    return [
        Media(
            turn_id=turn_id,
            index=index,
            start_s=start_s,
            duration_s=frames / FPS,
            frames=frames,
            spoken=True,
            stages_ms=StageTimes(),
            data=data + (rest if index == len(pieces) - 1 else b""),
        )
        for index, (start_s, frames, data) in enumerate(pieces)
    ]


def clicked(seconds: float, click_s: float) -> bytes:
    """16 kHz PCM of silence with a click in it."""
    samples = np.zeros(round(seconds * 16_000), "<i2")
    samples[round(click_s * 16_000) :][:32] = round(CLICK * 32767)
    return samples.tobytes()


def spoken_answer(question: str | bytes) -> Iterator[Step]:
    yield wire.TurnStarted("turn-1", "How are you?")
    for media in turn(seconds=1.0, click_s=0.5):
        fields = {name: getattr(media, name) for name in wire.Media.__struct_fields__}
        yield wire.Media(**fields), media.data
    yield Pause(1.0)
    yield wire.TurnCompleted("turn-1", "answered", "Fine.", 1.0, StageTimes())
