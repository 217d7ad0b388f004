"""The calls that are no conversation: what is sent, and how the reply is read; no I/O."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from tritalk_client import events, wire
from tritalk_client.audio import Recording, read_recording
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Fragment
from tritalk_client.protocol import (
    InferRequest,
    InferResponse,
    StreamResponse,
    checked_text,
    from_server,
    infer_request,
    model_error,
    new_sequence_id,
    output_bytes,
    output_int,
)
from tritalk_client.settings import Avatar, avatar_id

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request with one response.

    Attributes:
        request: What to send.
        read: Turns the response into the result.
        streamed: Whether the model is decoupled: Triton takes its requests on streams only.
    """

    request: InferRequest
    read: Callable[[InferResponse], T]
    streamed: bool = False


class Reading(Generic[T]):
    """Reads the stream of one call, on which the response with the result is one of several.

    Args:
        call: What was called.
        server: The address, for messages.
    """

    def __init__(self, call: Call[T], server: str) -> None:
        self._call = call
        self._server = server
        self._results: list[T] = []

    def take(self, response: StreamResponse) -> None:
        """Take what the stream delivered; a response without tensors only ends the request.

        Raises:
            TritalkError: What the server refused or failed at.
        """
        if response.error_message:
            raise model_error(response.error_message, self._server)
        if response.infer_response.outputs:
            self._results.append(self._call.read(response.infer_response))

    def result(self) -> T:
        """What came, once the stream has ended.

        Raises:
            TritalkError: INTERNAL when it was not one response.
        """
        if len(self._results) != 1:
            raise TritalkError(
                ErrorCode.INTERNAL,
                f"{self._server}: {self._call.request.model_name} sent {len(self._results)} "
                "responses to a request that has one",
            )
        return self._results[0]


@dataclass(frozen=True, kw_only=True)
class Speech:
    """Synthesised speech.

    Attributes:
        pcm: Signed 16-bit little-endian mono PCM.
        sample_rate_hz: The voice's sample rate.
        phonemes: When each phoneme is heard; empty when the voice does not know.
    """

    pcm: bytes = field(repr=False)
    sample_rate_hz: int
    phonemes: tuple[wire.PhonemeTiming, ...]

    @property
    def samples(self) -> npt.NDArray[np.int16]:
        """The samples, int16 `[samples]`."""
        return np.frombuffer(self.pcm, dtype="<i2").astype(np.int16)


def register_avatar(image: str | os.PathLike[str] | bytes) -> Call[wire.AvatarInfo]:
    """Prepare a portrait.

    Raises:
        TritalkError: BAD_IMAGE when the file cannot be read or is empty, TOO_LARGE over 16 MiB.
    """
    data = image if isinstance(image, bytes) else _read_image(Path(image))
    if not data:
        raise TritalkError(ErrorCode.BAD_IMAGE, "the portrait is an empty file")
    _check_image_size(len(data))
    return Call(
        _avatar_request(wire.AvatarRegister(), data),
        lambda response: _avatar_reply(response, wire.AvatarInfo),
    )


def avatars() -> Call[list[wire.AvatarInfo]]:
    """List the portraits."""
    return Call(
        _avatar_request(wire.AvatarList()),
        lambda response: _avatar_reply(response, list[wire.AvatarInfo]),
    )


def delete_avatar(avatar: Avatar) -> Call[None]:
    """Delete a portrait."""
    command = wire.AvatarDelete(avatar_id=avatar_id(avatar))
    return Call(_avatar_request(command), lambda response: None)


def transcribe(
    recording: Recording, *, sample_rate_hz: int | None, language: str
) -> Call[wire.Transcript]:
    """Recognise a recording; raises as `read_recording`."""
    tensors = {
        "AUDIO": read_recording(recording, sample_rate_hz=sample_rate_hz),
        "OPTIONS": wire.encode(wire.RecognitionOptions(language=language)),
    }
    return Call(
        infer_request("asr", tensors, sequence_id=new_sequence_id(), start=True, end=True),
        _read_transcript,
        streamed=True,
    )


def forget_answers(question: str | None) -> Call[int]:
    """Empty the cache of answers.

    Raises:
        TritalkError: BAD_REQUEST for an empty question, TOO_LARGE for one that is too long.
    """
    if question is not None:
        checked_text(question)
    tensors = {"REQUEST": wire.encode(wire.ForgetAnswers(question=question))}
    return Call(
        infer_request("talker", tensors, sequence_id=new_sequence_id(), start=True, end=True),
        _read_forgotten,
        streamed=True,
    )


def synthesise(text: str, *, voice: str | None, speed: float | None) -> Call[Speech]:
    """Speak a text; None leaves the choice to the server.

    Raises:
        TritalkError: BAD_REQUEST for an empty text, TOO_LARGE for one that is too long.
    """
    return Call(infer_request("tts", _script(text, voice, speed)), _read_speech)


def narrate(
    text: str, avatar: Avatar, *, voice: str | None, speed: float | None, sequence_id: int
) -> InferRequest:
    """The request for a narration; its responses are read by `read_fragment`.

    Raises:
        TritalkError: BAD_REQUEST for an empty text, TOO_LARGE for one that is too long.
    """
    options = wire.AnimateOptions(avatar_id=avatar_id(avatar))
    tensors = {**_script(text, voice, speed), "OPTIONS": wire.encode(options)}
    return infer_request("narrate", tensors, sequence_id=sequence_id, start=True, end=True)


def stop_narration(sequence_id: int) -> InferRequest:
    """The request that stops a narration.

    It goes to the last model of the ensemble, into which Triton passes no cancellation.
    """
    return infer_request("animate", {"CANCEL": True}, sequence_id=sequence_id, start=True, end=True)


def read_fragment(response: StreamResponse, server: str) -> Fragment | None:
    """The fragment in a response of a narration, None when it carries none.

    Raises:
        TritalkError: What the server refused or failed at.
    """
    if response.error_message:
        raise model_error(response.error_message, server)
    data = output_bytes(response.infer_response, "FRAGMENT")
    if not data:
        return None
    fragment = from_server(lambda message: wire.decode(message, wire.Fragment), data)
    return events.join_fragment(fragment, output_bytes(response.infer_response, "MEDIA"))


def _script(text: str, voice: str | None, speed: float | None) -> dict[str, bytes | float | bool]:
    tensors: dict[str, bytes | float | bool] = {"TEXT": checked_text(text).encode()}
    if voice is not None:
        tensors["VOICE"] = voice.encode()
    if speed is not None:
        tensors["SPEED"] = speed
    return tensors


def _avatar_request(command: wire.AvatarCommand, image: bytes = b"") -> InferRequest:
    tensors = {"COMMAND": wire.encode(command)}
    if image:
        tensors["IMAGE"] = image
    return infer_request("avatar", tensors)


def _avatar_reply(response: InferResponse, kind: type[T]) -> T:
    data = output_bytes(response, "AVATAR")
    return from_server(lambda message: wire.decode(message, kind), data)


def _read_transcript(response: InferResponse) -> wire.Transcript:
    hearing = from_server(wire.decode_hearing, output_bytes(response, "EVENT"))
    if isinstance(hearing, wire.Transcript):
        return hearing
    raise TritalkError(ErrorCode.INTERNAL, f"asr sent {type(hearing).__name__}, not a transcript")


def _read_forgotten(response: InferResponse) -> int:
    event = from_server(wire.decode_event, output_bytes(response, "EVENT"))
    if isinstance(event, wire.AnswersForgotten):
        return event.answers
    raise TritalkError(ErrorCode.INTERNAL, f"talker sent {type(event).__name__}")


def _read_speech(response: InferResponse) -> Speech:
    timing = from_server(
        lambda message: wire.decode(message, list[wire.PhonemeTiming]),
        output_bytes(response, "TIMING") or b"[]",
    )
    return Speech(
        pcm=output_bytes(response, "AUDIO"),
        sample_rate_hz=output_int(response, "SAMPLE_RATE"),
        phonemes=tuple(timing),
    )


def _read_image(path: Path) -> bytes:
    try:
        _check_image_size(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise TritalkError(
            ErrorCode.BAD_IMAGE, f"cannot read the portrait {path}: {error.strerror}"
        ) from error


def _check_image_size(size: int) -> None:
    if size > wire.MAX_IMAGE_BYTES:
        raise TritalkError(
            ErrorCode.TOO_LARGE,
            f"the portrait has {size} bytes, at most {wire.MAX_IMAGE_BYTES} are taken: "
            "make it smaller, or save it as JPEG",
        )
