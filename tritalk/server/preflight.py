"""What must be true before the server starts."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from tritalk.server.errors import ServerError
from tritalk.server.guardian import SHARED_MEMORY
from tritalk.server.options import Ports, ServerOptions
from tritalk.server.repository import Model

_MIB = 1024 * 1024
_SHARED_MEMORY_PER_INSTANCE = 4 * _MIB
"""The Python backend starts with 1 MiB and grows with the tensors of the requests in flight."""
_SHARED_MEMORY_FOR_TENSORS = 32 * _MIB


def check_weights(models: Iterable[Model]) -> None:
    """See that every model has its weights.

    Raises:
        ServerError: Some have none; says how to get them.
    """
    if lacking := [model.name for model in models if model.lacks_weights]:
        raise ServerError(
            f"the weights of {', '.join(lacking)} are missing: run `python -m export get default`"
        )


def check_shared_memory(models: Iterable[Model], *, folder: Path = SHARED_MEMORY) -> None:
    """See that shared memory is large enough for the Python backend's processes.

    Raises:
        ServerError: It is not, or there is none.
    """
    if not folder.is_dir():
        raise ServerError(f"{folder} is missing: mount a tmpfs there")
    instances = sum(model.instances for model in models)
    needed = instances * _SHARED_MEMORY_PER_INSTANCE + _SHARED_MEMORY_FOR_TENSORS
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ServerError(
            f"{folder} has {free // _MIB} MiB free and {instances} model instances need "
            f"{needed // _MIB}: start the container with --shm-size={2 * needed // _MIB}m or more"
        )


def choose_ports(options: ServerOptions) -> Ports:
    """The ports to listen on: those asked for if they are free, a free one for each 0.

    Raises:
        ServerError: A port is busy, the same as another, or the host is no address of the machine.
    """
    wanted = {
        "http": options.http_port,
        "grpc": options.grpc_port,
        "metrics": options.metrics_port,
    }
    chosen: dict[str, int] = {}
    # All are held until all are chosen, so that no two are the same.
    with ExitStack() as held:
        for name, port in wanted.items():
            listener = held.enter_context(_bound(name, options.host, port))
            chosen[name] = listener.getsockname()[1]
    return Ports(**chosen)


def _bound(name: str, host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Only a listening socket keeps a second one of this process off a port.
        listener.listen(1)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ServerError(
            f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}; "
            f"choose another --{name}-port (0 is a free one) or --host"
        ) from error
    return listener
