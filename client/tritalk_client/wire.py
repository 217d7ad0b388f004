"""What crosses the wire, defined once for the server and the client.

Every message is a JSON object in a BYTES tensor of one element. Messages that share a tensor are
told apart by their `type` field. A field that is not known, of the wrong type or out of bounds is
refused with `ErrorCode.BAD_REQUEST`, naming the field. Audio is PCM, signed 16-bit little-endian,
mono: `INPUT_SAMPLE_RATE_HZ` upwards, the voice's own rate downwards. Media is fragmented MP4 whose
fragments, concatenated in the order of their arrival, make a playable file.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from tritalk_client.errors import ErrorCode, TritalkError

INPUT_SAMPLE_RATE_HZ = 16_000
"""Sample rate of all audio that goes to the server."""

MAX_TEXT_CHARS = 8_000
"""Longest text of one message: a question, a system prompt, a script to be narrated."""

MAX_AUDIO_S = 60.0
"""Longest utterance that is recognised in one piece."""

MAX_IMAGE_BYTES = 16 * 1024 * 1024
"""Largest portrait file."""

_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
_Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
_Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}$")]


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """Base of all messages: a field that is not known is refused."""


# --- to the stages -----------------------------------------------------------------------------


class ChatMessage(Message):
    """One message of a chat, as language models name it."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]


class Sampling(Message):
    """How the language model picks its words."""

    max_new_tokens: Annotated[int, Meta(ge=1, le=2048)] = 160
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.0
    """0 is greedy."""
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    repeat_penalty: Annotated[float, Meta(ge=0.5, le=2.0)] = 1.1
    seed: int = 0
    stop: tuple[str, ...] = ()


class Usage(Message):
    """What a generation cost; the last message of the `llm` model."""

    prompt_tokens: int
    completion_tokens: int
    finish_reason: Literal["stop", "length", "cancelled"]
    cached_tokens: int = 0
    """Prompt tokens whose keys and values were still in the cache."""


class RecognitionOptions(Message):
    """How `asr` treats the audio of a sequence."""

    language: _Language = "en"
    sample_rate_hz: int = INPUT_SAMPLE_RATE_HZ


class PhonemeTiming(Message):
    """One phoneme of synthesised speech, in seconds from the start of its audio."""

    symbol: str
    start_s: float
    duration_s: float


class AnimateOptions(Message):
    """Which portrait speaks."""

    avatar_id: _Id


class Fragment(Message):
    """What `animate` says of one media fragment."""

    index: int
    """Number of the fragment in its sequence, from 0; fragment 0 carries the MP4 header."""
    start_s: float
    duration_s: float
    frames: int
    samples: int
    """Audio samples of the piece, at the rate of its input."""
    spoken: bool
    """Whether speech is heard in it."""


class AvatarRegister(Message, tag="register"):
    """Prepare the portrait in the `IMAGE` tensor."""


class AvatarList(Message, tag="list"):
    """List the avatars of the store."""


class AvatarGet(Message, tag="get"):
    """Describe one avatar."""

    avatar_id: _Id


class AvatarDelete(Message, tag="delete"):
    """Delete one avatar."""

    avatar_id: _Id


AvatarCommand: TypeAlias = AvatarRegister | AvatarList | AvatarGet | AvatarDelete


class FaceBox(Message):
    """A face in the portrait, in pixels of the prepared portrait."""

    x: int
    y: int
    width: int
    height: int


class AvatarInfo(Message):
    """A prepared portrait."""

    avatar_id: str
    width: int
    height: int
    """Size of the video in pixels; even numbers."""
    face: FaceBox
    warnings: tuple[str, ...] = ()


# --- the conversation, upwards -----------------------------------------------------------------


class Configure(Message, tag="configure"):
    """Settings of the conversation; fields that are left out keep their value.

    Must come with the START of the sequence, where `avatar_id` is required.
    """

    avatar_id: _Id | None = None
    voice: _Id | None = None
    language: _Language | None = None
    system_prompt: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)] | None = None
    sampling: Sampling | None = None
    speed: Annotated[float, Meta(ge=0.5, le=2.0)] | None = None


class Audio(Message, tag="audio"):
    """A chunk of the user's speech; the samples are in the `AUDIO` tensor."""

    sample_rate_hz: int = INPUT_SAMPLE_RATE_HZ
    end_of_speech: bool = False
    """The question ends with this chunk."""


class Ask(Message, tag="ask"):
    """A typed question."""

    text: _Text


class Say(Message, tag="say"):
    """Words for the portrait to speak as they are."""

    text: _Text


class Interrupt(Message, tag="interrupt"):
    """Stop the answer that is being given."""


class Close(Message, tag="close"):
    """End the conversation; comes with the END of the sequence."""


Request: TypeAlias = Configure | Audio | Ask | Say | Interrupt | Close


# --- the conversation, downwards ---------------------------------------------------------------


class StageTimes(Message):
    """Milliseconds from the end of the question to each stage's first result.

    A stage that has not happened yet, or does not happen in this turn, is None. The end of the
    question is the arrival of the chunk with `end_of_speech`, or of the text.
    """

    transcript: float | None = None
    first_token: float | None = None
    first_clause: float | None = None
    first_audio: float | None = None
    first_frame: float | None = None
    """The first media fragment with speech left the server."""
    last_token: float | None = None
    total: float | None = None
    """The last media fragment left the server."""


class Started(Message, tag="started"):
    """The conversation is open."""

    avatar_id: str
    voice: str
    language: str


class Transcript(Message, tag="transcript"):
    """What the user said."""

    text: str
    final: bool
    audio_s: float
    """Length of the audio that the text covers, in seconds."""
    language: str


class TurnStarted(Message, tag="turn_started"):
    """The portrait begins to answer."""

    turn_id: str
    question: str


class ReplyText(Message, tag="reply_text"):
    """Words of the answer, as the language model produces them."""

    turn_id: str
    text: str
    stages_ms: StageTimes


class Media(Message, tag="media"):
    """A media fragment; its bytes are in the `MEDIA` tensor."""

    turn_id: str
    index: int
    """Number of the fragment in its turn, from 0; fragment 0 carries the MP4 header."""
    start_s: float
    duration_s: float
    frames: int
    spoken: bool
    """Whether speech is heard in it."""
    stages_ms: StageTimes
    text: str = ""
    """The clause that begins in this fragment."""


class Interrupted(Message, tag="interrupted"):
    """The answer was cut off."""

    turn_id: str
    heard_s: float
    """Length of the media that was sent, in seconds."""
    text: str
    """The part of the answer that was spoken."""


class TurnCompleted(Message, tag="turn_completed"):
    """The turn has ended; no event of this turn follows."""

    turn_id: str
    outcome: Literal["answered", "interrupted", "failed"]
    reply: str
    media_s: float
    stages_ms: StageTimes
    usage: Usage | None = None


class Failure(Message, tag="failure"):
    """A stage failed; the conversation goes on."""

    stage: str
    code: ErrorCode
    message: str
    retryable: bool
    turn_id: str | None = None


Event: TypeAlias = (
    Started | Transcript | TurnStarted | ReplyText | Media | Interrupted | TurnCompleted | Failure
)

T = TypeVar("T")


def encode(message: object) -> bytes:
    """The JSON bytes of a message, or of a list of messages."""
    return msgspec.json.encode(message)


def decode(data: bytes, kind: type[T]) -> T:
    """Read a message of one class, or a list type of one.

    Raises:
        TritalkError: BAD_REQUEST, naming the field, when the bytes are not such a message.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TritalkError(ErrorCode.BAD_REQUEST, f"not a valid message: {error}") from error


def decode_request(data: bytes) -> Request:
    """Read a message of the conversation on its way up; raises as `decode` does."""
    return decode(data, Request)  # type: ignore[arg-type]


def decode_event(data: bytes) -> Event:
    """Read a message of the conversation on its way down; raises as `decode` does."""
    return decode(data, Event)  # type: ignore[arg-type]


def decode_avatar_command(data: bytes) -> AvatarCommand:
    """Read a command to the `avatar` model; raises as `decode` does."""
    return decode(data, AvatarCommand)  # type: ignore[arg-type]
