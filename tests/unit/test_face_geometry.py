from __future__ import annotations

import numpy as np
import pytest

from tritalk import face_geometry as geometry

FACE = np.array([[200.0, 103.0], [247.0, 101.0], [220.0, 124.0], [199.0, 143.0], [240.0, 145.0]])


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [96, 256, 512])
def test_alignment_brings_eyes_and_mouth_to_their_fractions_of_the_crop(size):
    placed = geometry.fractions(geometry.transform(FACE, geometry.align(FACE, size)), size)
    assert placed[:2].mean(axis=0) == pytest.approx((0.5, 0.34), abs=1e-9)
    assert placed[3] == pytest.approx((0.375, 0.64), abs=1e-9)
    assert placed[4] == pytest.approx((0.625, 0.64), abs=1e-9)


def test_alignment_of_a_twice_as_large_crop_is_the_resized_alignment():
    twice = geometry.resize(geometry.align(FACE, 256), 2)
    assert twice == pytest.approx(geometry.align(FACE, 512))


def test_a_face_without_extent_cannot_be_aligned():
    flat = FACE.copy()
    flat[:, 1] = 100.0
    with pytest.raises(ValueError, match="one line"):
        geometry.align(flat)


def test_crop_of_an_enlarged_portrait_shows_the_same_picture():
    ramp = np.zeros((300, 400, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(300)[:, None] // 2, np.arange(400)[None, :] // 2
    tripled = ramp.repeat(3, axis=0).repeat(3, axis=1)
    small = geometry.crop(ramp, geometry.align(FACE))
    large = geometry.crop(tripled, geometry.align((FACE + 0.5) * 3 - 0.5))
    assert np.abs(small.astype(int) - large).max() <= 1


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = geometry.crop(stripes, np.array([[0.25, 0.0, 0.0], [0.0, 0.25, 0.0]]), 128)
    assert np.abs(crop[8:-8, 8:-8].astype(int) - 128).max() <= 1


def test_the_mask_covers_the_lower_face_and_fades_to_its_edges():
    assert geometry.paste_mask(np.array(0.5), np.array(0.64)) == 1
    across = geometry.paste_mask(np.linspace(0.05, 0.5, 100), np.full(100, 0.64))
    assert across[0] == 0
    assert np.all(np.diff(across) >= 0)
    assert across[-1] == 1
    assert np.all(geometry.paste_mask(np.linspace(0, 1, 50), np.full(50, 0.41)) == 0)


def test_a_paste_changes_no_pixel_outside_the_mask():
    portrait = noise(300, 400)
    to_crop = geometry.align(FACE)
    frame = portrait.copy()
    geometry.Paster(400, 300, to_crop).paste(noise(256, 256, seed=1), frame)

    y, x = np.mgrid[:300, :400]
    pixels = np.column_stack([x.ravel(), y.ravel()])
    place = geometry.fractions(geometry.transform(pixels, to_crop)).reshape(300, 400, 2)
    mask = geometry.paste_mask(place[..., 0], place[..., 1])
    assert np.array_equal(frame[mask == 0], portrait[mask == 0])
    assert np.mean(frame[mask == 1] != portrait[mask == 1]) > 0.9


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 5.0])
def test_pasting_the_face_itself_back_leaves_the_portrait_as_it_was(scale):
    height, width = int(300 * scale), int(400 * scale)
    y, x = np.mgrid[:height, :width] / scale
    waves = 128 + 60 * np.sin(x / 9)[..., None] + 60 * np.cos(y / 11)[..., None]
    portrait = np.broadcast_to(waves, (height, width, 3)).astype(np.uint8)
    to_crop = geometry.align((FACE + 0.5) * scale - 0.5)
    frame = portrait.copy()
    geometry.Paster(width, height, to_crop).paste(geometry.crop(portrait, to_crop), frame)
    assert np.abs(frame.astype(int) - portrait).max() <= 8
    assert np.abs(frame.astype(int) - portrait).mean() < 0.2


def test_a_face_that_reaches_over_the_portraits_edge_is_pasted_as_far_as_it_goes():
    portrait = noise(150, 230)
    frame = portrait.copy()
    geometry.Paster(230, 150, geometry.align(FACE)).paste(noise(256, 256, seed=1), frame)
    assert np.any(frame != portrait)


def test_crops_of_any_side_are_taken():
    frame = np.zeros((300, 400, 3), np.uint8)
    grey = np.full((96, 96, 3), 100, np.uint8)
    geometry.Paster(400, 300, geometry.align(FACE, 96), crop_size=96).paste(grey, frame)
    assert tuple(frame[144, 220]) == (100, 100, 100)


def test_arrays_of_another_portrait_are_refused():
    paster = geometry.Paster(400, 300, geometry.align(FACE))
    with pytest.raises(ValueError, match=r"frame must be uint8 \[300, 400, 3\]"):
        paster.paste(noise(256, 256), noise(400, 300))
    with pytest.raises(ValueError, match=r"mouth must be uint8 \[256, 256, 3\]"):
        paster.paste(noise(96, 96), noise(300, 400))
