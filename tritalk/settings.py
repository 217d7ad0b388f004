"""Settings of a model: read from `parameters` of its config.pbtxt, validated at load."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class SettingsError(ValueError):
    """A setting is wrong; the message names the file, the parameter and what it must be."""


class Settings(BaseModel):
    """Base of a model's settings object: one field a parameter, strict about names.

    Values arrive as text (`string_value` in config.pbtxt) and are converted to the field's type.
    """

    # A value may be a secret that was put under a misspelt name.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


S = TypeVar("S", bound=Settings)

# Parameters that Triton's Python backend itself reads from config.pbtxt.
_BACKEND_PARAMETERS = frozenset({"EXECUTION_ENV_PATH", "FORCE_CPU_ONLY_INPUT_TENSORS"})


def read_settings(kind: type[S], model_config: str) -> S:
    """Read the settings of a model.

    Args:
        kind: The settings class of the model.
        model_config: The model's configuration as JSON, as Triton hands it to `initialize()`.

    Raises:
        SettingsError: A parameter is unknown, missing or has a wrong value.
    """
    config: dict[str, Any] = json.loads(model_config)
    values = {
        name: parameter["string_value"]
        for name, parameter in config.get("parameters", {}).items()
        if name not in _BACKEND_PARAMETERS
    }
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"parameter {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors()
        )
        name = config.get("name", "?")
        raise SettingsError(f"model_repository/{name}/config.pbtxt: {problems}") from error
