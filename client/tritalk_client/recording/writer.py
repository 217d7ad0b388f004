"""Frames and sound into an MP4 file, as they come."""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from tritalk_client.recording.playback import FRAMES_PER_SECOND
from tritalk_client.recording.voices import SAMPLE_RATE_HZ

SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FRAMES_PER_SECOND

# Fragments while it is written, so that even what is killed leaves a film; a plain MP4 at the end.
# The edit list tells players to skip the priming of the AAC encoder, as in any other MP4.
_CONTAINER = {"movflags": "hybrid_fragmented", "use_editlist": "1", "flush_packets": "1"}
# One thread: the recorder lives beside a player, and often beside the server.
_X264 = {"preset": "superfast", "crf": "22", "g": "125", "bf": "0", "threads": "1"}
_AUDIO_BIT_RATE = 128_000
_SPOOL_BYTES = 4 * 1024 * 1024
_PCM_SCALE = 32767.0

Stereo = npt.NDArray[np.float32]
"""The sound of one frame, −1…1, `[2, SAMPLES_PER_FRAME]`."""


class FilmWriter:
    """Writes 25 frames a second with stereo sound: H.264 and AAC.

    The size of the film is that of its first frame. Until that is known the sound waits, on the
    disk when it grows; then the film begins with the first frame standing still.

    Args:
        path: The file; one that is there is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container: OutputContainer | None = None
        self._video: VideoStream | None = None
        self._audio: AudioStream | None = None
        self._early = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 closed by close
        self._frames = 0
        self._samples = 0

    def write(self, frame: VideoFrame | None, sound: Stereo) -> None:
        """Append a frame and its sound.

        Args:
            frame: The picture, None while there has been none.
            sound: Its sound.

        Raises:
            OSError: The file cannot be written.
        """
        if frame is None and self._video is None:
            self._early.write((sound.T.clip(-1, 1) * _PCM_SCALE).astype("<i2").tobytes())
            return
        if self._container is None:
            assert frame is not None
            self._open(frame)
            self._write_early(frame)
        assert frame is not None
        self._write_frame(frame)
        self._write_sound(sound)

    def close(self) -> None:
        """Finish the file; without a frame it has sound alone, without sound it is not made.

        Raises:
            OSError: The file cannot be written.
        """
        try:
            if self._container is None and self._early.tell():
                self._open(None)
                self._write_early(None)
            if self._container is not None:
                for stream in (self._video, self._audio):
                    for packet in stream.encode(None) if stream is not None else ():
                        self._container.mux(packet)
        finally:
            self._early.close()
            if self._container is not None:
                self._container.close()

    def _open(self, frame: VideoFrame | None) -> None:
        self._container = av.open(os.fspath(self._path), "w", format="mp4", options=_CONTAINER)
        if frame is not None:
            video = self._container.add_stream(
                "libx264", rate=FRAMES_PER_SECOND, options=dict(_X264)
            )
            video.width, video.height = frame.width // 2 * 2, frame.height // 2 * 2
            video.pix_fmt = "yuv420p"
            for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
                setattr(video.codec_context, name, int(getattr(frame, name)))
            self._video = video
        self._audio = self._container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="stereo")
        self._audio.bit_rate = _AUDIO_BIT_RATE

    def _write_early(self, frame: VideoFrame | None) -> None:
        """The sound from before the first frame."""
        self._early.seek(0)
        size = SAMPLES_PER_FRAME * 2 * 2
        while pcm := self._early.read(size):
            if frame is not None:
                self._write_frame(frame)
            samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(_PCM_SCALE)
            self._write_sound(samples.reshape(-1, 2).T)

    def _write_frame(self, frame: VideoFrame) -> None:
        assert self._container is not None
        assert self._video is not None
        picture = frame.reformat(self._video.width, self._video.height, "yuv420p")
        picture.pts = self._frames
        picture.time_base = Fraction(1, FRAMES_PER_SECOND)
        # What kind of frame it was in its turn is not what it is here.
        picture.pict_type = PictureType.NONE
        self._frames += 1
        for packet in self._video.encode(picture):
            self._container.mux(packet)

    def _write_sound(self, sound: Stereo) -> None:
        assert self._container is not None
        assert self._audio is not None
        planes = np.ascontiguousarray(sound.clip(-1, 1), dtype=np.float32)
        frame = AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
        frame.pts = self._samples
        self._samples += planes.shape[1]
        for packet in self._audio.encode(frame):
            self._container.mux(packet)
