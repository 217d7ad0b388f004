"""Who speaks and who draws in the tests of `animate`, where no weights are needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from tritalk import face_geometry, slo
from tritalk.animate.portrait import Portraits
from tritalk.animate.service import AnimateService, Request
from tritalk.animate.settings import AnimateSettings
from tritalk.animate.turn import Generate, Media, Meters
from tritalk.audio import to_pcm
from tritalk.image_store import ImageStore, PreparedAvatar
from tritalk.metrics import Registry
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

AVATAR_ID = "0123456789abcdef"

# The columns of a mel window that lie in the middle of the frame that it drives.
_NOW = slice(4, 6)
_LOUD = -1.0


def grey_avatar(width: int = 64, height: int = 96, level: int = 96) -> PreparedAvatar:
    """A portrait of one grey, whose mouth is in its middle."""
    portrait = np.full((height, width, 3), level, np.uint8)
    points = np.array([(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.38, 0.6), (0.62, 0.6)])
    to_crop = face_geometry.align(points * (width, height))
    info = wire.AvatarInfo(AVATAR_ID, width, height, wire.FaceBox(0, 0, width, height))
    return PreparedAvatar(info, portrait, face_geometry.crop(portrait, to_crop), to_crop)


@dataclass
class LoudnessGenerator:
    """Draws a white mouth where the voice is loud, and leaves the face alone where it is not."""

    error: TritalkError | None = None
    fails_at_call: int = 0
    gate: threading.Semaphore | None = None
    """Each call waits for one release."""
    calls: list[int] = field(default_factory=list)
    """Frames of each call."""
    windows: list[npt.NDArray[np.float32]] = field(default_factory=list)
    """The mel window of every frame."""

    def __call__(
        self, mel: npt.NDArray[np.float32], face: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint8]:
        assert mel.dtype == np.float32
        assert mel.shape == (len(face), 1, 80, 16)
        assert face.shape == (len(mel), 256, 256, 6)
        assert face.dtype == np.uint8
        self.calls.append(len(mel))
        self.windows += list(mel[:, 0])
        if self.gate is not None and not self.gate.acquire(timeout=10):
            raise TritalkError(ErrorCode.INTERNAL, "the test never opened the gate")
        if self.error is not None and len(self.calls) > self.fails_at_call:
            raise self.error
        loud = mel[:, 0, :, _NOW].max(axis=(1, 2)) > _LOUD
        mouths = face[..., 3:].copy()
        mouths[loud] = 255
        return mouths


def is_lit(frame: face_geometry.Image, level: int = 96) -> bool:
    """Whether the mouth of a grey portrait is white in this frame."""
    height, width = frame.shape[:2]
    return bool(frame[int(height * 0.62), width // 2].min() > (level + 255) // 2)


class Readings:
    """An instrument that keeps what it was told."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def increment(self, value: float) -> None:
        self.values.append(value)

    def set(self, value: float) -> None:
        self.values.append(value)

    def observe(self, value: float) -> None:
        self.values.append(value)


def meters() -> Meters:
    return Meters(fps=Readings(), mel_ms=Readings())


class CollectingReply:
    """A reply that keeps what it is given, and refuses a second end."""

    def __init__(self) -> None:
        self.media: list[Media] = []
        self.error: TritalkError | None = None
        self.gone = False
        self._ended = threading.Event()
        self._arrived = threading.Semaphore(0)

    def send(self, media: Media) -> None:
        assert not self._ended.is_set(), "media after the end"
        self.media.append(media)
        self._arrived.release()

    def done(self) -> None:
        assert not self._ended.is_set(), "a second end"
        self._ended.set()

    def fail(self, error: TritalkError) -> None:
        self.error = error
        self.done()

    def wait_for_media(self) -> None:
        """Until the next fragment."""
        assert self._arrived.acquire(timeout=10), "no fragment came"

    def wait(self) -> CollectingReply:
        """Until the end."""
        assert self._ended.wait(10), "the reply was never ended"
        return self

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    @property
    def data(self) -> bytes:
        return b"".join(media.data for media in self.media)

    @property
    def frames(self) -> int:
        return sum(media.fragment.frames for media in self.media)


OPTIONS = wire.encode(wire.AnimateOptions(avatar_id=AVATAR_ID))
MakeService: TypeAlias = Callable[..., AnimateService]


class Family:
    """A metric family whose series keep what they were told, by the name of their metric."""

    COUNTER, GAUGE, HISTOGRAM = range(3)
    series: ClassVar[dict[str, Readings]] = {}

    def __init__(self, name: str, description: str, kind: int) -> None:
        self._name = name

    def Metric(self, labels: dict[str, str], buckets: object = None) -> Readings:  # noqa: N802
        return self.series.setdefault(self._name, Readings())


@contextmanager
def services(folder: Path) -> Iterator[MakeService]:
    """Makes services over a store with the grey avatar, and closes them."""
    store = ImageStore(str(folder))
    store.save(b"original", grey_avatar())
    made = []

    def make(generate: Generate | None = None, **options: float) -> AnimateService:
        # What a test scripts for a step is to happen at every step.
        settings = AnimateSettings(**{"mouth_cache_mib": 0, **options})
        portraits = Portraits(store, capacity=2, frames=settings.step_frames)
        Family.series.clear()
        metrics = Registry(Family, slo.default())
        service = AnimateService(settings, portraits, generate or LoudnessGenerator(), metrics)
        made.append(service)
        return service

    yield make
    for service in made:
        service.close()


def pcm(frames: float) -> bytes:
    """A tone at 24 kHz, so many frames long."""
    count = round(frames * 960)
    return to_pcm((0.3 * np.sin(np.arange(count) * 0.06)).astype(np.float32))


def start(sequence_id: int = 1, frames: float = 10, **fields: object) -> Request:
    """A good START."""
    values = {"pcm": pcm(frames), "sample_rate_hz": 24_000, "options": OPTIONS, **fields}
    return Request(sequence_id, start=True, **values)


def send(service: AnimateService, request: Request) -> CollectingReply:
    reply = CollectingReply()
    service.handle(request, reply)
    return reply


def refusal(service: AnimateService, request: Request) -> TritalkError:
    """Why a request is not taken."""
    reply = CollectingReply()
    with pytest.raises(TritalkError) as caught:
        service.handle(request, reply)
    assert not reply.ended
    return caught.value


def animate_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("animate-")]


def wait_for_no_threads() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("animate-"):
            thread.join(10)
    assert animate_threads() == []
