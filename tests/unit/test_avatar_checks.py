from __future__ import annotations

import numpy as np
import pytest

from tests import pictures
from tritalk.avatar import checks
from tritalk.avatar.detector import Face
from tritalk.avatar.mesh import Mesh
from tritalk.avatar.settings import AvatarSettings
from tritalk_client.errors import ErrorCode, TritalkError

SETTINGS = AvatarSettings()
# YuNet's landmarks in the photograph.
LANDMARKS = np.array(
    [[200.1, 101.8], [247.1, 102.6], [220.4, 124.5], [198.6, 142.8], [239.7, 143.6]]
)


def face(*, x: float = 178, width: float = 90, landmarks: np.ndarray = LANDMARKS) -> Face:
    return Face(x, 63, width, width * 1.25, landmarks, 0.93)


def mesh(
    *, confidence: float = 0.999, turn: float = 0, nod: float = 0, gap: float = 0, tilt: float = 0
) -> Mesh:
    """A mesh whose landmarks are the photograph's, turned by `tilt` in the picture's plane."""
    angle = np.radians(-tilt)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = LANDMARKS.mean(axis=0)
    right, left, nose, *mouth = (LANDMARKS - center) @ rotation + center
    points = np.zeros((478, 2))
    points[[33, 133, 468]], points[[362, 263, 473]], points[1] = right, left, nose
    points[[78, 308]] = mouth
    points[13] = points[14] = (220, 143)
    points[14, 1] += gap * np.linalg.norm(left - right)
    return Mesh(points, confidence, turn, nod)


def refused(check, *arguments) -> TritalkError:
    with pytest.raises(TritalkError) as caught:
        check(*arguments, SETTINGS)
    return caught.value


def test_without_a_face_the_message_says_what_to_send():
    error = refused(checks.choose, [])
    assert error.code is ErrorCode.NO_FACE
    assert "facing the camera" in error.message


def test_one_face_is_chosen_without_a_warning():
    only = face()
    assert checks.choose([only], SETTINGS) == (only, [])


def test_comparable_faces_are_refused_with_their_places_and_the_ratio():
    error = refused(checks.choose, [face(x=300, width=100), face(x=20, width=50), face(width=20)])
    assert error.code is ErrorCode.SEVERAL_FACES
    assert "2 faces (50 pixels wide at 20, 63, 100 pixels wide at 300, 63)" in error.message
    assert "the second 50% as wide as the first, ignored only below 50%" in error.message


def test_small_faces_in_the_background_are_ignored_with_a_warning():
    main = face(width=100)
    chosen, notes = checks.choose([main, face(width=49), face(width=20)], SETTINGS)
    assert chosen is main
    (note,) = notes
    assert "2 smaller face(s)" in note
    assert "49%" in note


def test_a_good_face_passes_without_a_warning():
    assert checks.check_face(pictures.astronaut(), face(), SETTINGS) == []
    assert checks.check_mesh(pictures.astronaut(), mesh(gap=0.15), SETTINGS) == []


@pytest.mark.parametrize(
    ("width", "outcome"), [(80.0, None), (79.0, "79 pixels wide, at least 80 look good")]
)
def test_a_small_face_is_warned_about_below_the_threshold(width, outcome):
    notes = checks.check_face(pictures.astronaut(), face(width=width), SETTINGS)
    assert [outcome in note for note in notes] == ([True] if outcome else [])


def test_a_tiny_face_is_refused_with_its_width_and_the_least_one():
    error = refused(checks.check_face, pictures.astronaut(), face(width=39))
    assert error.code is ErrorCode.UNUSABLE_FACE
    assert "39 pixels wide, at least 40 are taken" in error.message


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_tilted_head_is_warned_about_then_refused(sign):
    notes = checks.check_mesh(pictures.astronaut(), mesh(tilt=sign * 30), SETTINGS)
    assert any("tilted by" in note and "at most 20 look good" in note for note in notes)
    error = refused(checks.check_mesh, pictures.astronaut(), mesh(tilt=sign * 50))
    assert "at most 40 are taken" in error.message


def test_landmarks_on_one_line_are_no_usable_face():
    flat = LANDMARKS.copy()
    flat[:, 1] = 100
    error = refused(checks.check_face, pictures.astronaut(), face(landmarks=flat))
    assert error.code is ErrorCode.UNUSABLE_FACE
    assert "one line" in error.message


def test_a_dark_face_is_warned_about_then_refused():
    (note,) = checks.check_face(pictures.darkened(0.3), face(), SETTINGS)
    assert "too dark" in note
    assert "at least 75 look good" in note
    error = refused(checks.check_face, pictures.darkened(0.1), face())
    assert error.code is ErrorCode.UNUSABLE_FACE
    assert "at least 45 are taken" in error.message


def test_a_fogged_face_is_refused():
    fog = (pictures.astronaut() * 0.05 + 230).astype(np.uint8)
    assert "too little contrast" in refused(checks.check_face, fog, face()).message


def test_a_blurred_face_is_warned_about_then_refused():
    (note,) = checks.check_face(pictures.blurred(2), face(), SETTINGS)
    assert "blurred" in note
    assert "at least 0.80 look good" in note
    error = refused(checks.check_face, pictures.blurred(5), face())
    assert error.code is ErrorCode.UNUSABLE_FACE
    assert "at least 0.20 are taken" in error.message


def test_sharpness_falls_with_blur_and_does_not_depend_on_light():
    x = np.arange(64)[None, :] * np.ones((64, 1))
    pattern = (np.sin(x / 1.5) * 50 + 100).astype(np.float32)
    softer = (np.sin(x / 6) * 50 + 100).astype(np.float32)
    assert checks.sharpness(pattern) > 10 * checks.sharpness(softer)
    assert checks.sharpness(pattern * 0.5) == pytest.approx(checks.sharpness(pattern), rel=1e-3)
    assert checks.sharpness(np.full((64, 64), 7, np.float32)) == 0


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("field", "warned", "far", "limit"), [("turn", 25, 36, "at most 35"), ("nod", 20, 31, "30")]
)
def test_a_head_that_looks_elsewhere_is_warned_about_then_refused(sign, field, warned, far, limit):
    (note,) = checks.check_mesh(pictures.astronaut(), mesh(**{field: sign * warned}), SETTINGS)
    assert f"by {warned} degrees" in note
    error = refused(checks.check_mesh, pictures.astronaut(), mesh(**{field: sign * far}))
    assert error.code is ErrorCode.UNUSABLE_FACE
    assert f"by {far} degrees" in error.message
    assert limit in error.message


def test_a_face_whose_shape_is_uncertain_is_refused():
    error = refused(checks.check_mesh, pictures.astronaut(), mesh(confidence=0.42))
    assert error.code is ErrorCode.UNUSABLE_FACE
    assert "42 % certain, at least 90 % are taken" in error.message


def test_a_wide_open_mouth_is_warned_about():
    (note,) = checks.check_mesh(pictures.astronaut(), mesh(gap=0.4), SETTINGS)
    assert "wide open (0.40 eye distances, more than 0.30)" in note


def test_a_covered_mouth_is_refused():
    covered = pictures.astronaut()
    covered[130:175, 180:265] = (200, 180, 120)
    error = refused(checks.check_mesh, covered, mesh())
    assert error.code is ErrorCode.UNUSABLE_FACE
    assert "mouth seems to be covered" in error.message


def test_a_mouth_stands_out_as_much_in_any_light():
    x = np.mgrid[:128, :128][0]
    face = (100 + 40 * np.sin(x / 4)).astype(np.float32)
    assert checks.mouth_relief(face) == pytest.approx(checks.mouth_relief(face / 2), rel=1e-3)
    face[70:100] = 100
    assert checks.mouth_relief(face) == 0
