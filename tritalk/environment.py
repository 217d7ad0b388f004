"""The only module that reads environment variables, and the folders they lead to."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "TRITALK_CACHE_DIR"
STATE_VARIABLE = "TRITALK_STATE_DIR"
SLO_VARIABLE = "TRITALK_SLO_FILE"
GRPC_VARIABLE = "TRITALK_GRPC_URL"
REDIS_VARIABLE = "TRITALK_REDIS_URL"


def repository_root() -> Path:
    """The checkout (or the folder of the installation) that holds `model_repository/`."""
    return Path(__file__).resolve().parent.parent


def cache_dir() -> Path:
    """Where downloaded and converted weights are kept; `TRITALK_CACHE_DIR` overrides it."""
    override = os.environ.get(CACHE_VARIABLE)
    return Path(override) if override else platformdirs.user_cache_path("tritalk", False)


def state_dir() -> Path:
    """Where the server keeps what outlives it (avatars); `TRITALK_STATE_DIR` overrides it."""
    override = os.environ.get(STATE_VARIABLE)
    return Path(override) if override else platformdirs.user_state_path("tritalk", False)


def slo_file() -> Path:
    """The file of objectives; `TRITALK_SLO_FILE` overrides the repository's `slo.yaml`."""
    override = os.environ.get(SLO_VARIABLE)
    return Path(override) if override else repository_root() / "slo.yaml"


def grpc_url() -> str:
    """Triton's gRPC endpoint as its own models reach it; the supervisor sets `TRITALK_GRPC_URL`."""
    return os.environ.get(GRPC_VARIABLE) or "localhost:8001"


def inherited() -> dict[str, str]:
    """A copy of this process's environment, as a start for a child's."""
    return dict(os.environ)


def redis_url() -> str:
    """Where sessions and answers are kept, `TRITALK_REDIS_URL`; empty is nowhere but here."""
    return os.environ.get(REDIS_VARIABLE, "")
