"""A conversation as a film: what is to be seen and heard at each moment of it."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from tritalk_client.events import Event, Interrupted, Media
from tritalk_client.recording.decoder import Picture, Sound, TurnDecoder
from tritalk_client.recording.playback import FRAMES_PER_SECOND, Playback, Showing
from tritalk_client.recording.voices import Track, Voice
from tritalk_client.recording.writer import SAMPLES_PER_FRAME, FilmWriter, Stereo
from tritalk_client.wire import INPUT_SAMPLE_RATE_HZ

_FRAME_S = 1 / FRAMES_PER_SECOND
# A microphone's chunks come with the jitter of a thread; a pause of speech is longer.
_USER_TOLERANCE_S = 0.15
_PORTRAIT_TOLERANCE_S = _FRAME_S / 2
_BYTES_PER_SAMPLE = 2


class Film:
    """Writes a conversation as it goes; has no clock and no thread of its own.

    Times are in seconds of the film. The user's voice is heard when it was sent, a fragment is
    shown when it came or when the one before had ended. Between answers the last frame stands
    still, before the first answer its first frame.

    Args:
        path: The file.
        apart: Whether the user is heard on the left and the portrait on the right, not both in the
            middle.
    """

    def __init__(self, path: Path, *, apart: bool) -> None:
        self._writer = FilmWriter(path)
        self._apart = apart
        self._playback = Playback()
        self._user, self._portrait = Track(), Track()
        self._user_voice = Voice(self._user, tolerance_s=_USER_TOLERANCE_S)
        self._portrait_voice = Voice(self._portrait, tolerance_s=_PORTRAIT_TOLERANCE_S)
        self._decoders: dict[str, TurnDecoder] = {}
        self._coming: deque[tuple[float, VideoFrame]] = deque()
        self._frame: VideoFrame | None = None
        self._frames = 0

    def add(self, event: Event, at_s: float) -> None:
        """An event came."""
        match event:
            case Media():
                self._playback.add(event, at_s)
            case Interrupted():
                cut_s = self._playback.cut_off(event.turn_id, at_s)
                self._portrait_voice.cut_off(cut_s)
                self._coming = deque(each for each in self._coming if _before(each[0], cut_s))

    def heard(self, pcm: bytes, at_s: float) -> None:
        """A piece of the user's speech, 16 kHz PCM, was complete."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        begin_s = at_s - len(samples) / INPUT_SAMPLE_RATE_HZ
        self._user_voice.add(samples, INPUT_SAMPLE_RATE_HZ, max(0.0, begin_s))

    def advance(self, until_s: float) -> None:
        """Write what comes before `until_s`; nothing may be added to that any more.

        Raises:
            OSError: The file cannot be written.
            TritalkError: A fragment cannot be decoded.
        """
        if (self._frames + 1) * _FRAME_S > until_s:
            return
        self._user_voice.settle(until_s)
        while (self._frames + 1) * _FRAME_S <= until_s:
            self._write_next()

    def close(self, end_s: float) -> None:
        """Write the rest, up to `end_s` and the end of what is being shown, and finish the file.

        Raises:
            OSError: The file cannot be written.
            TritalkError: A fragment cannot be decoded.
        """
        try:
            self.advance(max(end_s, self._playback.end_s) + _FRAME_S / 2)
        finally:
            self._writer.close()

    def _write_next(self) -> None:
        begin_s = self._frames * _FRAME_S
        while (showing := self._playback.next_before(begin_s + _FRAME_S)) is not None:
            self._decode(showing)
        self._portrait_voice.settle(begin_s + _FRAME_S)
        while self._coming and _before(self._coming[0][0], begin_s + _FRAME_S):
            self._frame = self._coming.popleft()[1]
        self._writer.write(self._frame, self._sound())
        self._frames += 1

    def _decode(self, showing: Showing) -> None:
        turn_id = showing.media.turn_id
        if showing.media.index == 0:
            self._decoders = {turn_id: TurnDecoder(showing.media.data)}
            self._portrait_voice.finish()
        decoder = self._decoders.get(turn_id)
        if decoder is None:
            # Whoever begins to record in mid-answer has not got its header.
            return
        for piece in decoder.decode(showing.media.data):
            at_s = piece.at_s + showing.shift_s
            if isinstance(piece, Picture) and _before(at_s, showing.end_s):
                self._coming.append((at_s, piece.frame))
            elif isinstance(piece, Sound):
                self._speak(piece, showing)

    def _speak(self, sound: Sound, showing: Showing) -> None:
        # The encoder's priming comes before the turn, and is none of it.
        first = max(0, round(-sound.at_s * sound.rate_hz))
        at_s = max(0.0, sound.at_s) + showing.shift_s
        samples = sound.samples[first:]
        if showing.is_cut_off:
            samples = samples[: max(0, round((showing.end_s - at_s) * sound.rate_hz))]
        if len(samples):
            self._portrait_voice.add(samples, sound.rate_hz, at_s)

    def _sound(self) -> Stereo:
        user, portrait = self._user.take(SAMPLES_PER_FRAME), self._portrait.take(SAMPLES_PER_FRAME)
        if self._apart:
            return np.stack([user, portrait])
        return np.stack([user + portrait] * 2)


def _before(at_s: float, end_s: float) -> bool:
    """Whether a frame belongs before a moment; half a frame of rounding does not matter."""
    return at_s < end_s - _FRAME_S / 2
