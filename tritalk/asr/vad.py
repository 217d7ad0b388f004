"""Where speech is: Silero's voice activity detector, and decisions on its probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from tritalk.audio import Samples
from tritalk.onnx_session import open_session

Probabilities = npt.NDArray[np.float32]
"""Of speech in each window, float32 `[windows]`."""

WINDOW = 512
"""Samples that one probability stands for; 32 ms."""

_CONTEXT = 64
_STATE = (1, 1, 128)

_PAUSE = 0.15
"""Probability of speech up to which a window belongs to a pause."""


class Detector:
    """Silero's voice activity detector for 16 kHz, in the form that takes many windows at once.

    Args:
        path: `silero_vad.onnx`, a copy of Silero's `silero_vad_16k_sequence.onnx`.
        threads: Of each operator.

    Raises:
        ModelError: The file is missing or broken.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self._session = open_session(path, threads=threads)

    def listen(self) -> Listener:
        """Begin to listen to one stream of audio."""
        return Listener(self._session)


class Listener:
    """What the detector knows of one stream; made by `Detector.listen`."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._hidden = np.zeros(_STATE, dtype=np.float32)
        self._cell = np.zeros(_STATE, dtype=np.float32)
        # The network sees the end of the window before, and the rest waits for a whole window.
        self._pending = np.zeros(_CONTEXT, dtype=np.float32)

    def hear(self, samples: Samples) -> Probabilities:
        """Go on with the next samples of the stream.

        Args:
            samples: Any number, at 16 kHz.

        Returns:
            One probability for every window that has become whole.
        """
        pending = np.concatenate([self._pending, samples])
        count = (len(pending) - _CONTEXT) // WINDOW
        self._pending = pending[count * WINDOW :]
        if not count:
            return np.zeros(0, dtype=np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(pending, _CONTEXT + WINDOW)
        inputs = {
            "input": np.ascontiguousarray(windows[::WINDOW][:count]),
            "h": self._hidden,
            "c": self._cell,
        }
        outputs = self._session.run(["speech_probs", "hn", "cn"], inputs)
        probabilities, self._hidden, self._cell = outputs
        return np.asarray(probabilities)


def cuts(
    probabilities: Probabilities, begin: int, end: int, *, longest: int
) -> list[tuple[int, int]]:
    """Cut a span at its pauses into pieces of a bounded length.

    Each cut is put into the middle of the longest pause in the second half of what may still be one
    piece; where nobody pauses, at the point that sounds least like speech.

    Args:
        probabilities: Of the windows of the whole audio.
        begin: First sample of the span.
        end: The sample behind its last.
        longest: Most samples of a piece, at least two windows.

    Returns:
        The pieces in order; together they are the span.
    """
    pieces = []
    while end - begin > longest:
        first, last = (begin + longest // 2) // WINDOW + 1, (begin + longest) // WINDOW
        cut = (first + quietest(probabilities[first:last])) * WINDOW + WINDOW // 2
        pieces.append((begin, cut))
        begin = cut
    return [*pieces, (begin, end)]


def quietest(probabilities: Probabilities) -> int:
    """The window in the middle of the longest pause, or that sounds least like speech.

    Args:
        probabilities: Of one window at least.
    """
    lowest = np.flatnonzero(probabilities <= max(float(probabilities.min()), _PAUSE))
    runs = np.split(lowest, np.flatnonzero(np.diff(lowest) > 1) + 1)
    pause = max(runs, key=len)
    return int(pause[len(pause) // 2])
