from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.fakes import FakeFamily
from tritalk.glue import Glue
from tritalk_client.errors import ErrorCode, TritalkError


class Tensor:
    def __init__(self, name: str, array: np.ndarray[Any, Any]) -> None:
        self.name = name
        self.array = array

    def as_numpy(self) -> np.ndarray[Any, Any]:
        return self.array


class FakeTritonError(Exception):
    INVALID_ARG, NOT_FOUND, UNAVAILABLE, CANCELLED, INTERNAL = range(5)

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def glue(*, batched: bool = True) -> Glue:
    pb_utils = SimpleNamespace(
        MetricFamily=FakeFamily,
        Tensor=Tensor,
        TritonError=FakeTritonError,
        InferenceResponse=lambda **fields: SimpleNamespace(**fields),
        get_input_tensor_by_name=lambda request, name: request.get(name),
    )
    return Glue(
        pb_utils,
        {
            "model_config": json.dumps({"name": "asr", "max_batch_size": 8 if batched else 0}),
            "model_name": "asr",
            "model_repository": "repository/asr",
            "model_version": "1",
        },
    )


def request(name: str, *values: bytes) -> dict[str, Tensor]:
    return {name: Tensor(name, np.array([values], dtype=np.object_))}


def test_the_models_files_are_found_in_its_version_folder() -> None:
    assert glue().folder == Path("repository/asr/1")


def test_a_payload_is_the_one_element_of_its_tensor() -> None:
    assert glue().payload(request("AUDIO", b"\0\1"), "AUDIO", limit=2) == b"\0\1"
    assert glue().payload({}, "AUDIO", limit=2) is None


@pytest.mark.parametrize(
    ("values", "code"),
    [((b"123",), ErrorCode.TOO_LARGE), ((b"1", b"2"), ErrorCode.BAD_REQUEST)],
)
def test_a_payload_out_of_bounds_is_refused(values: tuple[bytes, ...], code: ErrorCode) -> None:
    with pytest.raises(TritalkError, match="AUDIO") as caught:
        glue().payload(request("AUDIO", *values), "AUDIO", limit=2)
    assert (caught.value.code, caught.value.stage) == (code, "asr")


def control(name: str, value: object) -> dict[str, Tensor]:
    return {name: Tensor(name, np.array([[value]]))}


@pytest.mark.parametrize("yes", [1, True])
def test_a_flag_is_set_when_it_is_there_and_not_zero(yes: object) -> None:
    assert glue().flag(control("END", yes), "END")
    assert not glue().flag(control("END", type(yes)(0)), "END")
    assert not glue().flag({}, "END")


def test_a_sequence_is_known_by_its_id() -> None:
    assert glue().sequence_id(control("CORRID", np.uint64(2**63 + 1))) == 2**63 + 1
    with pytest.raises(TritalkError, match="sequence") as caught:
        glue().sequence_id({})
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_text_must_be_utf8() -> None:
    with pytest.raises(TritalkError, match="UTF-8"):
        glue().text(request("TEXT", b"\xff"), "TEXT", limit=10)


@pytest.mark.parametrize(("batched", "shape"), [(True, (1, 1)), (False, (1,))])
def test_bytes_become_a_tensor_of_one_element(batched: bool, shape: tuple[int, ...]) -> None:
    response = glue(batched=batched).response(TEXT="hi")

    tensor = response.output_tensors[0]
    assert (tensor.name, tensor.array.shape, tensor.array.reshape(-1)[0]) == ("TEXT", shape, b"hi")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.BAD_AUDIO, FakeTritonError.INVALID_ARG),
        (ErrorCode.NOTHING_TO_SAY, FakeTritonError.INVALID_ARG),
        (ErrorCode.UNKNOWN_AVATAR, FakeTritonError.NOT_FOUND),
        (ErrorCode.BUSY, FakeTritonError.UNAVAILABLE),
        (ErrorCode.CANCELLED, FakeTritonError.CANCELLED),
        (ErrorCode.INTERNAL, FakeTritonError.INTERNAL),
    ],
)
def test_errors_have_tritons_status_and_name_the_model(code: ErrorCode, status: int) -> None:
    failure = glue().failure(TritalkError(code, "no good")).error

    assert failure.code == status
    assert TritalkError.from_wire(str(failure)).stage == "asr"
