"""What every measurement writes beside what it prints: `out/NAME.json` with stable keys."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from tritalk import environment

_LIBRARIES = ("nvidia-pytriton", "onnxruntime", "xllamacpp", "hibari-tts", "av", "numpy")
_COMMAND_TIMEOUT_S = 10.0


def output_dir() -> Path:
    """The folder of results, made when it is missing."""
    folder = environment.repository_root() / "out"
    folder.mkdir(exist_ok=True)
    return folder


def write(name: str, results: dict[str, Any]) -> Path:
    """Write the results of a measurement as `out/NAME.json`, with machine, versions, revision."""
    path = output_dir() / f"{name}.json"
    document = {**results, **provenance()}
    partial = path.with_suffix(".json.part")
    partial.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def provenance() -> dict[str, Any]:
    """What every result carries: the machine, the versions and the revision it belongs to."""
    return {"machine": machine(), "versions": versions(), "revision": revision()}


def machine() -> dict[str, Any]:
    """The machine that the figures belong to."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]) or None,
        "system": platform.platform(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """The versions of what does the work."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "not installed"
    return found


def revision() -> str:
    """The git revision of the checkout, with `-dirty` where it was changed; empty outside git."""
    root = environment.repository_root()
    return _output(["git", "-C", str(root), "describe", "--always", "--dirty"])


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _output(command: list[str]) -> str:
    """What a command prints, empty where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""
