"""Scripts of conversations: who says what, and when; read from YAML.

```yaml
avatar: portrait.png            # an image beside the script, or the id of a portrait
settings: {system_prompt: Be brief.}
steps:
  - text: How are you?          # spoken by the server's own voice
  - speak: no.wav               # a recording beside the script
    after: first_media          # once the portrait has begun to answer …
    delay_s: 0.8                # … and 0.8 s have passed
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
import yaml
from msgspec import Meta

from tritalk_client import wire
from tritalk_client.audio import read_recording
from tritalk_client.calls import Speech
from tritalk_client.errors import ErrorCode, TritalkError

Moment: TypeAlias = Literal[
    "previous",
    "transcript",
    "turn_started",
    "first_media",
    "interrupted",
    "turn_completed",
    "answered",
    "silence",
]
"""What a step waits for: the end of the step before, or the first such event since that began.

`transcript` is a final one, `first_media` the first fragment of a turn, `answered` a turn that has
been completed without an interruption.
"""

_Text = Annotated[str, Meta(min_length=1, max_length=wire.MAX_TEXT_CHARS)]
_Seconds = Annotated[float, Meta(ge=0, le=3_600)]

_ACTIONS = ("speak", "text", "type", "interrupt", "pause_s")


class Step(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One thing that the user does: exactly one of `speak`, `text`, `type`, `interrupt`, `pause_s`.

    Raises:
        ValueError: It is none of them, or several; or there is a voice without a text.
    """

    speak: str | None = None
    """A recording, which he says."""
    text: _Text | None = None
    """Words that he says, with a voice of the server's."""
    voice: str | None = None
    """The voice, for `text`; by default the server's choice."""
    speed: Annotated[float, Meta(ge=0.5, le=2)] | None = None
    """The speed of speech, for `text`."""
    typed: _Text | None = msgspec.field(default=None, name="type")
    """A question that he types."""
    interrupt: Literal[True] | None = None
    """He stops the answer, without a word."""
    pause_s: _Seconds | None = None
    """He does nothing for so long."""
    after: Moment = "previous"
    """What the step waits for."""
    delay_s: _Seconds = 0.0
    """Seconds after that."""
    within_s: _Seconds = 30.0
    """Longest wait for it."""

    def __post_init__(self) -> None:
        """Check what the types cannot."""
        given = {name: getattr(self, "typed" if name == "type" else name) for name in _ACTIONS}
        chosen = [name for name, value in given.items() if value is not None]
        if len(chosen) != 1:
            raise ValueError(
                f"a step has one of {', '.join(_ACTIONS)}, got {' and '.join(chosen) or 'none'}"
            )
        if self.text is None and not (self.voice is None and self.speed is None):
            raise ValueError("voice and speed go with text")

    @property
    def action(self) -> str:
        """What he does, in a few words."""
        match self:
            case Step(speak=str(name)):
                return f"speak {name}"
            case Step(text=str(text)):
                return f"say {text!r}"
            case Step(typed=str(text)):
                return f"type {text!r}"
            case Step(interrupt=True):
                return "interrupt"
            case _:
                return f"pause {self.pause_s:g} s"


class _File(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    steps: Annotated[tuple[Step, ...], Meta(min_length=1)]
    avatar: str | None = None
    settings: wire.Configure = msgspec.field(default_factory=wire.Configure)
    quiet_s: _Seconds = 2.0


@dataclass(frozen=True, kw_only=True)
class Script:
    """A conversation that is to be held.

    Attributes:
        steps: What the user does.
        avatar: The portrait: the path of an image, or an id; None is whoever holds it to choose.
        settings: What the conversation begins with.
        quiet_s: Seconds without anything after which it is over.
        folder: Where its files lie.
        voices: What is said in a step, 16 kHz PCM, by the step's number; filled by `voiced`.
    """

    steps: tuple[Step, ...]
    avatar: str | None = None
    settings: wire.Configure = field(default_factory=wire.Configure)
    quiet_s: float = 2.0
    folder: Path = Path()
    voices: dict[int, bytes] = field(default_factory=dict, repr=False)

    @property
    def is_spoken(self) -> bool:
        """Whether the user says anything, so that his microphone is open."""
        return any(step.speak is not None or step.text is not None for step in self.steps)

    def voiced(self, synthesise: Callable[..., Speech]) -> Script:
        """The script with the voices of its steps.

        Args:
            synthesise: `Talker.synthesise`.

        Raises:
            TritalkError: A recording cannot be read, or a text not be spoken.
        """
        voices = dict(self.voices)
        for number, step in enumerate(self.steps):
            if number in voices:
                continue
            if step.speak is not None:
                voices[number] = read_recording(self.folder / step.speak)
            elif step.text is not None:
                speech = synthesise(step.text, voice=step.voice, speed=step.speed)
                voices[number] = read_recording(
                    speech.samples, sample_rate_hz=speech.sample_rate_hz
                )
        return replace(self, voices=voices)


def read_script(path: str | os.PathLike[str]) -> Script:
    """Read a script from a YAML file.

    Raises:
        TritalkError: BAD_REQUEST, naming the line and the key, when it is no script.
        OSError: The file cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TritalkError(
            ErrorCode.BAD_REQUEST, f"{path} is not a text file in UTF-8: {error}"
        ) from error
    return parse_script(text, name=str(path), folder=path.parent)


def parse_script(text: str, *, name: str = "the script", folder: Path = Path()) -> Script:
    """Read a script.

    Args:
        text: The YAML text.
        name: What it is called in messages.
        folder: Where its files lie.

    Raises:
        TritalkError: BAD_REQUEST, naming the line and the key.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        content = loader.construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _refused(name, line, "", error.problem or str(error)) from error
    except yaml.YAMLError as error:
        raise _refused(name, 1, "", str(error)) from error
    finally:
        loader.dispose()
    lines = dict(_lines(root, "$")) if root is not None else {}
    try:
        file = msgspec.convert(content, _File)
    except msgspec.ValidationError as error:
        raise _invalid(name, lines, str(error)) from error
    for setting in ("avatar_id", "session_id"):
        if getattr(file.settings, setting) is not None:
            key = f"$.settings.{setting}"
            raise _refused(name, lines.get(key, 1), key, "this is not set by a script")
    for number, step in enumerate(file.steps):
        if step.speak is not None and not (folder / step.speak).is_file():
            key = f"$.steps[{number}].speak"
            raise _refused(name, lines.get(key, 1), key, f"there is no file {folder / step.speak}")
    return Script(
        steps=file.steps,
        avatar=file.avatar,
        settings=file.settings,
        quiet_s=file.quiet_s,
        folder=folder,
    )


def _lines(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    """The lines of all keys, by msgspec's names of places."""
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            for place, line in _lines(value, f"{path}.{key.value}"):
                first = place == f"{path}.{key.value}"
                yield place, key.start_mark.line + 1 if first else line
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _lines(item, f"{path}[{number}]")


def _invalid(name: str, lines: dict[str, int], message: str) -> TritalkError:
    reason, _, place = message.partition(" - at ")
    place = place.strip("`") or "$"
    unknown = re.search(r"unknown field `(.+?)`", reason)
    if unknown:
        place = f"{place}.{unknown.group(1)}"
    line = lines.get(place) or lines.get(place.rpartition(".")[0], 1)
    return _refused(name, line, place, reason)


def _refused(name: str, line: int, place: str, reason: str) -> TritalkError:
    key = place.removeprefix("$").removeprefix(".")
    where = f"{name}, line {line}" + (f", {key}" if key else "")
    return TritalkError(ErrorCode.BAD_REQUEST, f"{where}: {reason}")
