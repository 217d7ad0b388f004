"""The smoke requests against the models' own configurations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tritonclient.utils import triton_to_np_dtype

from tritalk import environment
from tritalk.server import repository
from tritalk.server.repository import Model
from tritalk.server.smoke import smoke_request
from tritalk_client import wire

OURS = repository.read(environment.repository_root() / "model_repository", (), None)


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.name)
def test_a_request_fits_the_models_configuration(model: Model) -> None:
    from tritonclient.grpc.model_config_pb2 import DataType

    inputs = {tensor.name: tensor for tensor in model.config.input}
    request = smoke_request(model)

    assert request.refusals is not None
    assert request.inputs
    assert set(request.inputs) <= set(inputs)
    assert {name for name, tensor in inputs.items() if not tensor.optional} <= set(request.inputs)
    for name, value in request.inputs.items():
        kind = DataType.Name(inputs[name].data_type).removeprefix("TYPE_")
        if kind == "STRING":
            assert isinstance(value, (bytes, str))
        else:
            assert isinstance(value, np.ndarray)
            assert value.dtype == triton_to_np_dtype(kind)
            assert list(value.shape) == list(inputs[name].dims)


def test_messages_are_what_the_wire_allows() -> None:
    requests = {model.name: smoke_request(model).inputs for model in OURS}

    assert isinstance(wire.decode_request(requests["talker"]["REQUEST"]), wire.Configure)  # type: ignore[arg-type]
    assert wire.decode_avatar_command(requests["avatar"]["COMMAND"]) == wire.AvatarList()  # type: ignore[arg-type]
    assert wire.decode(requests["animate"]["OPTIONS"], wire.AnimateOptions)  # type: ignore[arg-type]
    assert wire.decode(requests["asr"]["OPTIONS"], wire.RecognitionOptions)  # type: ignore[arg-type]
    assert wire.decode(requests["llm"]["SAMPLING"], wire.Sampling).max_new_tokens == 1  # type: ignore[arg-type]


def test_a_model_that_is_not_ours_gets_zeros_and_may_refuse(tmp_path: Path) -> None:
    version = tmp_path / "other" / "1"
    version.mkdir(parents=True)
    (tmp_path / "other" / "config.pbtxt").write_text(
        """
        backend: "python"
        input [
          { name: "A" data_type: TYPE_FP16 dims: [ 2, -1 ] },
          { name: "B" data_type: TYPE_STRING dims: [ 1 ] },
          { name: "C" data_type: TYPE_STRING dims: [ 1 ] optional: true }
        ]
        """
    )
    (model,) = repository.read(tmp_path, (), None)

    request = smoke_request(model)

    assert request.refusals is None
    assert set(request.inputs) == {"A", "B"}
    a, b = request.inputs["A"], request.inputs["B"]
    assert isinstance(a, np.ndarray)
    assert isinstance(b, np.ndarray)
    assert (a.shape, a.dtype) == ((2, 1), np.float16)
    assert b.tolist() == [b""]
