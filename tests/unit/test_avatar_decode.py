from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from tests import pictures
from tritalk.avatar.decode import decode
from tritalk_client.errors import ErrorCode, TritalkError

SCENE = pictures.landscape()
RGB = PillowImage.fromarray(SCENE[..., ::-1])
LIMIT = 16_000_000


def read(data: bytes) -> np.ndarray:
    return decode(data, max_pixels=LIMIT).pixels


def difference(pixels: np.ndarray, expected: np.ndarray = SCENE) -> float:
    assert pixels.shape == expected.shape
    assert pixels.dtype == np.uint8
    return float(np.abs(pixels.astype(int) - expected).mean())


@pytest.mark.parametrize(
    ("kind", "most"),
    [("PNG", 0), ("BMP", 0), ("TIFF", 0), ("PPM", 0), ("TGA", 0), ("JPEG", 2), ("WEBP", 2)]
    + [("AVIF", 3), ("GIF", 8), ("JPEG2000", 1)],
)
def test_common_formats_give_the_same_picture(kind, most):
    assert difference(read(pictures.file_of(SCENE, kind))) <= most


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_as_its_exif_says(orientation):
    # What each orientation did to an upright picture, undone by the decoder.
    stored = {
        1: SCENE,
        2: SCENE[:, ::-1],
        3: SCENE[::-1, ::-1],
        4: SCENE[::-1],
        5: SCENE.transpose(1, 0, 2),
        6: np.rot90(SCENE),
        7: np.rot90(SCENE, 2).transpose(1, 0, 2),
        8: np.rot90(SCENE, -1),
    }[orientation]
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    assert difference(read(pictures.file_of(stored, "PNG", exif=exif))) == 0


def test_transparent_parts_show_a_neutral_backdrop():
    rgba = RGB.convert("RGBA")
    alpha = np.full((400, 600), 255, np.uint8)
    alpha[:100], alpha[100:200] = 0, 128
    rgba.putalpha(PillowImage.fromarray(alpha))
    pixels = read(pictures.pillow_file(rgba))
    assert np.all(pixels[:100] == 200)
    assert np.abs(pixels[100:200].astype(int) - (SCENE[100:200] * 0.5 + 100)).max() <= 2
    assert np.array_equal(pixels[200:], SCENE[200:])


def test_a_palette_with_a_transparent_colour_is_composed_too():
    palette = PillowImage.new("P", (300, 300), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(1, (0, 0, 150, 300))
    pixels = read(pictures.pillow_file(palette, transparency=0))
    assert tuple(pixels[10, 10]) == (255, 0, 0)
    assert tuple(pixels[10, 290]) == (200, 200, 200)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_shown_in_its_colours(kind):
    assert difference(read(pictures.pillow_file(RGB.convert("CMYK"), kind))) <= 2


def test_16_bit_pictures_keep_their_brightness():
    grey = SCENE[..., :1].repeat(3, axis=2)
    deep = grey.astype(np.uint16) * 257
    png = cv2.imencode(".png", deep[..., 0])[1].tobytes()
    assert difference(read(png), grey) <= 1
    tiff = pictures.pillow_file(PillowImage.fromarray(deep[..., 0]), "TIFF")
    assert difference(read(tiff), grey) <= 1
    colour = cv2.imencode(".png", SCENE.astype(np.uint16) * 257)[1].tobytes()
    assert difference(read(colour)) <= 1


def test_floating_point_pictures_are_scaled_to_their_range():
    grey = SCENE[..., :1].repeat(3, axis=2)
    data = pictures.pillow_file(PillowImage.fromarray(grey[..., 0] / np.float32(255)), "TIFF")
    assert difference(read(data), grey) <= 1


def test_grey_and_one_bit_pictures_become_colour():
    assert difference(read(pictures.pillow_file(RGB.convert("L")))) < 40
    assert set(np.unique(read(pictures.pillow_file(RGB.convert("1"))))) == {0, 255}


def test_colours_of_another_profile_are_converted_to_srgb():
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    profile = ImageCms.ImageCmsProfile(srgb).tobytes()
    assert difference(read(pictures.file_of(SCENE, "PNG", icc_profile=profile))) <= 1
    wrong_kind = ImageCms.ImageCmsProfile(lab).tobytes()
    assert difference(read(pictures.file_of(SCENE, "PNG", icc_profile=wrong_kind))) == 0
    assert difference(read(pictures.file_of(SCENE, "PNG", icc_profile=b"no profile"))) == 0


def test_of_an_animation_the_first_picture_is_used_and_that_is_said():
    other = PillowImage.new("RGB", RGB.size)
    gif = pictures.pillow_file(RGB, "GIF", save_all=True, append_images=[other])
    picture = decode(gif, max_pixels=LIMIT)
    assert difference(picture.pixels) <= 8
    assert picture.warnings == ("of the file's several pictures only the first is used",)


def test_a_picture_over_the_limit_is_refused_with_both_numbers():
    large = pictures.pillow_file(PillowImage.new("RGB", (5000, 4000)))
    with pytest.raises(TritalkError, match=r"20\.0 megapixels, at most 16 are taken") as caught:
        read(large)
    assert caught.value.code is ErrorCode.TOO_LARGE


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [5000, 10_000, 14_000, 60_000, 2**31 - 1])
def test_a_bomb_is_refused_by_its_header(side):
    with pytest.raises(TritalkError) as caught:
        read(png_header(side, side))
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_compressed_text_in_a_png_does_not_unpack_without_end():
    text = b"comment\0\0" + zlib.compress(bytes(100_000_000))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + text))
    whole = pictures.file_of(SCENE)
    with pytest.raises(TritalkError) as caught:
        read(whole[:33] + chunk + whole[33:])
    assert caught.value.code is ErrorCode.BAD_IMAGE


@pytest.mark.parametrize(
    "data",
    [b"hello, I am portrait.png\n" * 100, b"\0" * 1000, b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"]
    + [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg xmlns='x'></svg>"],
    ids=["text", "zeros", "png", "gif", "bmp", "eps", "svg"],
)
def test_what_is_no_image_is_called_so(data):
    with pytest.raises(TritalkError) as caught:
        read(data)
    assert caught.value.code is ErrorCode.BAD_IMAGE


def test_an_empty_file_is_called_empty():
    with pytest.raises(TritalkError, match="the image is empty"):
        read(b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "TGA"])
def test_half_a_file_is_refused(kind):
    whole = pictures.file_of(SCENE, kind)
    with pytest.raises(TritalkError) as caught:
        read(whole[: len(whole) // 2])
    assert caught.value.code is ErrorCode.BAD_IMAGE


@pytest.mark.parametrize(
    "kind",
    ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "TGA", "GIF", "PPM", "ICO", "PCX"]
    + ["SGI"],
)
def test_whatever_is_wrong_with_a_file_the_answer_is_an_image_or_a_typed_error(kind):
    small = PillowImage.fromarray(SCENE[::8, ::8, ::-1])
    whole = pictures.pillow_file(small, kind)
    random = np.random.default_rng(7)
    outcomes = set()
    for _ in range(150):
        damaged = np.frombuffer(whole, np.uint8).copy()
        # Headers are where a wrong byte does most.
        places = random.integers(0, min(len(whole), random.choice([64, 512, len(whole)])), 4)
        damaged[places] = random.integers(0, 256, 4)
        outcomes.add(outcome(damaged.tobytes()))
        outcomes.add(outcome(whole[: places[0]]))
    assert outcomes <= {"image", ErrorCode.BAD_IMAGE, ErrorCode.TOO_LARGE}
    assert ErrorCode.BAD_IMAGE in outcomes


def outcome(data: bytes) -> str:
    try:
        read(data)
    except TritalkError as error:
        return error.code
    return "image"
