"""Faces and voices made by formulas, for tests of the lip-sync graphs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from tritalk import mel
from tritalk.audio import Samples

Image = npt.NDArray[np.uint8]

FOLDER = Path(__file__).resolve().parent.parent / "export" / "lipsync"
SIZE = 256
SKIN = (140, 170, 215)
DARK_SKIN = (40, 55, 85)


def session(name: str) -> onnxruntime.InferenceSession:
    """A graph of export/lipsync on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(FOLDER / name), options, providers=["CPUExecutionProvider"]
    )


def draw(windows: npt.NDArray[np.float32], faces: Image) -> Image:
    """What the generator draws: windows `[n, 1, 80, 16]`, faces `[n, 256, 256, 3]`."""
    (drawn,) = session("generator.onnx").run(
        ["MOUTH"], {"MEL": windows, "FACE": np.concatenate([faces, faces], 3)}
    )
    return drawn


def face(skin: tuple[int, int, int] = SKIN, *, size: int = SIZE, open_mouth: bool = False) -> Image:
    """An aligned face: skin, lips with the dark line where they meet, or teeth between them."""
    picture = np.empty((size, size, 3), np.uint8)
    picture[:] = skin
    centre = (size // 2, round(0.64 * size))
    lips = tuple(int(0.75 * c) if k < 2 else c for k, c in enumerate(skin))
    cv2.ellipse(picture, centre, (size // 8, size // 20), 0, 0, 360, lips, -1, cv2.LINE_AA)
    if open_mouth:
        opening = (size // 8 - size // 60, size // 28)
        cv2.ellipse(picture, centre, opening, 0, 0, 360, (235, 240, 240), -1, cv2.LINE_AA)
    else:
        left, right = (centre[0] - size // 8, centre[1]), (centre[0] + size // 8, centre[1])
        dark = tuple(int(0.4 * c) for c in skin)
        cv2.line(picture, left, right, dark, max(1, size // 128), cv2.LINE_AA)
    return picture


def vowel(seconds: float = 1.0, *, peak: float = 0.7) -> Samples:
    """An open "ah": a pulse train through the resonances of a wide open mouth."""
    rate = mel.SAMPLE_RATE_HZ
    signal = np.zeros(round(seconds * rate))
    signal[:: rate // 120] = 1.0
    for hertz, width in ((730, 90), (1090, 110), (2440, 170)):
        radius = np.exp(-np.pi * width / rate)
        first, second = 2 * radius * np.cos(2 * np.pi * hertz / rate), -(radius**2)
        before, earlier = 0.0, 0.0
        for k, value in enumerate(signal):
            signal[k] = value + first * before + second * earlier
            before, earlier = signal[k], before
    return (signal * (peak / np.abs(signal).max())).astype(np.float32)


def windows_of(samples: Samples) -> npt.NDArray[np.float32]:
    """The windows of all frames of a recording."""
    spectrogram = mel.mel_spectrogram(samples)
    return mel.windows(spectrogram, range(mel.frame_count(len(samples))))


def silence(frames: int = 1) -> npt.NDArray[np.float32]:
    """Windows in which nothing is heard."""
    return np.full((frames, 1, mel.BANDS, mel.WINDOW_COLUMNS), mel.SILENCE, np.float32)


def opening(drawn: Image, still: Image) -> float:
    """How much a face differs in the opening of its mouth, in levels."""
    size = len(still)
    rows, columns = (
        slice(int(0.63 * size), int(0.68 * size)),
        slice(int(0.45 * size), int(0.55 * size)),
    )
    difference = drawn[rows, columns].astype(int) - still[rows, columns]
    return float(np.abs(difference).mean())
