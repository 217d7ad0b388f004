"""The picture of the video: a portrait in YUV in which the region around the mouth is redrawn."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from tritalk.face_geometry import Image, Paster

# BGR to Y, Cb, Cr of ITU-R BT.709 in limited range (16…235 and 16…240), for 8 bits.
_KR, _KB = 0.2126, 0.0722
_KG = 1 - _KR - _KB
_LUMA = np.array([[_KB, _KG, _KR]]) * (219 / 255)
_CHROMA = np.array(
    [
        np.array([1 - _KB, -_KG, -_KR]) / (1 - _KB) / 2,
        np.array([-_KB, -_KG, 1 - _KR]) / (1 - _KR) / 2,
    ]
) * (224 / 255)
_TO_LUMA = np.column_stack([_LUMA, [16.0]])
_TO_CHROMA = np.column_stack([_CHROMA, [128.0, 128.0]])


class Canvas:
    """Draws the frames of one turn; not safe for threads.

    Only the box that a mouth may change is pasted and converted, so every other pixel is the
    portrait's, and a frame costs what the mouth costs, whatever the size of the portrait.

    Args:
        portrait: uint8 `[H, W, 3]` BGR, H and W even.
        paster: Pastes mouths into frames of this portrait.
    """

    def __init__(self, portrait: Image, paster: Paster) -> None:
        self._portrait = portrait
        self._paster = paster
        self._frame = portrait.copy()
        self._i420 = to_i420(portrait)
        height, width = portrait.shape[:2]
        self._box = (_even(paster.box[0], height), _even(paster.box[1], width))
        self._luma = self._i420[:height]
        self._chroma = self._i420[height:].reshape(2, height // 2, width // 2)

    def draw(self, mouth: Image) -> npt.NDArray[np.uint8]:
        """The frame with this mouth.

        Args:
            mouth: uint8 `[256, 256, 3]` BGR, the aligned face with its mouth drawn.

        Returns:
            uint8 `[H * 3 // 2, W]`, planes Y, U, V; valid until the next call.
        """
        rows, columns = self._box
        self._frame[rows, columns] = self._portrait[rows, columns]
        self._paster.paste(mouth, self._frame)
        region = self._frame[rows, columns]
        if region.size:
            self._luma[rows, columns] = _luma(region)
            self._chroma[:, _half(rows), _half(columns)] = _chroma(region)
        return self._i420


def to_i420(image: Image) -> npt.NDArray[np.uint8]:
    """BT.709 limited range planes of a BGR image with even sides: uint8 `[H * 3 // 2, W]`."""
    height, width = image.shape[:2]
    planes = np.empty((height * 3 // 2, width), np.uint8)
    planes[:height] = _luma(image)
    planes[height:] = _chroma(image).reshape(height // 2, width)
    return planes


def _luma(image: Image) -> npt.NDArray[np.uint8]:
    luma: npt.NDArray[np.uint8] = cv2.transform(image, _TO_LUMA)
    return luma


def _chroma(image: Image) -> npt.NDArray[np.uint8]:
    """Cb and Cr: uint8 `[2, H / 2, W / 2]`, each the mean of four pixels."""
    height, width = image.shape[:2]
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    chroma: npt.NDArray[np.uint8] = cv2.transform(half, _TO_CHROMA).transpose(2, 0, 1)
    return chroma


def _even(side: slice, end: int) -> slice:
    """The least slice around one that begins and ends at even pixels."""
    return slice(side.start // 2 * 2, min(end, -(-side.stop // 2) * 2))


def _half(side: slice) -> slice:
    return slice(side.start // 2, side.stop // 2)
