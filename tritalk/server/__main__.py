"""`python -m tritalk.server`: starts tritonserver, says when it is ready, stops it in order."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tritalk.server import command, installation, preflight
from tritalk.server.errors import ServerError
from tritalk.server.options import ServerOptions
from tritalk.server.server import Server

_WATCH_S = 0.2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = ServerOptions()
    parser = argparse.ArgumentParser(
        prog="python -m tritalk.server",
        description="Serve the model repository with Triton until SIGTERM or SIGINT.",
    )
    add = parser.add_argument
    add("--model-repository", type=Path, default=defaults.model_repository, metavar="FOLDER")
    add(
        "--model",
        action="append",
        default=[],
        dest="models",
        metavar="NAME",
        help="load this model only, and those named with further --model",
    )
    add("--config-name", metavar="NAME", help="take configs/NAME.pbtxt of models that have it")
    add("--host", default=defaults.host, help="address to listen on (default: %(default)s)")
    for endpoint in ("http", "grpc", "metrics"):
        default = getattr(defaults, f"{endpoint}_port")
        add(f"--{endpoint}-port", type=int, default=default, help="0 is a free one")
    add(
        "--log-level",
        choices=("verbose", "info", "warning", "error"),
        default=defaults.log_level,
        help="what of tritonserver's log to write (default: %(default)s)",
    )
    add(
        "--cache-mib",
        type=int,
        default=defaults.cache_bytes // 2**20,
        help="memory for cached responses, 0 is no cache (default: %(default)s)",
    )
    add("--tritonserver", type=Path, metavar="PATH", help="another tritonserver binary")
    add("--start-timeout", type=float, default=defaults.start_timeout_s, metavar="SECONDS")
    add(
        "--print-command",
        nargs="?",
        choices=("here", "container"),
        const="here",
        help="print the plain tritonserver command line, for here or for NVIDIA's container",
    )
    return parser


def options_of(arguments: argparse.Namespace) -> ServerOptions:
    """The options that a command line chooses."""
    return ServerOptions(
        model_repository=arguments.model_repository,
        models=tuple(arguments.models),
        config_name=arguments.config_name,
        host=arguments.host,
        http_port=arguments.http_port,
        grpc_port=arguments.grpc_port,
        metrics_port=arguments.metrics_port,
        log_level=arguments.log_level,
        cache_bytes=arguments.cache_mib * 2**20,
        tritonserver=arguments.tritonserver,
        start_timeout_s=arguments.start_timeout,
    )


def serve(options: ServerOptions) -> None:
    """Run a server until a signal comes.

    Raises:
        ServerError: It could not start, or it died.
    """
    # A plain flag: setting an Event in a signal handler may wait for itself.
    signals: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        signals.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    server = Server(options, log=sys.stderr)
    try:
        server.start()
        if not server.wait_ready(options.start_timeout_s, cancelled=lambda: bool(signals)):
            return
        print(_ready_line(server), flush=True)
        while not signals:
            if server.wait(_WATCH_S):
                raise server.death()
    finally:
        server.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, or print the command line; the exit code."""
    parsed = parser().parse_args(arguments)
    options = options_of(parsed)
    try:
        if parsed.print_command == "container":
            print(command.shell_in_container(options))
        elif parsed.print_command == "here":
            found = installation.find(options.tritonserver)
            print(command.shell_here(options, preflight.choose_ports(options), found))
        else:
            serve(options)
    except ServerError as error:
        print(f"tritalk.server: {error}", file=sys.stderr)
        return 1
    return 0


def _ready_line(server: Server) -> str:
    names = ", ".join(model.name for model in server.models)
    return (
        f"tritalk is ready: gRPC {server.grpc_url}, HTTP {server.http_url}, "
        f"metrics {server.metrics_url}; models {names}"
    )


if __name__ == "__main__":
    sys.exit(main())
