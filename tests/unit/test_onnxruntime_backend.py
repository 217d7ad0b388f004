"""The ONNX backend's logic against plain ONNX Runtime, on graphs of one or two operators."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tritalk.onnx_backend import (
    InferRequest,
    OnnxModel,
    OnnxModelError,
    RequestError,
    Signature,
    complete,
    load,
)
from tritalk.settings import SettingsError

Array = npt.NDArray[Any]
Port = tuple[str, int, Sequence[int | str]]

NUMBERS = [
    (TensorProto.BOOL, "TYPE_BOOL", np.bool_),
    (TensorProto.UINT8, "TYPE_UINT8", np.uint8),
    (TensorProto.UINT16, "TYPE_UINT16", np.uint16),
    (TensorProto.UINT32, "TYPE_UINT32", np.uint32),
    (TensorProto.UINT64, "TYPE_UINT64", np.uint64),
    (TensorProto.INT8, "TYPE_INT8", np.int8),
    (TensorProto.INT16, "TYPE_INT16", np.int16),
    (TensorProto.INT32, "TYPE_INT32", np.int32),
    (TensorProto.INT64, "TYPE_INT64", np.int64),
    (TensorProto.FLOAT16, "TYPE_FP16", np.float16),
    (TensorProto.FLOAT, "TYPE_FP32", np.float32),
    (TensorProto.DOUBLE, "TYPE_FP64", np.float64),
]


def graph(
    nodes: list[onnx.NodeProto],
    inputs: list[Port],
    outputs: list[Port],
    constants: dict[str, Array] | None = None,
) -> bytes:
    made = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def identity(kind: int, shape: Sequence[int | str] = ("N", 2)) -> bytes:
    return graph(
        [helper.make_node("Identity", ["X"], ["Y"])], [("X", kind, shape)], [("Y", kind, shape)]
    )


def add() -> bytes:
    """SUM = A + B, DIFFERENCE = A − B, rows of any length."""
    rows = ("N", "T")
    return graph(
        [
            helper.make_node("Add", ["A", "B"], ["SUM"]),
            helper.make_node("Sub", ["A", "B"], ["DIFFERENCE"]),
        ],
        [("A", TensorProto.FLOAT, rows), ("B", TensorProto.FLOAT, rows)],
        [("SUM", TensorProto.FLOAT, rows), ("DIFFERENCE", TensorProto.FLOAT, rows)],
    )


def lookup() -> bytes:
    """Y = TABLE[X], which fails for an index beyond the table's three entries."""
    return graph(
        [helper.make_node("Gather", ["TABLE", "X"], ["Y"])],
        [("X", TensorProto.INT64, ("N", 1))],
        [("Y", TensorProto.FLOAT, ("N", 1))],
        {"TABLE": np.array([10, 20, 30], np.float32)},
    )


def tensor(name: str, kind: str, dims: Sequence[int]) -> dict[str, Any]:
    return {"name": name, "data_type": kind, "dims": list(dims)}


def config(
    inputs: list[dict[str, Any]], outputs: list[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    return {"name": "test", "max_batch_size": 8, "input": inputs, "output": outputs, **more}


ADD_CONFIG = config(
    [tensor("A", "TYPE_FP32", [-1]), tensor("B", "TYPE_FP32", [-1])],
    [tensor("SUM", "TYPE_FP32", [-1]), tensor("DIFFERENCE", "TYPE_FP32", [-1])],
)


class Counting:
    """A session that counts its runs."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self.runs: list[tuple[list[str], int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: list[str], feed: dict[str, Array], options: Any) -> list[Array]:
        self.runs.append((names, sum(next(iter(feed.values())).shape[:1])))
        return self._session.run(names, feed, options)


def served(data: bytes, configuration: dict[str, Any]) -> tuple[OnnxModel, Counting]:
    session = Counting(onnxruntime.InferenceSession(data))
    return OnnxModel(session, configuration), session


def rows(count: int, length: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)


def answer(outcome: Any) -> dict[str, Array]:
    assert not isinstance(outcome, RequestError), outcome
    return dict(outcome)


@pytest.mark.parametrize(("onnx_type", "triton_type", "dtype"), NUMBERS)
def test_every_number_type_passes_as_in_plain_onnx_runtime(
    onnx_type: int, triton_type: str, dtype: Any
) -> None:
    data = identity(onnx_type)
    model, _ = served(
        data, config([tensor("X", triton_type, [2])], [tensor("Y", triton_type, [2])])
    )
    x = np.array([[1, 0], [1, 1]]).astype(dtype)

    y = answer(model.run([InferRequest({"X": x}, {"Y"})])[0])["Y"]

    (expected,) = onnxruntime.InferenceSession(data).run(["Y"], {"X": x})
    assert y.dtype == expected.dtype
    assert y.tolist() == expected.tolist()


def test_text_passes_as_utf8_bytes() -> None:
    model, _ = served(
        identity(TensorProto.STRING),
        config([tensor("X", "TYPE_STRING", [2])], [tensor("Y", "TYPE_STRING", [2])]),
    )
    x = np.array([[b"", "größer 好".encode()]], dtype=np.object_)

    outcomes = model.run(
        [
            InferRequest({"X": x}, {"Y"}),
            InferRequest({"X": np.array([[b"\xff", b""]], dtype=np.object_)}, {"Y"}),
        ]
    )

    assert answer(outcomes[0])["Y"].tolist() == x.tolist()
    assert isinstance(outcomes[1], RequestError)
    assert outcomes[1].invalid
    assert "X is not UTF-8" in outcomes[1].message


def test_requests_of_different_batch_sizes_share_a_run_and_get_their_own_rows() -> None:
    model, session = served(add(), ADD_CONFIG)
    requests = [
        InferRequest({"A": rows(n, 3, n), "B": rows(n, 3, 10 + n)}, {"SUM"}) for n in (1, 3, 2)
    ]

    outcomes = model.run(requests)

    assert session.runs == [(["SUM"], 6)]
    for request, outcome in zip(requests, outcomes, strict=True):
        np.testing.assert_array_equal(
            answer(outcome)["SUM"], request.inputs["A"] + request.inputs["B"]
        )


def test_rows_of_different_lengths_run_apart() -> None:
    model, session = served(add(), ADD_CONFIG)
    requests = [
        InferRequest({"A": rows(1, length, 1), "B": rows(1, length, 2)}, {"SUM"})
        for length in (3, 5, 3)
    ]

    outcomes = model.run(requests)

    assert [batch for _, batch in session.runs] == [2, 1]
    assert [answer(outcome)["SUM"].shape for outcome in outcomes] == [(1, 3), (1, 5), (1, 3)]


def test_each_request_gets_the_outputs_that_it_wants() -> None:
    model, session = served(add(), ADD_CONFIG)
    a, b = rows(1, 2, 1), rows(1, 2, 2)

    only_sum, both = model.run(
        [
            InferRequest({"A": a, "B": b}, {"SUM"}),
            InferRequest({"A": a, "B": b}, {"SUM", "DIFFERENCE"}),
        ]
    )

    assert set(answer(only_sum)) == {"SUM"}
    assert set(answer(both)) == {"SUM", "DIFFERENCE"}
    assert len(session.runs) == 1


def test_one_request_alone_is_not_copied() -> None:
    model, session = served(add(), ADD_CONFIG)
    a = rows(2, 2, 1)
    fed: list[Array] = []
    run = session.run
    session.run = lambda names, feed, options: (  # type: ignore[method-assign]
        fed.append(feed["A"]) or run(names, feed, options)
    )

    model.run([InferRequest({"A": a, "B": a}, {"SUM"})])

    assert fed[0] is a


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"A": rows(1, 3, 1).astype(np.float64), "B": rows(1, 3, 1)}, "A must be float32, got f"),
        ({"A": rows(1, 3, 1)[0], "B": rows(1, 3, 1)}, r"A must have the shape \[-1, -1\]"),
        ({"A": rows(1, 3, 1)}, "input B is missing"),
        ({"A": rows(1, 3, 1), "B": rows(1, 3, 1), "C": rows(1, 3, 1)}, "there is no input C"),
        ({"A": rows(1, 3, 1), "B": rows(2, 3, 1)}, "the same batch size"),
    ],
)
def test_a_wrong_request_is_refused_and_the_others_are_answered(
    inputs: dict[str, Array], words: str
) -> None:
    model, _ = served(add(), ADD_CONFIG)
    good = InferRequest({"A": rows(1, 3, 1), "B": rows(1, 3, 2)}, {"SUM"})

    before, wrong, after = model.run([good, InferRequest(inputs, {"SUM"}), good])

    assert isinstance(wrong, RequestError)
    assert wrong.invalid
    assert re.search(words, wrong.message)
    assert answer(before)["SUM"].tolist() == answer(after)["SUM"].tolist()


def test_values_that_onnx_runtime_refuses_fail_their_request_only() -> None:
    model, session = served(
        lookup(), config([tensor("X", "TYPE_INT64", [1])], [tensor("Y", "TYPE_FP32", [1])])
    )

    outcomes = model.run(
        [InferRequest({"X": np.array([[index]], np.int64)}, {"Y"}) for index in (0, 7, 2)]
    )

    assert answer(outcomes[0])["Y"].tolist() == [[10]]
    assert answer(outcomes[2])["Y"].tolist() == [[30]]
    assert isinstance(outcomes[1], RequestError)
    assert not outcomes[1].invalid
    assert "idx=7" in outcomes[1].message
    assert "ONNXRuntimeError" not in outcomes[1].message
    assert [batch for _, batch in session.runs] == [3, 1, 1, 1]


def test_a_model_without_a_batch_axis_runs_each_request_by_itself() -> None:
    model, session = served(
        identity(TensorProto.FLOAT, (2, 2)),
        config(
            [tensor("X", "TYPE_FP32", [2, 2])],
            [tensor("Y", "TYPE_FP32", [2, 2])],
            max_batch_size=0,
        ),
    )
    arrays = [rows(2, 2, seed) for seed in (1, 2)]

    outcomes = model.run([InferRequest({"X": array}, {"Y"}) for array in arrays])

    assert [answer(outcome)["Y"].tolist() for outcome in outcomes] == [
        array.tolist() for array in arrays
    ]
    assert len(session.runs) == 2


def test_a_scalar_of_the_graph_is_one_element_outside() -> None:
    model, _ = served(
        identity(TensorProto.FLOAT, ()),
        config([tensor("X", "TYPE_FP32", [1])], [tensor("Y", "TYPE_FP32", [1])], max_batch_size=0),
    )

    (outcome,) = model.run([InferRequest({"X": np.array([3], np.float32)}, {"Y"})])

    assert answer(outcome)["Y"].tolist() == [3]


def test_an_input_with_a_default_in_the_graph_may_be_left_out() -> None:
    data = graph(
        [helper.make_node("Mul", ["X", "GAIN"], ["Y"])],
        [("X", TensorProto.FLOAT, ("N", 1)), ("GAIN", TensorProto.FLOAT, (1,))],
        [("Y", TensorProto.FLOAT, ("N", 1))],
        {"GAIN": np.array([3], np.float32)},
    )
    model, _ = served(
        data, config([tensor("X", "TYPE_FP32", [1])], [tensor("Y", "TYPE_FP32", [1])])
    )

    (outcome,) = model.run([InferRequest({"X": np.array([[2]], np.float32)}, {"Y"})])

    assert answer(outcome)["Y"].tolist() == [[6]]


def test_an_optional_input_without_rows_cannot_be_configured_for_batches() -> None:
    data = graph(
        [helper.make_node("Mul", ["X", "GAIN"], ["Y"])],
        [("X", TensorProto.FLOAT, ("N", 1)), ("GAIN", TensorProto.FLOAT, (1,))],
        [("Y", TensorProto.FLOAT, ("N", 1))],
        {"GAIN": np.array([3], np.float32)},
    )
    inputs = [tensor("X", "TYPE_FP32", [1]), tensor("GAIN", "TYPE_FP32", [])]

    with pytest.raises(OnnxModelError, match=r"input GAIN has the shape \[1\] in the graph"):
        served(data, config(inputs, [tensor("Y", "TYPE_FP32", [1])]))


def test_a_graph_that_mixes_rows_is_found_out() -> None:
    data = graph(
        [helper.make_node("Concat", ["X", "X"], ["Y"], axis=0)],
        [("X", TensorProto.FLOAT, ("N", 1))],
        [("Y", TensorProto.FLOAT, ("M", 1))],
    )
    model, _ = served(
        data, config([tensor("X", "TYPE_FP32", [1])], [tensor("Y", "TYPE_FP32", [1])])
    )

    (outcome,) = model.run([InferRequest({"X": np.ones((2, 1), np.float32)}, {"Y"})])

    assert isinstance(outcome, RequestError)
    assert "output Y has 4 rows for a batch of 2" in outcome.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": [tensor("Z", "TYPE_FP32", [2])]}, "the graph has no input Z: it has X"),
        ({"input": [tensor("X", "TYPE_INT8", [2])]}, "X is TYPE_FP32 in the graph and TYPE_INT8"),
        ({"input": [tensor("X", "TYPE_FP32", [3])]}, r"X has the shape \[-1, 2\] in the graph"),
        ({"output": [tensor("Y", "TYPE_FP32", [2, 2])]}, "output Y has the shape"),
        ({"input": []}, "input X of the graph is missing"),
        ({"batch_input": [{}]}, "batch_input and batch_output need"),
        ({"sequence_batching": {"state": [{}]}}, "sequence_batching.state needs"),
        (
            {"sequence_batching": {"control_input": [{"name": "START"}]}},
            "no input START for the sequence control",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_the_graph_is_refused_at_load(
    changes: dict[str, Any], words: str
) -> None:
    fitting = config([tensor("X", "TYPE_FP32", [2])], [tensor("Y", "TYPE_FP32", [2])])

    with pytest.raises(OnnxModelError, match=words):
        served(identity(TensorProto.FLOAT), {**fitting, **changes})


def test_batches_of_a_graph_with_a_fixed_first_size_are_refused_at_load() -> None:
    fixed = config([tensor("X", "TYPE_FP32", [2])], [tensor("Y", "TYPE_FP32", [2])])

    with pytest.raises(OnnxModelError, match="max_batch_size is above 0"):
        served(identity(TensorProto.FLOAT, (1, 2)), fixed)


def test_a_type_that_numpy_lacks_is_refused_at_load() -> None:
    with pytest.raises(OnnxModelError, match="tensor X is a tensor\\(bfloat16\\)"):
        Signature.of(onnxruntime.InferenceSession(identity(TensorProto.BFLOAT16)))


def model_config(**entries: Any) -> str:
    return json.dumps({"name": "test", **entries})


def parameters(**values: str) -> str:
    return model_config(parameters={name: {"string_value": text} for name, text in values.items()})


def folder_with(path: Path, data: bytes, name: str = "model.onnx") -> Path:
    path.mkdir(exist_ok=True)
    (path / name).write_bytes(data)
    return path


def test_threads_and_modes_are_taken_from_the_parameters(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, identity(TensorProto.FLOAT))

    session, _ = load(
        folder,
        parameters(
            intra_op_thread_count="1",
            inter_op_thread_count="2",
            execution_mode="1",
            enable_mem_arena="0",
            enable_mem_pattern="false",
        ),
        device_id=None,
    )

    options = session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.inter_op_num_threads == 2
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert not options.enable_cpu_mem_arena
    assert not options.enable_mem_pattern
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    ("level", "expected"),
    [(-1, "ORT_ENABLE_BASIC"), (0, "ORT_ENABLE_ALL"), (1, "ORT_ENABLE_EXTENDED")]
    + [(2, "ORT_DISABLE_ALL")],
)
def test_the_graph_level_is_that_of_the_cpp_backend(
    tmp_path: Path, level: int, expected: str
) -> None:
    folder = folder_with(tmp_path, identity(TensorProto.FLOAT))

    session, _ = load(
        folder, model_config(optimization={"graph": {"level": level}}), device_id=None
    )

    assert session.get_session_options().graph_optimization_level.name == expected


def test_another_file_name_and_a_folder_are_found(tmp_path: Path) -> None:
    named = folder_with(tmp_path / "named", identity(TensorProto.FLOAT), "generator.onnx")
    (tmp_path / "deep").mkdir()
    folder_with(tmp_path / "deep" / "model.onnx", identity(TensorProto.FLOAT))

    load(named, model_config(default_model_filename="generator.onnx"), device_id=None)
    session, _ = load(tmp_path / "deep", model_config(), device_id=None)

    assert session.get_inputs()[0].name == "X"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OnnxModelError, match=r"model\.onnx does not exist"):
        load(tmp_path, model_config(), device_id=None)


def test_a_broken_file_is_named_in_one_line(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, b"this is no graph")

    with pytest.raises(OnnxModelError, match=r"model\.onnx: .*Protobuf parsing failed") as error:
        load(folder, model_config(), device_id=None)
    assert "\n" not in str(error.value)


def test_what_the_parameters_may_not_say(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, identity(TensorProto.FLOAT))

    with pytest.raises(SettingsError, match="intra_op_threads: Extra inputs"):
        load(folder, parameters(intra_op_threads="1"), device_id=None)
    with pytest.raises(SettingsError, match="execution_mode: .*less than or equal to 1"):
        load(folder, parameters(execution_mode="2"), device_id=None)
    accelerators = {"gpu_execution_accelerator": [{"name": "tensorrt"}]}
    with pytest.raises(OnnxModelError, match="tensorrt needs NVIDIA's C"):
        load(
            folder,
            model_config(optimization={"execution_accelerators": accelerators}),
            device_id=None,
        )


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is there"
)
def test_a_gpu_instance_without_cuda_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, identity(TensorProto.FLOAT))

    with pytest.raises(OnnxModelError, match="pip install onnxruntime-gpu"):
        load(folder, model_config(), device_id=0)


def completed(data: bytes, **configured: Any) -> dict[str, Any]:
    signature = Signature.of(onnxruntime.InferenceSession(data))
    return complete({"max_batch_size": 0, **configured}, signature)


def test_a_batching_graph_completes_an_empty_configuration() -> None:
    assert completed(add()) == {
        "max_batch_size": 4,
        "dynamic_batching": {},
        "input": [tensor("A", "TYPE_FP32", [-1]), tensor("B", "TYPE_FP32", [-1])],
        "output": [tensor("SUM", "TYPE_FP32", [-1]), tensor("DIFFERENCE", "TYPE_FP32", [-1])],
    }


def test_a_fixed_graph_completes_without_batches() -> None:
    assert completed(identity(TensorProto.INT8, (3, 2))) == {
        "input": [tensor("X", "TYPE_INT8", [3, 2])],
        "output": [tensor("Y", "TYPE_INT8", [3, 2])],
    }


def test_one_value_a_row_completes_with_a_reshape() -> None:
    assert completed(identity(TensorProto.FLOAT, ("N",)), max_batch_size=16)["input"] == [
        {**tensor("X", "TYPE_FP32", [1]), "reshape": {"shape": []}}
    ]


def test_what_is_configured_is_not_completed() -> None:
    x, y = [tensor("X", "TYPE_FP32", [2])], [tensor("Y", "TYPE_FP32", [2])]

    assert completed(identity(TensorProto.FLOAT), input=x, output=y) == {}
    assert "input" not in completed(identity(TensorProto.FLOAT), input=x)
    assert "dynamic_batching" not in completed(
        identity(TensorProto.FLOAT), sequence_batching={}, max_batch_size=2
    )
    with pytest.raises(OnnxModelError, match="max_batch_size is above 0"):
        completed(identity(TensorProto.FLOAT, (1, 2)), max_batch_size=2)
