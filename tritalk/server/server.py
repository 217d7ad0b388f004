"""The supervisor: a tritonserver that starts whole or not at all, and leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TextIO

import psutil
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException
from typing_extensions import Self

from tritalk import environment
from tritalk.server import command, installation, preflight, repository, smoke
from tritalk.server.child import Child
from tritalk.server.errors import ServerError
from tritalk.server.log import ServerLog, brief
from tritalk.server.options import Ports, ServerOptions

_POLL_S = 0.1
_PROBE_TIMEOUT_S = 2.0
_INDEX_TIMEOUT_S = 30.0


def _never() -> bool:
    return False


class Server:
    """One tritonserver with our models.

    As a context manager it is ready inside the block and gone after it::

        with Server(ServerOptions(http_port=0, grpc_port=0, metrics_port=0)) as server:
            client = tritonclient.grpc.InferenceServerClient(server.grpc_url)

    Args:
        options: What to serve, and where.
        log: Where tritonserver's log is written as it comes; None keeps its end in memory only.
    """

    def __init__(self, options: ServerOptions | None = None, *, log: TextIO | None = None) -> None:
        self.options = options or ServerOptions()
        self.log = ServerLog(forward=log, everything=self.options.log_level in ("verbose", "info"))
        self.ports: Ports | None = None
        self.models: tuple[repository.Model, ...] = ()
        self.answer_times_s: dict[str, float] = {}
        """Seconds that each model took to answer its smoke request."""
        self._child: Child | None = None

    def __enter__(self) -> Self:
        """Start, and wait until every model answers."""
        try:
            self.start()
            self.wait_ready(self.options.start_timeout_s)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def grpc_url(self) -> str:
        """`host:port` for gRPC clients on this machine."""
        return f"{self._client_host}:{self._started_ports.grpc}"

    @property
    def http_url(self) -> str:
        """The base URL of the HTTP endpoint."""
        return f"http://{self._client_host}:{self._started_ports.http}"

    @property
    def metrics_url(self) -> str:
        """The URL that Prometheus scrapes."""
        return f"http://{self._client_host}:{self._started_ports.metrics}/metrics"

    @property
    def exit_code(self) -> int | None:
        """Exit code of tritonserver (negative for a signal), None while it runs."""
        return self._child.exit_code if self._child else None

    def start(self) -> None:
        """Check what can be checked, and start tritonserver; returns at once.

        Raises:
            ServerError: Something is missing, wrong or busy; says what to do.
        """
        if self._child is not None:
            raise ServerError("this server was started before: make a new one")
        options = self.options
        found = installation.find(options.tritonserver)
        self.models = repository.read(options.model_repository, options.models, options.config_name)
        preflight.check_weights(self.models)
        preflight.check_shared_memory(self.models)
        self.ports = preflight.choose_ports(options)
        folder = Path(tempfile.mkdtemp(prefix="tritalk-server-"))
        try:
            backends = folder / "backends"
            found.make_backend_directory(backends)
            shm_prefix = f"tritalk-{os.getpid()}-{secrets.token_hex(4)}-"
            self._child = Child(
                command.arguments(options, self.ports, found, backends, shm_prefix=shm_prefix),
                environment=found.environment(
                    environment.inherited() | {environment.GRPC_VARIABLE: self.grpc_url}
                ),
                folder=folder,
                shm_prefix=shm_prefix,
                log=self.log,
                stop_timeout_s=options.stop_timeout_s,
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def wait_ready(self, timeout_s: float, *, cancelled: Callable[[], bool] = _never) -> bool:
        """Wait until every model has answered a smoke request.

        Args:
            timeout_s: Longest time to wait.
            cancelled: Asked again and again; the wait ends when it says yes.

        Returns:
            True when every model answers, False when the wait was cancelled.

        Raises:
            ServerError: A model did not load or does not answer, tritonserver died, or the time is
                up; the server must be stopped still.
        """
        deadline = time.monotonic() + timeout_s
        with triton.InferenceServerClient(self.grpc_url) as client:
            while not self._live(client):
                self._check_alive()
                if cancelled():
                    return False
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"tritonserver is not up after {timeout_s:.0f} s: {self._last_words()}"
                    )
                time.sleep(_POLL_S)
            self._check_loaded(client)
        for model in self.models:
            left_s = max(1.0, deadline - time.monotonic())
            try:
                took_s = smoke.ask(self.grpc_url, model, timeout_s=left_s, cancelled=cancelled)
            except ServerError:
                self._check_alive()
                raise
            if took_s is None:
                return False
            self.answer_times_s[model.name] = took_s
        self.log.release()
        return True

    def wait(self, timeout_s: float) -> bool:
        """Wait for tritonserver to end by itself; whether it did."""
        return self._child is None or self._child.wait(timeout_s)

    def stop(self) -> None:
        """End tritonserver and everything that belongs to it; harmless when it has ended."""
        if self._child is not None:
            self._child.stop()

    def death(self) -> ServerError:
        """What to say of a server that has ended by itself."""
        code = self.exit_code
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"exited {code}"
        return ServerError(f"tritonserver {how}: {self._last_words()}")

    def processes(self) -> tuple[psutil.Process, ...]:
        """The processes of tritonserver and of its models, as far as they are alive."""
        if self._child is None or self._child.pid is None or self.exit_code is not None:
            return ()
        try:
            server = psutil.Process(self._child.pid)
            return (server, *server.children(recursive=True))
        except psutil.NoSuchProcess:
            return ()

    @property
    def _started_ports(self) -> Ports:
        if self.ports is None:
            raise ServerError("the server has no address before it is started")
        return self.ports

    @property
    def _client_host(self) -> str:
        host = self.options.host
        if host in ("0.0.0.0", "::"):
            return "127.0.0.1"
        return f"[{host}]" if ":" in host else host

    def _check_alive(self) -> None:
        if self.exit_code is not None:
            raise self.death()

    def _last_words(self) -> str:
        errors = self.log.errors()
        if errors:
            return brief(errors[-1])
        lines = self.log.lines()
        return lines[-1] if lines else "it wrote no log"

    def _live(self, client: triton.InferenceServerClient) -> bool:
        try:
            return bool(client.is_server_live(client_timeout=_PROBE_TIMEOUT_S))
        except InferenceServerException:
            return False

    def _check_loaded(self, client: triton.InferenceServerClient) -> None:
        """See that all models are loaded; names the first that is not, and why."""
        try:
            index = client.get_model_repository_index(client_timeout=_INDEX_TIMEOUT_S).models
        except InferenceServerException as error:
            self._check_alive()
            raise ServerError(f"tritonserver does not tell its models: {error}") from error
        ready = {entry.name for entry in index if entry.state == "READY"}
        reasons = {entry.name: entry.reason for entry in index if entry.reason}
        # An ensemble fails for the sake of its steps, so they are named first.
        missing = sorted(
            (model for model in self.models if model.name not in ready),
            key=lambda model: model.ensemble,
        )
        if not missing:
            return
        name = missing[0].name
        reason = brief(reasons[name]) if name in reasons else self.log.error_about(name)
        if reason is not None and smoke.DEAD in reason:
            reason = "its process died, see --log-level info"
        others = ", ".join(model.name for model in missing[1:])
        raise ServerError(
            f"{name} did not load: {reason or self._last_words()}"
            + (f" (nor did {others})" if others else "")
        )
