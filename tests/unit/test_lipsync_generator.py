"""The lip-sync generator and the mouth closer, as the ONNX files that are served."""

import numpy as np
import onnx
import pytest

from export.lipsync.shapes import PARAMETERS
from tests import lipsync
from tests.lipsync import DARK_SKIN, FOLDER, SKIN, draw, face, opening, silence

GRAPHS = ("generator.onnx", "mouth_closer.onnx")
VOWEL = lipsync.windows_of(lipsync.vowel())
LOUDEST = VOWEL[len(VOWEL) // 2 :][:1]


def may_change(size: int = lipsync.SIZE) -> np.ndarray:
    """The pixels that a mouth may change: those that a paste takes from the crop, and no others."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    return (y > 0.415) & (np.abs(x - 0.5) < 0.405)


@pytest.mark.parametrize("skin", [SKIN, DARK_SKIN])
def test_in_silence_the_mouth_stays_as_it_is(skin: tuple[int, int, int]) -> None:
    still = face(skin)
    (drawn,) = draw(silence(), still[None])
    assert np.abs(drawn.astype(int) - still).max() <= 2


@pytest.mark.parametrize("peak", [0.7, 0.07])
def test_on_a_vowel_the_mouth_opens_loud_or_low(peak: float) -> None:
    windows = lipsync.windows_of(lipsync.vowel(peak=peak))
    (drawn,) = draw(windows[len(windows) // 2 :][:1], face()[None])
    assert opening(drawn, face()) > 30


def test_the_mouth_opens_and_closes_with_the_voice() -> None:
    """Given half a second each of silence, a vowel and silence, then the mouth does the same."""
    quiet = np.zeros(8_000, np.float32)
    windows = lipsync.windows_of(np.concatenate([quiet, lipsync.vowel(0.5), quiet]))
    drawn = draw(windows, np.repeat(face()[None], len(windows), 0))
    openings = [opening(picture, face()) for picture in drawn]
    assert max(openings[:8]) < 5
    assert min(openings[15:22]) > 30
    assert max(openings[-8:]) < 5


@pytest.mark.parametrize("seed", range(3))
def test_around_the_mouth_not_one_pixel_changes(seed: int) -> None:
    draw_from = np.random.default_rng(seed)
    still = draw_from.integers(0, 256, (lipsync.SIZE, lipsync.SIZE, 3), dtype=np.uint8)
    windows = draw_from.uniform(-4, 4, (1, 1, 80, 16)).astype(np.float32)
    (drawn,) = draw(windows, still[None])
    assert np.array_equal(drawn[~may_change()], still[~may_change()])


@pytest.mark.parametrize("level", [0, 255])
def test_a_face_without_any_light_or_shade_is_still_drawn(level: int) -> None:
    still = np.full((lipsync.SIZE, lipsync.SIZE, 3), level, np.uint8)
    (drawn,) = draw(LOUDEST, still[None])
    changed = np.argwhere((drawn != still).any(2)) / lipsync.SIZE
    assert np.all(changed[:, 0] > 0.54)
    assert np.all(np.abs(changed[:, 1] - 0.5) < 0.14)


@pytest.mark.parametrize("value", [-1e30, 1e30])
def test_absurd_mel_values_draw_a_mouth_and_nothing_else(value: float) -> None:
    (drawn,) = draw(np.full((1, 1, 80, 16), value, np.float32), face()[None])
    assert np.array_equal(drawn[~may_change()], face()[~may_change()])


def test_a_dark_face_gets_a_mouth_no_brighter_than_its_light_allows() -> None:
    (light,), (dark,) = draw(LOUDEST, face()[None]), draw(LOUDEST, face(DARK_SKIN)[None])
    assert dark[100:].max() < 0.7 * light[100:].max()


def test_a_batch_is_the_same_as_its_frames_one_by_one() -> None:
    faces = np.stack([face(), face(DARK_SKIN), face()])
    windows = np.concatenate([LOUDEST, silence(), VOWEL[3:4]])
    together = draw(windows, faces)
    alone = np.concatenate([draw(windows[k : k + 1], faces[k : k + 1]) for k in range(3)])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_the_target_channels_do_not_matter() -> None:
    still = face()
    noise = np.random.default_rng(0).integers(0, 256, still.shape, dtype=np.uint8)
    generator = lipsync.session("generator.onnx")
    pictures = [np.concatenate([target, still], 2)[None] for target in (still, noise)]
    one, other = (generator.run(None, {"MEL": LOUDEST, "FACE": p})[0] for p in pictures)
    assert np.array_equal(one, other)


def closed(picture: np.ndarray, upper: list[float], lower: list[float]) -> np.ndarray:
    (result,) = lipsync.session("mouth_closer.onnx").run(
        ["CLOSED"],
        {
            "FACE": picture[None],
            "UPPER": np.array([upper], np.float32),
            "LOWER": np.array([lower], np.float32),
        },
    )
    return result[0]


def test_the_closer_leaves_no_tooth() -> None:
    """Given lips around bared teeth, when they are brought together, then no white is left."""
    smile = face(size=512, open_mouth=True)
    teeth = smile.min(2) > 225
    # The opening is an ellipse; these parabolas meet it in the middle and at the corners.
    result = closed(smile, [-1 / 28, 0, 1 / 28], [1 / 28, 0, -1 / 28])
    assert teeth.sum() > 2_000
    assert (result.min(2) > 225).sum() == 0


def test_the_closer_changes_nothing_around_the_mouth() -> None:
    smile = face(size=512, open_mouth=True)
    result = closed(smile, [-1 / 28, 0, 1 / 28], [1 / 28, 0, -1 / 28])
    assert np.array_equal(result[~may_change(512)], smile[~may_change(512)])


@pytest.mark.parametrize("name", GRAPHS)
def test_the_graphs_are_plain_onnx_of_opset_17_with_any_batch(name: str) -> None:
    model = onnx.load(FOLDER / name)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} == {""}
    for tensor in (*model.graph.input, *model.graph.output):
        assert tensor.type.tensor_type.shape.dim[0].dim_param


def test_the_files_together_stay_under_a_megabyte() -> None:
    assert sum((FOLDER / name).stat().st_size for name in GRAPHS) < 1_000_000


def test_the_order_of_the_parameters_is_the_renderers() -> None:
    assert PARAMETERS == ("open", "wide", "round", "press", "teeth")
