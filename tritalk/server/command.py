"""tritonserver's command line."""

from __future__ import annotations

import shlex
from pathlib import Path

from tritalk import environment
from tritalk.server.installation import STUB, Installation
from tritalk.server.options import LogLevel, Ports, ServerOptions

_LOG_FLAGS: dict[LogLevel, tuple[str, ...]] = {
    "verbose": ("--log-verbose=1",),
    "info": (),
    "warning": ("--log-info=false",),
    "error": ("--log-info=false", "--log-warning=false"),
}
_CONTAINER_REPOSITORY = "/models"


def arguments(
    options: ServerOptions,
    ports: Ports,
    found: Installation,
    backends: Path,
    *,
    shm_prefix: str,
) -> list[str]:
    """The command line under the supervisor.

    Args:
        options: What to serve.
        ports: Where.
        found: The tritonserver.
        backends: The backend directory.
        shm_prefix: What the names of its shared memory begin with.
    """
    return [
        str(found.binary),
        *_common(options, ports, str(options.model_repository.resolve())),
        f"--backend-directory={backends}",
        f"--cache-directory={found.caches}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        # The supervisor tells which model failed and why, and stops the server itself.
        "--exit-on-error=false",
        f"--exit-timeout-secs={max(1, int(options.stop_timeout_s) - 5)}",
    ]


def shell_here(options: ServerOptions, ports: Ports, found: Installation) -> str:
    """Shell lines that start the same server by hand on this machine."""
    lines = ["# The backend directory, as the supervisor makes it.", 'backends="$(mktemp -d)"']
    sources = found.backend_sources()
    for folder in sorted({name.split("/")[0] for name in sources if "/" in name}):
        lines.append(f'mkdir "$backends/{folder}"')
    for name, source in sources.items():
        verb = "ln -s" if source.is_dir() else "cp"
        lines.append(f'{verb} {shlex.quote(str(source))} "$backends/{name}"')
    if found.stub is not None:
        lines.append(f"# {STUB} takes its Python from PATH and its libraries from the linker.")
    variables = found.environment({"PATH": "$PATH"})
    variables[environment.GRPC_VARIABLE] = f"localhost:{ports.grpc}"
    assignments = [f'{key}="{value}"' for key, value in sorted(variables.items())]
    command = [
        shlex.quote(str(found.binary)),
        *map(shlex.quote, _common(options, ports, str(options.model_repository.resolve()))),
        '--backend-directory="$backends"',
        shlex.quote(f"--cache-directory={found.caches}"),
    ]
    lines.append(" \\\n  ".join([*assignments, *command]))
    return "\n".join(lines)


def shell_in_container(options: ServerOptions) -> str:
    """Shell lines for NVIDIA's container, where the repository is mounted on /models."""
    ports = Ports(
        http=options.http_port or 8000,
        grpc=options.grpc_port or 8001,
        metrics=options.metrics_port or 8002,
    )
    command = ["tritonserver", *_common(options, ports, _CONTAINER_REPOSITORY)]
    return "\n".join(
        [
            "# In NVIDIA's container the backend directory is the image's own",
            "# (/opt/tritonserver/backends): it has the Python backend with its stub and the C++",
            "# onnxruntime backend, which runs our ONNX models as they are; backends/onnxruntime",
            "# of this repository is not needed there. The models import tritalk and what it",
            "# depends on, so both must be installed in the image.",
            " \\\n  ".join(map(shlex.quote, command)),
        ]
    )


def _common(options: ServerOptions, ports: Ports, model_repository: str) -> list[str]:
    flags = [
        f"--model-repository={model_repository}",
        "--disable-auto-complete-config",
        "--strict-readiness=true",
        # A model whose process died comes back by unload and load, which this mode allows.
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in options.models or ("*",)),
    ]
    if options.config_name is not None:
        flags.append(f"--model-config-name={options.config_name}")
    if options.cache_bytes > 0:
        flags.append(f"--cache-config=local,size={options.cache_bytes}")
    for endpoint, port in (("http", ports.http), ("grpc", ports.grpc), ("metrics", ports.metrics)):
        flags += [f"--{endpoint}-address={options.host}", f"--{endpoint}-port={port}"]
    return [*flags, *_LOG_FLAGS[options.log_level]]
