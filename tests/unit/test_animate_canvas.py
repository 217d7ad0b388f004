from __future__ import annotations

import av
import numpy as np

from tests.animation import grey_avatar
from tritalk.animate.canvas import Canvas, to_i420
from tritalk.face_geometry import CROP_SIZE, Paster, align


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def canvas_of(portrait: np.ndarray) -> tuple[Canvas, Paster]:
    height, width = portrait.shape[:2]
    paster = Paster(width, height, grey_avatar(width, height).to_crop)
    return Canvas(portrait, paster), paster


def test_colours_are_those_of_bt709_in_limited_range() -> None:
    image = np.kron(noise(8, 6), np.ones((2, 2, 1), np.uint8))

    planes = to_i420(image)

    frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(
        format="yuv420p",
        dst_colorspace="ITU709",
        src_color_range="JPEG",
        dst_color_range="MPEG",
    )
    assert np.abs(planes.astype(int) - frame.to_ndarray()).max() <= 1


def test_white_and_black_are_235_and_16() -> None:
    image = np.zeros((2, 4, 3), np.uint8)
    image[:, 2:] = 255

    planes = to_i420(image)

    assert planes[0].tolist() == [16, 16, 235, 235]
    assert planes[2].tolist() == [128, 128, 128, 128]


def test_a_frame_is_what_converting_the_whole_pasted_portrait_gives() -> None:
    portrait = noise(90, 62)
    canvas, paster = canvas_of(portrait)
    mouth = noise(CROP_SIZE, CROP_SIZE)

    drawn = canvas.draw(mouth).copy()

    pasted = portrait.copy()
    paster.paste(mouth, pasted)
    assert np.array_equal(drawn, to_i420(pasted))


def test_a_frame_keeps_nothing_of_the_one_before() -> None:
    portrait = noise(90, 62)
    canvas, _ = canvas_of(portrait)
    other, mouth = noise(CROP_SIZE, CROP_SIZE)[::-1].copy(), noise(CROP_SIZE, CROP_SIZE)

    canvas.draw(other)
    after_another = canvas.draw(mouth).copy()

    fresh, _ = canvas_of(portrait)
    assert np.array_equal(after_another, fresh.draw(mouth))


def test_nothing_changes_outside_the_mouth() -> None:
    portrait = noise(90, 62)
    canvas, paster = canvas_of(portrait)
    rows, columns = paster.box

    drawn = canvas.draw(np.full((CROP_SIZE, CROP_SIZE, 3), 255, np.uint8))[:90].copy()

    changed = drawn != to_i420(portrait)[:90]
    assert changed.any()
    changed[rows, columns] = False
    assert not changed.any()


def test_a_face_beyond_the_edge_of_the_portrait_is_drawn_as_far_as_it_goes() -> None:
    portrait = noise(90, 62)
    beyond = align(np.array([(-60.0, 10), (-40, 10), (-50, 20), (-55, 30), (-45, 30)]))
    canvas = Canvas(portrait, Paster(62, 90, beyond))

    drawn = canvas.draw(noise(CROP_SIZE, CROP_SIZE))

    assert np.array_equal(drawn, to_i420(portrait))
