"""Where the words of the user come from: the keyboard, or a microphone."""

from __future__ import annotations

import importlib
import os
import queue
import select
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tritalk_client.wire import INPUT_SAMPLE_RATE_HZ

_CHUNK_S = 0.1
_READ_BYTES = 65_536
# A device that delivers nothing for so long was unplugged.
_DEVICE_S = 5.0


class Keyboard:
    """Lines from a terminal or a pipe, without waiting for them.

    Args:
        descriptor: Its file descriptor.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self.ended = False
        self.interactive = os.isatty(descriptor)
        """Whether a person types, who sees what happens."""

    def lines(self) -> list[str]:
        """The lines that have come since the last call, without those that are blank."""
        while not self.ended and select.select([self._descriptor], [], [], 0)[0]:
            data = os.read(self._descriptor, _READ_BYTES)
            self.ended = not data
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        if self.ended and self._rest:
            lines, self._rest = [*lines, self._rest], b""
        decoded = [line.decode(errors="replace").strip() for line in lines]
        return [line for line in decoded if line]


@dataclass(frozen=True)
class Device:
    """A microphone, or why there is none.

    Attributes:
        library: The module `sounddevice`, None when there is no microphone.
        missing: Why there is none, and what helps.
    """

    library: Any
    missing: str = ""

    def chunks(self) -> Iterator[bytes]:
        """What is spoken into it, in chunks of PCM, until the iterator is closed.

        Raises:
            OSError: It delivers nothing any more.
        """
        heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        stream = self.library.RawInputStream(
            samplerate=INPUT_SAMPLE_RATE_HZ,
            blocksize=int(_CHUNK_S * INPUT_SAMPLE_RATE_HZ),
            channels=1,
            dtype="int16",
            callback=lambda data, frames, time, status: heard.put(bytes(data)),
        )
        with stream:
            while True:
                try:
                    yield heard.get(timeout=_DEVICE_S)
                except queue.Empty:
                    raise OSError(f"the microphone was silent for {_DEVICE_S:g} s") from None


def find_device() -> Device:
    """The microphone of this machine."""
    try:
        # By its name: it is optional, and has no types.
        library: Any = importlib.import_module("sounddevice")
    except ImportError:
        return Device(
            None, "no microphone without sounddevice: pip install 'tritalk-client[microphone]'"
        )
    except OSError:
        return Device(
            None,
            "no microphone without PortAudio: install it (on Debian: apt install libportaudio2)",
        )
    try:
        library.check_input_settings(channels=1, dtype="int16", samplerate=INPUT_SAMPLE_RATE_HZ)
    except (library.PortAudioError, ValueError) as error:
        return Device(None, f"no microphone: {error}")
    return Device(library)
