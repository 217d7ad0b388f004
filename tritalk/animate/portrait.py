"""Portraits that are ready to speak, the last few kept in memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tritalk.face_geometry import Image, Paster
from tritalk.image_store import ImageStore, PreparedAvatar
from tritalk_client.errors import ErrorCode, TritalkError

_TRUSTED_S = 60.0


@dataclass(frozen=True)
class Portrait:
    """What all turns of one avatar share; safe for threads."""

    image: Image
    """uint8 `[H, W, 3]` BGR, H and W even."""
    paster: Paster
    faces: npt.NDArray[np.uint8]
    """uint8 `[n, 256, 256, 6]` BGR: the aligned face, twice in the last axis, for n frames."""

    @classmethod
    def of(cls, avatar: PreparedAvatar, frames: int) -> Portrait:
        """A portrait whose faces serve generator calls of up to so many frames."""
        height, width = avatar.portrait.shape[:2]
        twice = np.concatenate([avatar.face, avatar.face], axis=2)
        return cls(
            image=avatar.portrait,
            paster=Paster(width, height, avatar.to_crop),
            faces=np.ascontiguousarray(np.broadcast_to(twice, (frames, *twice.shape))),
        )


class Portraits:
    """Loads portraits from the avatar store and keeps those last used; safe for threads.

    A portrait never changes under its id, but it may be deleted: one that is kept is served for at
    most a minute without asking the store whether it is still there.

    Args:
        store: Where the avatars are.
        capacity: Most portraits that are kept.
        frames: Frames of one generator call.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self,
        store: ImageStore,
        *,
        capacity: int,
        frames: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._capacity = capacity
        self._frames = frames
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Portrait, float]] = OrderedDict()

    def get(self, avatar_id: str) -> Portrait:
        """The portrait of an avatar.

        Raises:
            TritalkError: UNKNOWN_AVATAR, or UNAVAILABLE when the store cannot be read.
        """
        with self._lock:
            kept = self._kept.get(avatar_id)
        now = self._clock()
        if kept is None:
            portrait = Portrait.of(self._store.load(avatar_id), self._frames)
        else:
            portrait, checked_at = kept
            if now - checked_at < _TRUSTED_S:
                now = checked_at
            else:
                self._check(avatar_id)
        with self._lock:
            self._kept[avatar_id] = (portrait, now)
            self._kept.move_to_end(avatar_id)
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return portrait

    def _check(self, avatar_id: str) -> None:
        try:
            self._store.info(avatar_id)
        except TritalkError as error:
            if error.code is ErrorCode.UNKNOWN_AVATAR:
                with self._lock:
                    self._kept.pop(avatar_id, None)
            raise
