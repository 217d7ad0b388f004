"""A narration for threads: a script goes up, a video comes down."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator

from tritalk_client.calls import read_fragment, stop_narration
from tritalk_client.events import Fragment
from tritalk_client.outbox import Outgoing
from tritalk_client.protocol import End, InferRequest, call_error
from tritalk_client.stream import Stream
from tritalk_client.timeouts import NarrationWatch, Timeouts
from tritalk_client.video import Video, narrated


class Narration:
    """The fragments of a narration, and its video; made by `Talker.narrate`.

    Iterate over it, or call `result()`; leaving the loop early ends it.

    Args:
        server: The address, for messages.
        timeouts: Deadlines.
        request: What to narrate.
        sequence_id: The sequence that the request is.
        connect: Opens a stream to the server.
    """

    def __init__(
        self,
        server: str,
        timeouts: Timeouts,
        request: InferRequest,
        sequence_id: int,
        connect: Callable[[], Stream],
    ) -> None:
        self._server = server
        self._timeouts = timeouts
        self._request = request
        self._sequence_id = sequence_id
        self._connect = connect
        self._began_s = 0.0
        self._fragments: list[tuple[float, Fragment]] = []

    @property
    def video(self) -> Video:
        """What has come so far; complete after the last fragment."""
        return narrated(self._fragments, self._began_s)

    def result(self) -> Video:
        """Wait for the rest and return the video.

        Raises:
            TritalkError: As iterating does.
        """
        for _ in self:
            pass
        return self.video

    def __iter__(self) -> Iterator[Fragment]:
        """The fragments as they come.

        Raises:
            TritalkError: UNKNOWN_AVATAR, UNKNOWN_VOICE or BAD_REQUEST when the server refuses the
                request, UNAVAILABLE, TIMEOUT or STALLED when it cannot be waited for.
        """
        if self._began_s:
            return
        self._began_s = time.monotonic()
        watch = NarrationWatch(self._timeouts, self._began_s)
        stream = self._connect()
        under_way = True
        try:
            stream.send([Outgoing(self._began_s, self._request)])
            stream.finish()
            while True:
                try:
                    response = stream.receive(watch.patience_s(time.monotonic()))
                except queue.Empty:
                    raise watch.overdue() from None
                if isinstance(response, End):
                    under_way = False
                    if response.error is not None:
                        raise call_error(response.error, self._server)
                    return
                fragment = read_fragment(response, self._server)
                if fragment is not None:
                    now_s = time.monotonic()
                    watch.seen(now_s)
                    self._fragments.append((now_s, fragment))
                    yield fragment
        finally:
            if under_way:
                self._stop()
            stream.close(0.0)

    def _stop(self) -> None:
        """Free the server of work that nobody waits for."""
        stream = self._connect()
        stream.send([Outgoing(time.monotonic(), stop_narration(self._sequence_id))])
        stream.close(self._timeouts.close_s)
