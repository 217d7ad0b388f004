"""The state of a server, model by model."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

TURN_MODELS = ("asr", "llm", "tts", "avatar", "wav2lip", "animate", "talker")
"""The models without which no question is answered."""

MODELS = (*TURN_MODELS, "narrate")
"""All models of tritalk."""


@dataclass(frozen=True, kw_only=True)
class ModelHealth:
    """One model, as Triton sees it.

    Attributes:
        name: Its name.
        ready: Whether Triton calls it ready. A model whose process was killed from outside is
            called ready until its next request.
        versions: The versions that are served.
        reason: Why it is not ready; empty when it is.
    """

    name: str
    ready: bool
    versions: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Health:
    """A server, as Triton sees it.

    Attributes:
        server: Its address.
        version: Triton's version.
        models: All models of tritalk.
    """

    server: str
    version: str
    models: tuple[ModelHealth, ...]

    @property
    def can_serve_turns(self) -> bool:
        """Whether every model that a turn needs is ready."""
        ready = {model.name for model in self.models if model.ready}
        return ready.issuperset(TURN_MODELS)


def ready_model(name: str, versions: list[str]) -> ModelHealth:
    """A model that answered for itself."""
    return ModelHealth(name=name, ready=True, versions=tuple(versions))


def unready_model(name: str, error: grpc.RpcError | None) -> ModelHealth:
    """A model that is not ready, or that Triton does not know."""
    reason = " ".join((error.details() or "").split()) if error is not None else "not ready"
    return ModelHealth(name=name, ready=False, reason=reason)
