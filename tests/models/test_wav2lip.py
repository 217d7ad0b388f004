"""The lip-sync generator as it is served: the same pictures as in process, over Triton's wire."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests import lipsync
from tritalk.server import Server

WAIT_S = 60.0


def served(server: Server, **inputs: np.ndarray) -> np.ndarray:
    with triton.InferenceServerClient(server.grpc_url) as client:
        tensors = []
        for name, value in inputs.items():
            tensor = triton.InferInput(name, value.shape, np_to_triton_dtype(value.dtype))
            tensor.set_data_from_numpy(value)
            tensors.append(tensor)
        result = client.infer("wav2lip", tensors, client_timeout=WAIT_S).as_numpy("MOUTH")
    assert result is not None
    return result


def question(frames: int) -> dict[str, np.ndarray]:
    windows = lipsync.windows_of(lipsync.vowel())[:frames]
    faces = np.repeat(lipsync.face()[None], frames, 0)
    return {"MEL": windows, "FACE": np.concatenate([faces, faces], 3)}


@pytest.mark.parametrize("frames", [1, 5, 16])
def test_served_pictures_are_those_of_the_graph_in_process(server: Server, frames: int) -> None:
    asked = question(frames)
    drawn = served(server, **asked)
    in_process = lipsync.draw(asked["MEL"], asked["FACE"][..., 3:])
    assert drawn.dtype == np.uint8
    assert np.abs(drawn.astype(int) - in_process).max() <= 1


def test_a_vowel_opens_the_served_mouth_and_silence_does_not(server: Server) -> None:
    asked = question(16)
    asked["MEL"][0] = lipsync.silence()[0]
    drawn = served(server, **asked)
    assert lipsync.opening(drawn[0], lipsync.face()) < 5
    assert lipsync.opening(drawn[15], lipsync.face()) > 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"MEL": np.zeros((1, 1, 80, 15), np.float32)},
        {"MEL": np.zeros((1, 1, 80, 16), np.float64)},
        {"FACE": np.zeros((1, 128, 128, 6), np.uint8)},
        {"FACE": np.zeros((2, 256, 256, 6), np.uint8)},
        {
            "MEL": np.zeros((33, 1, 80, 16), np.float32),
            "FACE": np.zeros((33, 256, 256, 6), np.uint8),
        },
    ],
    ids=["window too short", "doubles", "small face", "two faces, one window", "too many"],
)
def test_wrong_tensors_are_refused_and_the_next_request_is_served(
    server: Server, wrong: dict[str, np.ndarray]
) -> None:
    with pytest.raises(InferenceServerException):
        served(server, **{**question(1), **wrong})
    assert served(server, **question(1)).shape == (1, 256, 256, 3)
