"""Image files, as people have them, to upright sRGB pixels."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageCms, ImageOps, UnidentifiedImageError

from tritalk.face_geometry import Image
from tritalk_client.errors import ErrorCode, TritalkError

# Raster formats alone: some of Pillow's others start programs (EPS) or draw nothing.
_WANTED = (
    *("PNG", "JPEG", "MPO", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "TGA", "PPM"),
    *("ICO", "PCX", "SGI", "PSD"),
)
PillowImage.init()
FORMATS = tuple(name for name in _WANTED if name in PillowImage.OPEN)
"""Pillow's names of the formats that are taken."""

_NEUTRAL = (200, 200, 200)
"""What shows through transparent parts: the grey of a studio backdrop."""

# What Pillow's decoders raise when a file is not what its header says.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, RuntimeError),
    *(OverflowError, ZeroDivisionError, struct.error, zlib.error),
)


@dataclass(frozen=True)
class Picture:
    """A decoded image file."""

    pixels: Image
    """uint8 [H, W, 3], BGR, sRGB, upright."""
    warnings: tuple[str, ...]


def decode(data: bytes, *, max_pixels: int) -> Picture:
    """Decode an image file.

    Orientation (EXIF), colour profile, transparency and more than 8 bits are taken care of; of an
    animation the first picture is used.

    Args:
        data: The file.
        max_pixels: Most pixels, checked against the header before anything is decoded.

    Raises:
        TritalkError: BAD_IMAGE when it is not a whole image of a known format, TOO_LARGE over
            `max_pixels`.
    """
    if not data:
        raise TritalkError(ErrorCode.BAD_IMAGE, "the image is empty; send the bytes of a file")
    with warnings.catch_warnings():
        # What Pillow only warns of, such as odd metadata, does not change the pixels.
        warnings.simplefilter("ignore")
        try:
            with PillowImage.open(io.BytesIO(data), formats=FORMATS) as image:
                return _read(image, max_pixels)
        except UnidentifiedImageError as error:
            raise TritalkError(
                ErrorCode.BAD_IMAGE,
                "the file is not an image of a known format; send PNG, JPEG, WebP, AVIF, TIFF, "
                "GIF or BMP",
            ) from error
        except PillowImage.DecompressionBombError as error:
            raise _too_large("more than 178", max_pixels) from error
        except _BROKEN as error:
            raise TritalkError(
                ErrorCode.BAD_IMAGE,
                f"the image is damaged or incomplete ({error}); send the whole file",
            ) from error


def _read(image: PillowImage.Image, max_pixels: int) -> Picture:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise _too_large(f"{pixels / 1e6:.1f}", max_pixels)
    notes = []
    if getattr(image, "is_animated", False) and image.format != "MPO":
        notes.append("of the file's several pictures only the first is used")
    image.load()
    upright = ImageOps.exif_transpose(image)
    rgb = np.asarray(_to_rgb(upright))
    return Picture(np.ascontiguousarray(rgb[..., ::-1]), tuple(notes))


def _too_large(megapixels: str, max_pixels: int) -> TritalkError:
    return TritalkError(
        ErrorCode.TOO_LARGE,
        f"the image has {megapixels} megapixels, at most {max_pixels / 1e6:g} are taken; "
        "scale it down",
    )


def _to_rgb(image: PillowImage.Image) -> PillowImage.Image:
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        image = PillowImage.fromarray(_to_8_bit(np.asarray(image, np.float64)))
    image = _to_srgb(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        backdrop = PillowImage.new("RGBA", image.size, (*_NEUTRAL, 255))
        image = PillowImage.alpha_composite(backdrop, image)
    return image.convert("RGB")


def _to_8_bit(grey: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.uint8]:
    """Grey values of any range to bytes; files do not say their range, so it is concluded."""
    finite = np.nan_to_num(grey, nan=0.0, posinf=0.0, neginf=0.0)
    top = finite.max(initial=0.0)
    full = next((limit for limit in (1.0, 255.0, 65535.0) if top <= limit), top)
    return (np.clip(finite / full, 0, 1) * 255 + 0.5).astype(np.uint8)


def _to_srgb(image: PillowImage.Image) -> PillowImage.Image:
    """The image in sRGB where it carries the profile of another colour space."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    mode = image.mode if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode=mode
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        # A profile that is broken or for another kind of pixels says nothing about these.
        return image
    return image if converted is None else converted
