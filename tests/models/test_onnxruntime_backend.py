"""The ONNX backend in a real tritonserver, with models of one operator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto, helper, numpy_helper
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tritalk.server import Server, ServerError, ServerOptions, command

MakeModel = Callable[..., Path]
Ask = Callable[..., triton.InferResult]

ADD_CONFIG = """
backend: "onnxruntime"
max_batch_size: 8
input [
  { name: "A" data_type: TYPE_FP32 dims: [ 2 ] },
  { name: "B" data_type: TYPE_FP32 dims: [ 2 ] }
]
output [
  { name: "SUM" data_type: TYPE_FP32 dims: [ 2 ] },
  { name: "DIFFERENCE" data_type: TYPE_FP32 dims: [ 2 ] }
]
dynamic_batching { preferred_batch_size: [ 8 ] max_queue_delay_microseconds: 1000000 }
instance_group [ { kind: KIND_CPU count: 1 } ]
parameters [ { key: "intra_op_thread_count" value: { string_value: "1" } } ]
model_warmup [ {
  name: "zeros"
  batch_size: 1
  inputs { key: "A" value: { data_type: TYPE_FP32 dims: [ 2 ] zero_data: true } }
  inputs { key: "B" value: { data_type: TYPE_FP32 dims: [ 2 ] zero_data: true } }
} ]
"""
LOOKUP_CONFIG = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "INDEX" data_type: TYPE_INT64 dims: [ 1 ] } ]
output [ { name: "ENTRY" data_type: TYPE_STRING dims: [ 1 ] } ]
dynamic_batching { preferred_batch_size: [ 3 ] max_queue_delay_microseconds: 1000000 }
instance_group [ { kind: KIND_CPU count: 2 } ]
"""
TEXT_CONFIG = """
backend: "onnxruntime"
max_batch_size: 0
default_model_filename: "words.onnx"
input [ { name: "X" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "Y" data_type: TYPE_STRING dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""


def model(graph: Any) -> bytes:
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


def add() -> bytes:
    names = ("A", "B", "SUM", "DIFFERENCE")
    a, b, total, difference = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in names
    )
    nodes = [helper.make_node("Add", names[:2], ["SUM"])]
    nodes.append(helper.make_node("Sub", names[:2], ["DIFFERENCE"]))
    return model(helper.make_graph(nodes, "add", [a, b], [total, difference]))


def lookup() -> bytes:
    table = numpy_helper.from_array(np.array(["eins", "zwei", "drei"], dtype=np.object_), "TABLE")
    return model(
        helper.make_graph(
            [helper.make_node("Gather", ["TABLE", "INDEX"], ["ENTRY"])],
            "lookup",
            [helper.make_tensor_value_info("INDEX", TensorProto.INT64, ["N", 1])],
            [helper.make_tensor_value_info("ENTRY", TensorProto.STRING, ["N", 1])],
            [table],
        )
    )


def words() -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in "XY")
    return model(helper.make_graph([helper.make_node("Identity", "X", "Y")], "words", [x], [y]))


def options(repository: Path) -> ServerOptions:
    return ServerOptions(model_repository=repository, http_port=0, grpc_port=0, metrics_port=0)


@pytest.fixture(scope="module")
def onnx_server(make_module_model: MakeModel) -> Iterator[Server]:
    make_module_model("add", ADD_CONFIG, model=add())
    make_module_model("lookup", LOOKUP_CONFIG, model=lookup())
    repository = make_module_model("text", TEXT_CONFIG, words=words())
    with Server(options(repository)) as server:
        yield server


@pytest.fixture
def client(onnx_server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(onnx_server.grpc_url) as client:
        yield client


@pytest.fixture
def ask(client: triton.InferenceServerClient) -> Ask:
    def ask(
        name: str, outputs: tuple[str, ...] = (), **arrays: npt.NDArray[Any]
    ) -> triton.InferResult:
        return client.infer(
            name,
            tensors(arrays),
            outputs=[triton.InferRequestedOutput(output) for output in outputs] or None,
            client_timeout=30,
        )

    return ask


def tensors(arrays: dict[str, npt.NDArray[Any]]) -> list[triton.InferInput]:
    made = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def executions(client: triton.InferenceServerClient, name: str) -> int:
    statistics = client.get_inference_statistics(name).model_stats[0]
    return int(statistics.execution_count)


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Run jobs in threads of their own; their results, or the errors of Triton's they raised."""
    results: list[Any] = [None] * len(jobs)

    def run(index: int) -> None:
        try:
            results[index] = jobs[index]()
        except InferenceServerException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_requests_that_arrive_together_share_one_execution(
    client: triton.InferenceServerClient, ask: Ask
) -> None:
    sizes = (1, 2, 5)
    inputs = [np.arange(2 * size, dtype=np.float32).reshape(size, 2) for size in sizes]
    before = executions(client, "add")

    answers = at_once([lambda x=x: ask("add", A=x, B=x) for x in inputs])

    assert executions(client, "add") - before == 1
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(answer.as_numpy("SUM"), 2 * x)
        np.testing.assert_array_equal(answer.as_numpy("DIFFERENCE"), 0 * x)


def test_only_the_wanted_output_is_sent(ask: Ask) -> None:
    x = np.ones((8, 2), np.float32)

    answer = ask("add", outputs=("DIFFERENCE",), A=x, B=x)

    assert [output.name for output in answer.get_response().outputs] == ["DIFFERENCE"]


def test_a_value_that_onnx_runtime_refuses_fails_its_request_only(ask: Ask) -> None:
    indices = [np.array([[index]], np.int64) for index in (0, 9, 2)]

    first, wrong, last = at_once([lambda x=x: ask("lookup", INDEX=x) for x in indices])

    assert first.as_numpy("ENTRY").tolist() == [[b"eins"]]
    assert last.as_numpy("ENTRY").tolist() == [[b"drei"]]
    assert wrong.status() == "StatusCode.INTERNAL"
    assert "idx=9" in wrong.message()


def test_text_comes_back_and_broken_text_is_refused(ask: Ask) -> None:
    good = np.array(["größer".encode()], dtype=np.object_)
    broken = np.array([b"\xff\xfe"], dtype=np.object_)

    with pytest.raises(InferenceServerException, match="X is not UTF-8") as error:
        ask("text", X=broken)

    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert ask("text", X=good).as_numpy("Y").tolist() == good.tolist()


@pytest.mark.parametrize(
    "x",
    [np.ones((1, 2), np.float64), np.ones((1, 3), np.float32), np.ones(2, np.float32)],
    ids=["dtype", "size", "rank"],
)
def test_a_wrong_tensor_is_an_invalid_argument(ask: Ask, x: npt.NDArray[Any]) -> None:
    with pytest.raises(InferenceServerException) as error:
        ask("add", A=x, B=x)

    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"
    good = np.ones((8, 2), np.float32)
    assert ask("add", A=good, B=good).as_numpy("SUM").sum() == 32


def test_each_instance_is_a_process(onnx_server: Server) -> None:
    stubs = [
        process for process in onnx_server.processes() if "python_backend_stub" in process.name()
    ]

    # The name of a process is cut at 15 characters.
    assert len(stubs or onnx_server.processes()[1:]) == 4


@pytest.mark.parametrize(
    ("files", "words_of_it"),
    [
        ({}, r"model\.onnx does not exist"),
        ({"model": b"no graph"}, r"model\.onnx: .*Protobuf parsing failed"),
        ({"model": words()}, "max_batch_size is above 0"),
    ],
    ids=["missing", "broken", "another"],
)
def test_a_file_that_cannot_be_served_fails_the_load_with_a_line(
    make_model: MakeModel, files: dict[str, bytes], words_of_it: str
) -> None:
    repository = make_model("add", ADD_CONFIG, **files)

    with (
        pytest.raises(ServerError, match=f"^add did not load: OnnxModelError: .*{words_of_it}"),
        Server(options(repository)),
    ):
        pytest.fail("the server must not start")


def test_a_configuration_is_completed_from_the_graph(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model("add", 'backend: "onnxruntime"', model=add())
    repository = make_model("text", 'backend: "onnxruntime"', model=words())
    arguments = command.arguments
    monkeypatch.setattr(
        command,
        "arguments",
        lambda *args, **kwargs: [
            argument
            for argument in arguments(*args, **kwargs)
            if argument != "--disable-auto-complete-config"
        ],
    )

    with (
        Server(options(repository)) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        added = client.get_model_config("add").config
        text = client.get_model_config("text").config
        x = np.ones((1, 2), np.float32)
        total = client.infer("add", tensors({"A": x, "B": x}), client_timeout=30)

    assert added.max_batch_size == 4
    assert added.HasField("dynamic_batching")
    assert [(tensor.name, list(tensor.dims)) for tensor in added.input] == [("A", [2]), ("B", [2])]
    assert (text.max_batch_size, list(text.output[0].dims)) == (0, [1])
    assert total.as_numpy("SUM").tolist() == [[2, 2]]
