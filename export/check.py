"""Verifies what is installed: every byte, and that graphs load."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from export import install, plan
from export.cache import sha256_of
from export.catalogue import Catalogue, Model
from export.plan import Places


@dataclass(frozen=True)
class Row:
    """What is known about one file.

    Attributes:
        entry: The id of its entry.
        path: The file.
        size: Its bytes, None where it is not there.
        problem: What is wrong; empty for a good file.
        note: What there is to know about a good one.
    """

    entry: str
    path: Path
    size: int | None
    problem: str = ""
    note: str = ""


def check(catalogue: Catalogue, places: Places, names: list[str]) -> Iterator[Row]:
    """Check every file of entries.

    Args:
        catalogue: What there is.
        places: Where it is installed.
        names: Profiles, models and assets. Without any, whatever is installed is checked, and that
            no model of the repository lacks its weights.

    Yields:
        A row for each file.
    """
    if names:
        for name, entry in catalogue.resolve(names).items():
            folder = places.folder(name, entry)
            yield from _entry(name, folder, entry.installed_names, catalogue, places)
        return
    for folder in sorted({places.folder(name, entry) for name, entry in catalogue.entries.items()}):
        entries = install.read_receipt(folder).entries
        for name, installed in entries.items():
            yield from _entry(name, folder, tuple(installed.files), catalogue, places)
    for name, entry in catalogue.resolve(["default"]).items():
        folder = places.folder(name, entry)
        owned = {
            file
            for installed in install.read_receipt(folder).entries.values()
            for file in installed.files
        }
        if isinstance(entry, Model) and not owned.issuperset(entry.installed_names):
            yield from _entry(name, folder, entry.installed_names, catalogue, places)


def _entry(
    name: str, folder: Path, files: tuple[str, ...], catalogue: Catalogue, places: Places
) -> Iterator[Row]:
    installed = install.read_receipt(folder).entries.get(name)
    if installed is None:
        yield from (Row(name, folder / file, None, "not installed") for file in files)
        return
    note = "" if installed.pinned else "your own checkpoint"
    entry = catalogue.entries.get(name)
    if entry is None:
        note = "not in this catalogue"
    elif installed.pinned:
        work = plan.job(name, entry, places, plan.pinned_sources(name, entry, places))
        if work.key != installed.key:
            note = "other than the catalogue's"
    for file, digest in installed.files.items():
        yield _file(name, folder / file, digest, note)


def _file(entry: str, path: Path, digest: str, note: str) -> Row:
    try:
        size = path.stat().st_size
        found = sha256_of(path)
    except OSError as error:
        return Row(entry, path, None, str(error.strerror))
    if found != digest:
        return Row(entry, path, size, f"sha256 {found[:8]}… is not {digest[:8]}…")
    return Row(entry, path, size, _content_problem(path), note)


def _content_problem(path: Path) -> str:
    """What is wrong with the content of a file whose bytes are right; empty for nothing."""
    if path.suffix == ".onnx":
        return _graph_problem(path)
    if path.suffix == ".json":
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            return f"is not JSON: {error}"
    if path.suffix == ".gguf":
        with path.open("rb") as stream:
            if stream.read(4) != b"GGUF":
                return "is not in GGUF format"
    if path.suffix == ".task" and not zipfile.is_zipfile(path):
        return "is not a MediaPipe task bundle"
    return ""


def _graph_problem(path: Path) -> str:
    # Heavy, and only `check` needs it.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    failures = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.InvalidProtobuf,
        failures.NoSuchFile,
        failures.NotImplemented,
        failures.RuntimeException,
    ) as error:
        return f"ONNX Runtime cannot load it: {(str(error).splitlines() or [''])[0]}"
    return ""
