"""Where the mouth is: the alignment of a face, and pasting a drawn mouth back into its portrait.

Every crop shows the eye midpoint and the mouth's corners at the same fractions of its size, so the
place, width and tilt of the mouth are constants for whatever draws it. Points are `(x, y)` in
pixels, and a whole number is the centre of a pixel, as in OpenCV's warps; a fraction f of a crop of
n pixels lies at f * n - 0.5.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[np.uint8]
"""uint8 [height, width, 3], BGR."""
Points: TypeAlias = npt.NDArray[np.floating[Any]]
"""[n, 2]: (x, y) in pixels."""
Affine: TypeAlias = npt.NDArray[np.float64]
"""float64 [2, 3]: maps (x, y, 1) to (x, y)."""

CROP_SIZE = 256
"""Side of the crop that the lip-sync generator works on, in pixels."""
EYES = (0.5, 0.34)
"""Midpoint between the eyes, in fractions of the crop."""
MOUTH_Y = 0.64
"""Height of both corners of the mouth, in fractions of the crop."""
MOUTH_HALF_WIDTH = 0.125
"""Distance of each corner of the mouth from the middle, in fractions of the crop."""

# The part of the crop that a mouth may change, in fractions of the crop: where the paste mask
# reaches 0, and how wide its soft edge is.
_MASK_HALF_WIDTH = 0.40
_MASK_TOP = 0.42
_MASK_BOTTOM = 0.985
_MASK_SIDE_EDGE = 0.06
_MASK_TOP_EDGE = 0.06
_MASK_BOTTOM_EDGE = 0.04

# Triangles flatter than this (area over squared longest side) have no useful affine.
_FLATTEST_TRIANGLE = 1e-3


def align(landmarks: Points, size: int = CROP_SIZE) -> Affine:
    """The exact affine that brings a face into its place in the crop.

    Args:
        landmarks: [5, 2] in YuNet's order: right eye, left eye, nose, right and left corner of the
            mouth, right and left being the person's own.
        size: Side of the crop in pixels.

    Returns:
        float64 [2, 3], portrait pixels to crop pixels.

    Raises:
        ValueError: The eyes and the mouth lie on one line.
    """
    points = np.asarray(landmarks, np.float64)
    eyes, right, left = points[:2].mean(axis=0), points[3], points[4]
    area = abs(np.linalg.det([right - eyes, left - eyes])) / 2
    longest = max(np.linalg.norm(side) for side in (right - eyes, left - eyes, left - right))
    if not area > _FLATTEST_TRIANGLE * longest**2:
        raise ValueError("the eyes and the mouth's corners lie on one line")
    source = np.column_stack([np.stack([eyes, right, left]), np.ones(3)])
    target = np.array([EYES, (0.5 - MOUTH_HALF_WIDTH, MOUTH_Y), (0.5 + MOUTH_HALF_WIDTH, MOUTH_Y)])
    return np.ascontiguousarray(np.linalg.solve(source, target * size - 0.5).T)


def resize(to_crop: Affine, factor: float) -> Affine:
    """The same alignment for a crop whose side is `factor` times as long."""
    resized = to_crop * factor
    resized[:, 2] += (factor - 1) / 2
    return resized


def transform(points: Points, affine: Affine) -> npt.NDArray[np.float64]:
    """Points [n, 2] through an affine."""
    moved: npt.NDArray[np.float64] = np.asarray(points, np.float64) @ affine[:, :2].T + affine[:, 2]
    return moved


def fractions(points: Points, size: int = CROP_SIZE) -> npt.NDArray[np.float64]:
    """Points in pixels of a crop as fractions of its side."""
    return (np.asarray(points, np.float64) + 0.5) / size


def warp(image: Image, affine: Affine, size: tuple[int, int]) -> Image:
    """Draw an image through an affine, without aliasing; its edge pixels go on beyond its edges.

    Args:
        image: uint8 [H, W, 3].
        affine: Pixels of the image to pixels of the result.
        size: Width and height of the result.
    """
    shrink = _whole_shrink(affine)
    if shrink > 1:
        image, affine = _shrunk(image, shrink), _after_shrink(affine, shrink)
    warped: Image = cv2.warpAffine(
        image, affine, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return warped


def crop(portrait: Image, to_crop: Affine, size: int = CROP_SIZE) -> Image:
    """The aligned face: uint8 [size, size, 3]."""
    return warp(portrait, to_crop, (size, size))


def paste_mask(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """How much of a drawn crop replaces the portrait, 0 to 1, at fractions of the crop."""
    side = _rise((_MASK_HALF_WIDTH - np.abs(x - 0.5)) / _MASK_SIDE_EDGE)
    top = _rise((y - _MASK_TOP) / _MASK_TOP_EDGE)
    bottom = _rise((_MASK_BOTTOM - y) / _MASK_BOTTOM_EDGE)
    mask: npt.NDArray[np.float32] = (side * top * bottom).astype(np.float32)
    return mask


class Paster:
    """Pastes crops with a drawn mouth into the frames of one portrait.

    All that is the same for every frame is computed once; a paste touches the rectangle around the
    mask alone, and no pixel where the mask is 0 changes. Safe to use from several threads.

    Args:
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
        to_crop: The face's alignment in them.
        crop_size: Side of the crops in pixels.
    """

    def __init__(
        self, width: int, height: int, to_crop: Affine, *, crop_size: int = CROP_SIZE
    ) -> None:
        self._frame_shape = (height, width, 3)
        self._crop_shape = (crop_size, crop_size, 3)
        from_crop = cv2.invertAffineTransform(to_crop)
        corners = np.array(
            [
                (0.5 + side * _MASK_HALF_WIDTH, y)
                for side in (-1, 1)
                for y in (_MASK_TOP, _MASK_BOTTOM)
            ]
        )
        outline = transform(corners * crop_size - 0.5, from_crop)
        limits = np.array([width, height])
        left, top = np.clip(np.floor(outline.min(axis=0)), 0, limits).astype(int)
        right, bottom = np.clip(np.ceil(outline.max(axis=0)) + 1, 0, limits).astype(int)
        self.box = (slice(int(top), int(bottom)), slice(int(left), int(right)))
        """Rows and columns of a frame outside which nothing changes."""

        ys, xs = np.mgrid[top:bottom, left:right]
        place = fractions(
            transform(np.column_stack([xs.ravel(), ys.ravel()]), to_crop), crop_size
        ).reshape(*xs.shape, 2)
        weight = paste_mask(place[..., 0], place[..., 1])
        self._new_weight = np.ascontiguousarray(weight)
        self._old_weight = np.ascontiguousarray(1 - weight)
        into_box = from_crop - [[0, 0, left], [0, 0, top]]
        self._shrink = _whole_shrink(into_box)
        self._into_box = _after_shrink(into_box, self._shrink)

    def paste(self, mouth: Image, frame: Image) -> None:
        """Paste a crop into a frame, in place.

        Args:
            mouth: uint8 [crop_size, crop_size, 3], the aligned face with its mouth drawn.
            frame: uint8 [H, W, 3], the portrait or a changed copy of it; is written to.

        Raises:
            ValueError: An array has another shape or type than this portrait's.
        """
        _check("mouth", mouth, self._crop_shape)
        _check("frame", frame, self._frame_shape)
        region = frame[self.box]
        if region.size == 0:
            return
        drawn = cv2.warpAffine(
            _shrunk(mouth, self._shrink),
            self._into_box,
            region.shape[1::-1],
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        region[:] = cv2.blendLinear(drawn, region, self._new_weight, self._old_weight)


def _rise(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """0 below 0, 1 above 1, and a curve without corners between (smoothstep)."""
    t = np.clip(x, 0, 1)
    smooth: npt.NDArray[Any] = t * t * (3 - 2 * t)
    return smooth


def _scale(affine: Affine) -> float:
    """How many times longer an affine makes things, on the whole."""
    return float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))


def _whole_shrink(affine: Affine) -> int:
    """By what whole number an image is averaged down before a warp to less than half its size.

    A bicubic warp skips pixels below that; above it, averaging only costs sharpness.
    """
    return max(1, math.ceil(0.5 / _scale(affine)))


def _shrunk(image: Image, shrink: int) -> Image:
    if shrink == 1:
        return image
    height, width = image.shape[:2]
    # Whole blocks only, so that the smaller image has exactly the scale that the affine assumes.
    pad = ((0, -height % shrink), (0, -width % shrink), (0, 0))
    padded = np.pad(image, pad, mode="edge")
    size = (padded.shape[1] // shrink, padded.shape[0] // shrink)
    smaller: Image = cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
    return smaller


def _after_shrink(affine: Affine, shrink: int) -> Affine:
    """The affine for an image that was averaged down: its pixel i covers shrink*i ... ."""
    changed = affine.copy()
    changed[:, 2] += affine[:, :2].sum(axis=1) * (shrink - 1) / 2
    changed[:, :2] *= shrink
    return changed


def _check(name: str, array: Image, shape: tuple[int, int, int]) -> None:
    if array.shape != shape or array.dtype != np.uint8:
        raise ValueError(
            f"{name} must be uint8 {list(shape)}, got {array.dtype} {list(array.shape)}"
        )
