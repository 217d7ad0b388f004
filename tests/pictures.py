"""Portraits for tests, all made from one public-domain photograph, and files made of them."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image as PillowImage

from export import assets
from tritalk.face_geometry import Image


def astronaut() -> Image:
    """The photograph: uint8 [512, 512, 3] BGR; one face, 90 pixels wide, smiling with teeth."""
    with PillowImage.open(assets.path("astronaut")) as image:
        return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])


def head() -> Image:
    """The astronaut's head alone: uint8 [256, 256, 3] BGR."""
    return np.ascontiguousarray(astronaut()[:256, 96:352])


def file_of(image: Image, kind: str = "PNG", **options: object) -> bytes:
    """A BGR image as the bytes of a file of one of Pillow's formats."""
    return pillow_file(PillowImage.fromarray(image[..., ::-1]), kind, **options)


def pillow_file(image: PillowImage.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def two_faces(width_ratio: float = 1.0) -> Image:
    """Two people side by side, the right one's face `width_ratio` times as wide."""
    one = head()
    side = round(256 * width_ratio)
    other = np.full_like(one, 200)
    other[256 - side :, :side] = cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA)
    return np.hstack([one, other])


def blurred(sigma: float) -> Image:
    return cv2.GaussianBlur(astronaut(), (0, 0), sigma)


def darkened(factor: float) -> Image:
    return (astronaut() * factor).astype(np.uint8)


def scaled(factor: float) -> Image:
    """The photograph at another size."""
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(astronaut(), None, fx=factor, fy=factor, interpolation=method)


def small_on_a_wall(side: int) -> Image:
    """The photograph, `side` pixels wide, on a grey wall of 512 by 512 pixels."""
    wall = np.full((512, 512, 3), 128, np.uint8)
    wall[100 : 100 + side, 100 : 100 + side] = cv2.resize(
        astronaut(), (side, side), interpolation=cv2.INTER_AREA
    )
    return wall


def tilted(degrees: float) -> Image:
    """The head turned in the picture's plane."""
    turn = cv2.getRotationMatrix2D((223.0, 120.0), degrees, 1)
    return cv2.warpAffine(astronaut(), turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)


def landscape() -> Image:
    """A picture without a face."""
    y, x = np.mgrid[:400, :600]
    sky = np.stack([230 - y / 4, 180 - y / 5, 140 - y / 6], axis=-1)
    hills = (y > 250 + 40 * np.sin(x / 70))[..., None]
    return np.where(hills, (60, 120, 70), sky).astype(np.uint8)
