"""One llama.cpp server inside this process, with a private socket for what its library lacks."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import xllamacpp

from tritalk.llm.engine import EngineError

Chunk: TypeAlias = dict[str, Any]
Take: TypeAlias = Callable[[Chunk], bool]
"""Takes the next chunk of a streamed answer; true ends it."""

# Those that share prompts, count, render, and read what the places hold.
_HTTP_THREADS = 4


class PrivateServer:
    """llama.cpp's server, used as a library; may be used from any thread.

    The server insists on an HTTP listener; it gets a Unix socket in a folder of this user's own
    and a random key, so that nothing of it is on the network.

    Args:
        parameters: An `xllamacpp.CommonParams`; where it listens is set here.
        socket_path: A path in a folder that nobody else can read.
        key: The server's key.

    Raises:
        RuntimeError: llama.cpp cannot load the model.
        EngineError: It does not listen where it was told to.
    """

    def __init__(self, parameters: Any, socket_path: Path, key: str) -> None:
        self._path = socket_path
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        parameters.hostnames = [str(socket_path)]
        parameters.api_keys = [key]
        parameters.n_threads_http = _HTTP_THREADS
        parameters.ui = False
        self._server = xllamacpp.Server(parameters)
        address = self._server.listening_address
        if address != f"unix://{socket_path}":
            self.close()
            raise EngineError(f"llama.cpp listens on {address} in place of its private socket")

    def chat(self, body: dict[str, Any], take: Take) -> None:
        """Stream a chat completion; blocks until it has ended."""
        self._server.handle_chat_completions(body, take)

    def complete(self, body: dict[str, Any], take: Take) -> None:
        """Stream a completion of plain text; blocks until it has ended."""
        self._server.handle_completions(body, take)

    def ask(
        self, method: str, target: str, body: dict[str, Any] | None = None, *, timeout_s: float
    ) -> Any:
        """The JSON answer to a request over the socket.

        Raises:
            OSError: There was no answer in time.
            http.client.HTTPException: The answer is an error, which the message quotes.
        """
        connection = _UnixConnection(self._path, timeout_s)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, target, data, self._headers)
            response = connection.getresponse()
            answer = _decoded(response.read())
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise http.client.HTTPException(f"{target}: {answer}")
        return answer

    def close(self) -> None:
        """End the server. No other method may be called afterwards."""
        del self._server


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise http.client.HTTPException(f"it answers what is no JSON: {error}") from error
