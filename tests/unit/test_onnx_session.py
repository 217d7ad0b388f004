"""ONNX models as the stages open them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tritalk.model_files import ModelError
from tritalk.onnx_session import open_session


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Add", ["X", "X"], ["Y"])],
        "doubling",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "doubling.onnx"
    onnx.save(model, path)
    return path


def test_a_model_runs_on_the_threads_it_is_given_and_they_do_not_spin(doubling: Path) -> None:
    session = open_session(doubling, threads=2)

    (y,) = session.run(["Y"], {"X": np.array([1, 2], np.float32)})

    assert list(y) == [2, 4]
    assert session.get_providers() == ["CPUExecutionProvider"]
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_missing_model_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError,
        match=r"encoder\.onnx cannot be used \(there is no such file\).*export get default",
    ):
        open_session(tmp_path / "encoder.onnx")


@pytest.mark.parametrize("data", [b"", b"no graph", bytes(1000)])
def test_a_broken_model_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(data)

    with pytest.raises(ModelError, match=r"encoder\.onnx cannot be used.*export get default"):
        open_session(path)


def test_a_model_that_is_cut_off_is_named(doubling: Path) -> None:
    doubling.write_bytes(doubling.read_bytes()[:-20])

    with pytest.raises(ModelError, match=r"doubling\.onnx cannot be used"):
        open_session(doubling)
