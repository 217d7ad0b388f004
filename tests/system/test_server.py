"""The supervisor with small repositories: ready, stopped, killed, and started in vain."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton

from tritalk.server import Server, ServerError, ServerOptions
from tritalk.server.guardian import SHARED_MEMORY

MakeModel = Callable[..., Path]

SUPERVISORS: list[int] = []
"""The process ids of this test's supervisors."""

ECHO_CONFIG = """
backend: "python"
max_batch_size: 0
input [ { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "ECHO" data_type: TYPE_STRING dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
ECHO = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "TEXT") for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("ECHO", text.as_numpy())])
                for text in inputs]
"""
WRONG_SETTING = """
class TritonPythonModel:
    def initialize(self, args):
        raise ValueError("parameter beams: must be 1 or more")
"""
DIES_AT_LOAD = """
import os

class TritonPythonModel:
    def initialize(self, args):
        os._exit(3)
"""
NEVER_ENDS = """
import pathlib
import time

class TritonPythonModel:
    def execute(self, requests):
        pathlib.Path(__file__).with_name("asked").touch()
        time.sleep(600)
"""
DIES_WHEN_ASKED = """
class TritonPythonModel:
    def execute(self, requests):
        import os
        os._exit(3)
"""


def options(repository: Path, **changes: object) -> ServerOptions:
    return ServerOptions(
        model_repository=repository,
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        **changes,  # type: ignore[arg-type]
    )


def echo(server: Server, text: str) -> str:
    client = triton.InferenceServerClient(server.grpc_url)
    tensor = triton.InferInput("TEXT", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode()], dtype=np.object_))
    answer = client.infer("echo", [tensor], client_timeout=20).as_numpy("ECHO")
    client.close()
    return bytes(answer[0]).decode()


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test does to a server: no shared memory and no runtime folder of it stays."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    SUPERVISORS[:] = [os.getpid()]
    # The server that all tests share lives in this process, and its memory bears the same name.
    others = set(left(folder))
    yield
    deadline = time.monotonic() + 15
    while (leftovers := sorted(set(left(folder)) - others)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert leftovers == []


def left(folder: Path) -> list[Path]:
    """Runtime folders, and shared memory, which bears its supervisor's process id."""
    regions = [region for pid in SUPERVISORS for region in SHARED_MEMORY.glob(f"tritalk-{pid}-*")]
    return [*folder.glob("tritalk-server-*"), *regions]


def gone(processes: tuple[psutil.Process, ...], within_s: float = 15) -> bool:
    _, alive = psutil.wait_procs(list(processes), timeout=within_s)
    return not alive


def test_a_server_answers_inside_its_block_and_is_gone_after_it(make_model: MakeModel) -> None:
    repository = make_model("echo", ECHO_CONFIG, code=ECHO)
    with Server(options(repository)) as server:
        processes = server.processes()
        names = {process.name() for process in processes}

        assert echo(server, "good day") == "good day"
        assert set(server.answer_times_s) == {"echo"}
        assert "tritonserver" in names
        assert len(processes) >= 2

    assert gone(processes, within_s=0)
    assert server.exit_code is not None


def test_only_the_chosen_models_are_loaded(make_model: MakeModel) -> None:
    make_model("echo", ECHO_CONFIG, code=ECHO)
    repository = make_model("other", ECHO_CONFIG, code=WRONG_SETTING)

    with Server(options(repository, models=("echo",))) as server:
        client = triton.InferenceServerClient(server.grpc_url)

        assert echo(server, "hello") == "hello"
        assert not client.is_model_ready("other")


def test_a_model_that_fails_to_load_is_named_with_its_own_words(make_model: MakeModel) -> None:
    make_model("echo", ECHO_CONFIG, code=ECHO)
    repository = make_model("broken", ECHO_CONFIG, code=WRONG_SETTING)

    with pytest.raises(ServerError) as failure, Server(options(repository)):
        pytest.fail("the server must not start")

    assert str(failure.value) == (
        "broken did not load: ValueError: parameter beams: must be 1 or more"
    )


def test_a_model_whose_process_dies_at_load_is_named(make_model: MakeModel) -> None:
    repository = make_model("dying", ECHO_CONFIG, code=DIES_AT_LOAD)

    with (
        pytest.raises(ServerError, match="^dying did not load: its process died"),
        Server(options(repository)),
    ):
        pytest.fail("the server must not start")


def test_ready_is_not_believed_of_a_model_that_dies_when_it_is_asked(
    make_model: MakeModel,
) -> None:
    repository = make_model("dying", ECHO_CONFIG, code=DIES_WHEN_ASKED)

    with (
        pytest.raises(ServerError, match="^dying does not answer: "),
        Server(options(repository, start_timeout_s=60)),
    ):
        pytest.fail("the server must not start")


def test_a_model_that_never_answers_is_killed_within_the_bound(make_model: MakeModel) -> None:
    repository = make_model("endless", ECHO_CONFIG, code=NEVER_ENDS)
    server = Server(options(repository, start_timeout_s=4, stop_timeout_s=6))
    server.start()

    with pytest.raises(ServerError, match="^endless does not answer: nothing in "):
        server.wait_ready(4)
    processes = server.processes()
    server.stop()

    assert gone(processes, within_s=0)


def test_killed_tritonserver_is_reported_and_cleaned_up(make_model: MakeModel) -> None:
    repository = make_model("echo", ECHO_CONFIG, code=ECHO)
    with Server(options(repository)) as server:
        processes = server.processes()
        processes[0].kill()

        assert server.wait(15)
        assert server.exit_code == -signal.SIGKILL
        assert "killed by signal 9" in str(server.death())
        assert gone(processes)


def test_killed_guardian_takes_tritonserver_along(make_model: MakeModel) -> None:
    repository = make_model("echo", ECHO_CONFIG, code=ECHO)
    with Server(options(repository)) as server:
        processes = server.processes()
        guardian = processes[0].parent()
        assert guardian is not None
        guardian.kill()

        assert server.wait(15)
        assert gone(processes)


class Supervisor:
    """`python -m tritalk.server` as a process."""

    def __init__(self, repository: Path, *arguments: str) -> None:
        ports = [f"--{endpoint}-port=0" for endpoint in ("http", "grpc", "metrics")]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tritalk.server",
                f"--model-repository={repository}",
                *(arguments or ports),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        SUPERVISORS.append(self.process.pid)

    def ready_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def descendants(self) -> tuple[psutil.Process, ...]:
        return tuple(psutil.Process(self.process.pid).children(recursive=True))

    def end(self) -> tuple[int, str]:
        """Wait for the end; the exit code and the last line of the standard error."""
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, (errors.strip().splitlines() or [""])[-1]


@pytest.fixture
def supervise() -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def make(repository: Path, *arguments: str) -> Supervisor:
        made.append(Supervisor(repository, *arguments))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.process.kill()
        supervisor.process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_ready_server_in_order(
    make_model: MakeModel, supervise: Callable[..., Supervisor], number: signal.Signals
) -> None:
    supervisor = supervise(make_model("echo", ECHO_CONFIG, code=ECHO))
    line = supervisor.ready_line()
    descendants = supervisor.descendants()
    supervisor.process.send_signal(number)

    code, _ = supervisor.end()

    assert code == 0
    assert re.fullmatch(
        r"tritalk is ready: gRPC 127\.0\.0\.1:\d+, HTTP http://127\.0\.0\.1:\d+, "
        r"metrics http://127\.0\.0\.1:\d+/metrics; models echo\n",
        line,
    )
    assert len(descendants) >= 3
    assert gone(descendants, within_s=0)


def test_a_signal_stops_a_server_that_still_loads(
    make_model: MakeModel, supervise: Callable[..., Supervisor]
) -> None:
    supervisor = supervise(make_model("endless", ECHO_CONFIG, code=NEVER_ENDS))
    deadline = time.monotonic() + 20
    while len(descendants := supervisor.descendants()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    supervisor.process.terminate()

    assert supervisor.end()[0] == 0
    assert gone(descendants, within_s=0)


def test_a_signal_stops_a_server_whose_model_is_being_asked(
    make_model: MakeModel, supervise: Callable[..., Supervisor]
) -> None:
    repository = make_model("endless", ECHO_CONFIG, code=NEVER_ENDS)
    supervisor = supervise(repository)
    deadline = time.monotonic() + 20
    while not (repository / "endless" / "1" / "asked").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    descendants = supervisor.descendants()
    supervisor.process.terminate()

    assert supervisor.end()[0] == 0
    assert len(descendants) >= 3
    assert gone(descendants, within_s=0)


def test_a_killed_supervisor_leaves_nothing(
    make_model: MakeModel, supervise: Callable[..., Supervisor]
) -> None:
    supervisor = supervise(make_model("echo", ECHO_CONFIG, code=ECHO))
    assert supervisor.ready_line()
    descendants = supervisor.descendants()
    supervisor.process.kill()

    assert gone(descendants)


def test_a_server_that_dies_ends_the_supervisor_with_a_line(
    make_model: MakeModel, supervise: Callable[..., Supervisor]
) -> None:
    supervisor = supervise(make_model("echo", ECHO_CONFIG, code=ECHO))
    assert supervisor.ready_line()
    tritonserver = next(
        process for process in supervisor.descendants() if process.name() == "tritonserver"
    )
    tritonserver.kill()
    code, line = supervisor.end()

    assert code == 1
    assert line.startswith("tritalk.server: tritonserver was killed by signal 9")


def test_a_busy_port_is_refused_before_anything_starts(
    make_model: MakeModel, supervise: Callable[..., Supervisor]
) -> None:
    repository = make_model("echo", ECHO_CONFIG, code=ECHO)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, line = supervise(repository, f"--grpc-port={port}").end()

    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line
    assert "--grpc-port" in line


def test_the_printed_command_line_runs(make_model: MakeModel) -> None:
    repository = make_model("echo", ECHO_CONFIG, code=ECHO)
    ports = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    script = subprocess.run(
        [sys.executable, "-m", "tritalk.server", f"--model-repository={repository}", *ports]
        + ["--print-command"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout
    port = re.search(r"--grpc-port=(\d+)", script)
    assert port is not None
    shell = subprocess.Popen(
        ["bash", "-c", script],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(repository.parent)},
    )
    client = triton.InferenceServerClient(f"127.0.0.1:{port.group(1)}")
    try:
        deadline = time.monotonic() + 30
        while not _ready(client) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert client.is_model_ready("echo")
    finally:
        client.close()
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(20)
        shutil.rmtree(repository)


def _ready(client: triton.InferenceServerClient) -> bool:
    try:
        return bool(client.is_server_ready(client_timeout=1))
    except triton.InferenceServerException:
        return False
