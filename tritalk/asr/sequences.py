"""The sequences by their ids, and those that have ended but are not done yet."""

from __future__ import annotations

from collections.abc import Iterator

from tritalk.asr.stream import Stream
from tritalk_client.errors import ErrorCode, TritalkError


class Sequences:
    """All sequences of the model; the caller holds its lock.

    Args:
        idle_s: A sequence that gets nothing for so long is dropped: Triton drops it, too, and does
            not tell.
    """

    def __init__(self, *, idle_s: float) -> None:
        self._idle_s = idle_s
        self._open: dict[int, Stream] = {}
        self._ending: list[Stream] = []

    def __iter__(self) -> Iterator[Stream]:
        """All that there may be something to do for."""
        return iter([*self._open.values(), *self._ending])

    def __len__(self) -> int:
        """How many there are."""
        return len(self._open) + len(self._ending)

    @property
    def buffered_s(self) -> float:
        """Seconds of audio held for utterances that have not ended."""
        return sum(stream.buffered_s for stream in self)

    def begin(self, key: int, stream: Stream) -> None:
        """Open a sequence; an open one of this id is dropped."""
        if key in self._open:
            self._open[key].drop()
        self._open[key] = stream

    def find(self, key: int) -> Stream:
        """An open sequence.

        Raises:
            TritalkError: BAD_REQUEST when there is none of this id.
        """
        stream = self._open.get(key)
        if stream is None or stream.gone:
            raise TritalkError(
                ErrorCode.BAD_REQUEST,
                f"sequence {key} is not open: it failed or was idle for too long; start a new one",
            )
        return stream

    def end(self, key: int) -> None:
        """No more audio comes for a sequence; it stays until it is done."""
        self._ending.append(self._open.pop(key))

    def sweep(self, now_s: float) -> None:
        """Forget those that are done, and drop those that have been idle for too long."""
        for stream in self:
            if now_s - stream.touched_s > self._idle_s:
                stream.drop()
        self._open = {key: stream for key, stream in self._open.items() if not stream.gone}
        self._ending = [stream for stream in self._ending if not stream.gone]
