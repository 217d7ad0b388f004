from __future__ import annotations

import json

import pytest
from pydantic import Field

from tritalk.settings import Settings, SettingsError, read_settings


class OvenSettings(Settings):
    degrees: int = Field(default=180, ge=0, le=300)
    fan: bool = False


def config(**parameters: str) -> str:
    return json.dumps(
        {
            "name": "oven",
            "parameters": {name: {"string_value": value} for name, value in parameters.items()},
        }
    )


def test_parameters_are_converted_to_their_types() -> None:
    settings = read_settings(OvenSettings, config(degrees="220", fan="true"))

    assert settings == OvenSettings(degrees=220, fan=True)


def test_parameters_that_are_left_out_have_their_defaults() -> None:
    assert read_settings(OvenSettings, config()) == OvenSettings()


def test_parameters_of_tritons_own_are_passed_over() -> None:
    assert read_settings(OvenSettings, config(EXECUTION_ENV_PATH="venv")) == OvenSettings()


@pytest.mark.parametrize(
    ("name", "value"), [("degrees", "hot"), ("degrees", "500"), ("temperature", "180")]
)
def test_a_wrong_parameter_is_named_with_its_file(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"model_repository/oven/config\.pbtxt: .*{name}"):
        read_settings(OvenSettings, config(**{name: value}))
