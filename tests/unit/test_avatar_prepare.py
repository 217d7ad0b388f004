from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from tests import pictures
from tritalk import environment
from tritalk import face_geometry as geometry
from tritalk.avatar.detector import FaceDetector
from tritalk.avatar.mesh import FaceMesh, Mesh
from tritalk.avatar.prepare import AvatarMaker, fit
from tritalk.avatar.settings import AvatarSettings
from tritalk.image_store import PreparedAvatar
from tritalk.model_files import ModelError
from tritalk_client.errors import ErrorCode, TritalkError

WEIGHTS = environment.repository_root() / "model_repository" / "avatar" / "1"
MODELS = ("face_detector.onnx", "face_landmarker.task", "mouth_closer.onnx")


@pytest.fixture(scope="module")
def maker() -> AvatarMaker:
    return AvatarMaker(WEIGHTS, AvatarSettings())


@pytest.fixture(scope="module")
def measure():
    """The mesh of the one face of a picture."""
    detector = FaceDetector(WEIGHTS / "face_detector.onnx", confidence=0.7)
    mesh = FaceMesh(WEIGHTS / "face_landmarker.task")

    def measure(picture: geometry.Image) -> Mesh:
        (face,) = detector(picture)
        return mesh(picture, face)

    return measure


@pytest.fixture(scope="module")
def astronaut(maker: AvatarMaker) -> PreparedAvatar:
    return maker.prepare(pictures.file_of(pictures.astronaut()))


def refused(maker: AvatarMaker, image: bytes) -> TritalkError:
    with pytest.raises(TritalkError) as caught:
        maker.prepare(image)
    return caught.value


def warned(maker: AvatarMaker, picture: geometry.Image) -> str:
    return " | ".join(maker.prepare(pictures.file_of(picture)).info.warnings)


def eyes_and_mouth(avatar: PreparedAvatar) -> np.ndarray:
    """Where the alignment has the eyes' midpoint and the mouth's corners, in the portrait."""
    places = np.array([[0.5, 0.34], [0.375, 0.64], [0.625, 0.64]]) * geometry.CROP_SIZE - 0.5
    return geometry.transform(places, cv2.invertAffineTransform(avatar.to_crop))


def test_a_good_portrait_keeps_its_size_and_its_face_is_found(astronaut):
    assert (astronaut.info.width, astronaut.info.height) == (512, 512)
    assert astronaut.portrait.shape == (512, 512, 3)
    assert astronaut.info.warnings == ()
    box = astronaut.info.face
    assert box.x == pytest.approx(178, abs=5)
    assert box.y == pytest.approx(63, abs=5)
    assert box.width == pytest.approx(90, abs=8)
    assert box.height == pytest.approx(113, abs=10)


def test_an_open_mouth_is_closed(astronaut, measure):
    assert measure(pictures.astronaut()).lip_gap > 0.1
    assert measure(astronaut.portrait).lip_gap < 0.01


def test_no_teeth_are_left_between_closed_lips(astronaut, measure):
    def redness(portrait: geometry.Image) -> float:
        """How much redder than the chin it is between the lips: teeth are less so, lips more."""
        points = measure(portrait).points
        red = cv2.cvtColor(portrait, cv2.COLOR_BGR2LAB)[..., 1].astype(float)

        def around(place: np.ndarray) -> float:
            x, y = np.round(place).astype(int)
            return float(red[y - 1 : y + 2, x - 1 : x + 2].mean())

        lips = [(81, 178), (82, 87), (13, 14), (312, 317), (311, 402)]
        between = [around(points[list(pair)].mean(axis=0)) for pair in lips]
        return min(between) - around(points[[18, 200]].mean(axis=0))

    assert redness(pictures.astronaut()) < 0
    assert redness(astronaut.portrait) > 2


def test_closing_changes_the_lower_face_alone(astronaut):
    changed = np.any(astronaut.portrait != pictures.astronaut(), axis=2)
    y, x = np.nonzero(changed)
    box = astronaut.info.face
    assert y.min() > box.y + 0.4 * box.height
    assert y.max() < box.y + 1.3 * box.height
    assert x.min() > box.x - 0.4 * box.width
    assert x.max() < box.x + 1.4 * box.width


def test_the_face_is_aligned_on_the_mesh_of_the_closed_mouth(astronaut, measure):
    placed = geometry.transform(measure(astronaut.portrait).landmarks, astronaut.to_crop)
    eyes, right, left = placed[:2].mean(axis=0), placed[3], placed[4]
    assert geometry.fractions(eyes[None])[0] == pytest.approx((0.5, 0.34), abs=0.01)
    assert geometry.fractions(right[None])[0] == pytest.approx((0.375, 0.64), abs=0.01)
    assert geometry.fractions(left[None])[0] == pytest.approx((0.625, 0.64), abs=0.01)
    assert np.array_equal(astronaut.face, geometry.crop(astronaut.portrait, astronaut.to_crop))


def test_a_closed_mouth_is_left_alone(astronaut, maker):
    again = maker.prepare(pictures.file_of(astronaut.portrait))
    assert np.array_equal(again.portrait, astronaut.portrait)


def test_the_same_file_gives_the_same_avatar(astronaut, maker):
    again = maker.prepare(pictures.file_of(pictures.astronaut()))
    assert again.info == astronaut.info
    assert np.array_equal(again.portrait, astronaut.portrait)
    assert np.array_equal(again.to_crop, astronaut.to_crop)


@pytest.mark.parametrize("scale", [0.8, 1.5, 2.0])
def test_portraits_of_other_sizes_give_the_same_face(maker, astronaut, scale, measure):
    other = maker.prepare(pictures.file_of(pictures.scaled(scale)))
    assert other.info.height == round(512 * scale) // 2 * 2
    assert measure(other.portrait).lip_gap < 0.02
    assert eyes_and_mouth(other) == pytest.approx(
        eyes_and_mouth(astronaut) * scale, abs=1.5 * scale
    )


def test_a_large_portrait_becomes_a_video_of_1080_lines(maker):
    large = maker.prepare(pictures.file_of(pictures.scaled(2.5)))
    assert (large.info.width, large.info.height) == (1080, 1080)
    assert large.portrait.shape == (1080, 1080, 3)


def test_files_of_any_kind_give_the_same_face(maker, astronaut):
    photograph = PillowImage.fromarray(pictures.astronaut()[..., ::-1])
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    transparent = photograph.convert("RGBA")
    transparent.putalpha(PillowImage.new("L", (512, 512), 255))
    files = [
        pictures.file_of(np.rot90(pictures.astronaut()), "JPEG", exif=exif, quality=95),
        pictures.pillow_file(transparent),
        pictures.pillow_file(photograph.convert("CMYK"), "JPEG", quality=95),
        pictures.pillow_file(photograph, "WEBP", quality=95),
    ]
    for file in files:
        other = maker.prepare(file)
        assert np.abs(other.portrait.astype(int) - astronaut.portrait).mean() < 4
        assert eyes_and_mouth(other) == pytest.approx(eyes_and_mouth(astronaut), abs=1)


def test_an_animation_is_an_avatar_of_its_first_picture(maker):
    photograph = PillowImage.fromarray(pictures.astronaut()[..., ::-1])
    black = PillowImage.new("RGB", (512, 512))
    animation = pictures.pillow_file(photograph, "GIF", save_all=True, append_images=[black])
    assert "only the first is used" in maker.prepare(animation).info.warnings[0]


def test_a_portrait_without_a_face_is_refused(maker):
    assert refused(maker, pictures.file_of(pictures.landscape())).code is ErrorCode.NO_FACE
    blank = np.zeros((300, 300, 3), np.uint8)
    assert refused(maker, pictures.file_of(blank)).code is ErrorCode.NO_FACE


def test_two_people_are_refused_and_a_small_one_behind_is_ignored(maker):
    error = refused(maker, pictures.file_of(pictures.two_faces(1.0)))
    assert error.code is ErrorCode.SEVERAL_FACES
    assert "2 faces" in error.message
    assert "1 smaller face(s) in the background" in warned(maker, pictures.two_faces(0.4))


def test_a_tiny_face_is_refused_with_its_width(maker):
    error = refused(maker, pictures.file_of(pictures.small_on_a_wall(150)))
    assert error.code is ErrorCode.UNUSABLE_FACE
    assert "pixels wide, at least 40 are taken" in error.message


def test_a_small_picture_is_warned_about(maker):
    assert "200 lines, at least 256" in warned(maker, pictures.head()[:200, :240])


def test_a_blurred_face_is_warned_about_then_refused(maker):
    assert "blurred: sharpness" in warned(maker, pictures.blurred(2))
    error = refused(maker, pictures.file_of(pictures.blurred(6)))
    assert error.code is ErrorCode.UNUSABLE_FACE
    assert "blurred" in error.message


def test_a_dark_face_is_warned_about_then_refused(maker):
    assert "too dark" in warned(maker, pictures.darkened(0.3))
    assert "too dark" in refused(maker, pictures.file_of(pictures.darkened(0.1))).message


def test_a_tilted_head_is_warned_about_then_refused(maker):
    assert "tilted" in warned(maker, pictures.tilted(30))
    assert "tilted" in refused(maker, pictures.file_of(pictures.tilted(50))).message


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(145), slice(None)), (slice(100, None), slice(None)), (slice(None), slice(200, None))],
    ids=["chin", "brow", "cheek"],
)
def test_a_face_that_is_cut_off_is_refused(maker, rows, columns):
    error = refused(maker, pictures.file_of(pictures.astronaut()[rows, columns]))
    assert error.code is ErrorCode.UNUSABLE_FACE
    assert "cut off" in error.message
    assert "at least 88 % are taken" in error.message


def test_a_chin_at_the_edge_is_warned_about(maker):
    assert "% of it is in view, at least 98 % look good" in warned(
        maker, pictures.astronaut()[:164]
    )


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_picture_that_lies_on_its_side_is_refused_as_such(maker, quarters):
    lying = np.rot90(pictures.astronaut(), quarters)
    message = refused(maker, pictures.file_of(lying)).message
    assert "turn" in message or "tilted" in message


@pytest.mark.parametrize("top", [70, 115, 130], ids=["eyes", "nose", "mouth"])
def test_a_face_that_is_covered_from_here_down_is_refused_or_not_found(maker, top):
    covered = pictures.astronaut()
    covered[top:190, 160:290] = 90
    error = refused(maker, pictures.file_of(covered))
    assert error.code in (ErrorCode.NO_FACE, ErrorCode.UNUSABLE_FACE)


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (b"", ErrorCode.BAD_IMAGE),
        (b"this is a portrait, honestly", ErrorCode.BAD_IMAGE),
        (pictures.file_of(np.zeros((4000, 5000, 3), np.uint8)), ErrorCode.TOO_LARGE),
        (pictures.file_of(np.zeros((2, 2, 3), np.uint8)), ErrorCode.BAD_IMAGE),
        (pictures.file_of(np.zeros((40, 9000, 3), np.uint8)), ErrorCode.BAD_IMAGE),
    ],
    ids=["empty", "text", "20 megapixels", "2 by 2", "a line"],
)
def test_what_is_no_portrait_is_refused_and_the_next_portrait_is_taken(maker, image, code):
    assert refused(maker, image).code is code
    assert maker.prepare(pictures.file_of(pictures.astronaut())).info.warnings == ()


def test_a_truncated_file_is_refused(maker):
    whole = pictures.file_of(pictures.astronaut())
    assert refused(maker, whole[: len(whole) // 2]).code is ErrorCode.BAD_IMAGE


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 512), (512, 512)), ((513, 511), (512, 510)), ((2160, 1080), (1080, 540))]
    + [((1080, 1920), (1080, 1920)), ((1000, 4000), (480, 1920)), ((3001, 3001), (1080, 1080))],
)
def test_the_video_has_even_sides_within_the_limit(size, expected):
    assert fit(np.zeros((*size, 3), np.uint8), 1080).shape[:2] == expected


def test_warming_up_leaves_the_maker_ready(maker, astronaut):
    maker.warm_up()
    assert maker.prepare(pictures.file_of(pictures.astronaut())).info == astronaut.info


@pytest.mark.parametrize("content", [None, b"no model at all"])
@pytest.mark.parametrize("name", MODELS)
def test_missing_or_broken_weights_are_named_with_the_command_that_fetches_them(
    tmp_path: Path, name: str, content: bytes | None
):
    for other in MODELS:
        if other != name:
            (tmp_path / other).symlink_to(WEIGHTS / other)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"(?s){name} cannot be used .*python -m export get"):
        AvatarMaker(tmp_path, AvatarSettings())
