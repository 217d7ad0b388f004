"""The models of a repository, as far as the server must know them before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tritalk.server.errors import ServerError

_TEXT_FILES = frozenset({"model.py", ".gitkeep", "__pycache__"})
_NEED_WEIGHTS = frozenset({"asr", "llm", "tts", "avatar", "wav2lip"})
_ENGINES_WITHOUT_WEIGHTS = frozenset({"openai"})


@dataclass(frozen=True)
class Model:
    """One model of a repository.

    Attributes:
        name: The folder's name.
        folder: The model's folder.
        config: Its configuration, a `ModelConfig` of Triton's.
    """

    name: str
    folder: Path
    config: Any

    @property
    def ensemble(self) -> bool:
        """Whether it is an ensemble, which runs no code of its own."""
        return bool(self.config.platform == "ensemble")

    @property
    def instances(self) -> int:
        """How many processes of the Python backend serve it."""
        if self.ensemble:
            return 0
        return sum(max(1, group.count) for group in self.config.instance_group) or 1

    @property
    def versions(self) -> tuple[Path, ...]:
        """The folders of its versions."""
        folders = (path for path in self.folder.iterdir() if path.is_dir() and path.name.isdigit())
        return tuple(sorted(folders, key=lambda path: int(path.name)))

    @property
    def lacks_weights(self) -> bool:
        """Whether it is a model of tritalk whose weights were never put in its folder."""
        if self.name not in _NEED_WEIGHTS or not self.versions:
            return False
        if self.config.parameters["engine"].string_value in _ENGINES_WITHOUT_WEIGHTS:
            return False
        return all(path.name in _TEXT_FILES for path in self.versions[-1].iterdir())


def read(repository: Path, names: tuple[str, ...], config_name: str | None) -> tuple[Model, ...]:
    """Read the models that are to be loaded.

    Args:
        repository: The model repository.
        names: The models; empty is all.
        config_name: Takes `configs/<name>.pbtxt` where a model has it.

    Raises:
        ServerError: A model is missing, has no version or its configuration is not valid.
    """
    if not repository.is_dir():
        raise ServerError(f"{repository} is no folder: give --model-repository another path")
    there = sorted(path.name for path in repository.iterdir() if (path / "config.pbtxt").is_file())
    if unknown := sorted(set(names) - set(there)):
        raise ServerError(
            f"there is no model {', '.join(unknown)} in {repository}: it has {', '.join(there)}"
        )
    if not there:
        raise ServerError(f"{repository} holds no model: no folder in it has a config.pbtxt")
    return tuple(_read_model(repository / name, config_name) for name in names or there)


def _read_model(folder: Path, config_name: str | None) -> Model:
    path = folder / "config.pbtxt"
    if config_name is not None and (folder / "configs" / f"{config_name}.pbtxt").is_file():
        path = folder / "configs" / f"{config_name}.pbtxt"
    try:
        config = text_format.Parse(
            path.read_text(encoding="utf-8"),
            model_config_pb2.ModelConfig(),
            # A newer Triton's configuration may say more than this one's.
            allow_unknown_field=True,
        )
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ServerError(f"{path}: {error}") from error
    model = Model(name=folder.name, folder=folder, config=config)
    if not model.versions:
        raise ServerError(f"{folder} has no version: make the folder {folder / '1'}")
    return model
