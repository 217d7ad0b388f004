"""What can be chosen about the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tritalk import environment

LogLevel = Literal["verbose", "info", "warning", "error"]


def _default_repository() -> Path:
    return environment.repository_root() / "model_repository"


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Settings of one server."""

    model_repository: Path = field(default_factory=_default_repository)
    models: tuple[str, ...] = ()
    """Models to load; empty is all of the repository. What a model calls must be named too."""
    config_name: str | None = None
    """Takes `configs/<name>.pbtxt` of a model where there is one, instead of its config.pbtxt."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every address of the machine."""
    http_port: int = 8000
    """0 picks a free port, here and below."""
    grpc_port: int = 8001
    metrics_port: int = 8002
    log_level: LogLevel = "warning"
    """The least severe lines of tritonserver's log that are written."""
    cache_bytes: int = 128 * 1024 * 1024
    """Memory for cached responses; 0 turns the response cache off."""
    tritonserver: Path | None = None
    """A tritonserver binary; None takes the one of the pip package, else NVIDIA's container's."""
    start_timeout_s: float = 300.0
    stop_timeout_s: float = 10.0
    """Bound on stopping; what is alive after that is killed."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The ports that a server really listens on."""

    http: int
    grpc: int
    metrics: int
