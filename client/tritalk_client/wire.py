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
_SessionId = Annotated[str, Meta(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
_EndSilence = Annotated[int, Meta(ge=100, le=5_000)]
_SilenceTimeout = Annotated[float, Meta(ge=0.0, le=3_600.0)]
_Lead = Annotated[float, Meta(ge=0.2, le=3_600.0)]


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """Base of all messages: a field that is not known is refused."""


# --- to the stages -----------------------------------------------------------------------------


class ChatMessage(Message):
    """One message of a chat, as language models name it."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]


class Sampling(Message):
    """How the language model picks its words."""

    max_new_tokens: Annotated[int, Meta(ge=0, le=2048)] = 160
    """0 only reads the messages, so that an answer to what begins like them comes sooner."""
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
    endpointing: bool = False
    """Whether the model finds the ends of utterances itself and goes on listening; else the
    utterance ends with the sequence."""
    end_silence_ms: _EndSilence | None = None
    """Silence that ends an utterance; None is the model's setting."""
    silence_timeout_s: _SilenceTimeout | None = None
    """Silence after which the model says so; None is the model's setting, 0 never."""


class Speaking(Message, tag="speaking"):
    """The user speaks; sent by `asr` with every chunk in which he does, as soon as it has come."""

    utterance: int
    """Number of the utterance in its sequence, from 0."""
    speech_s: float
    """Seconds of speech in this utterance so far, without its pauses."""


class Silence(Message, tag="silence"):
    """Nobody has spoken for as long as the silence time-out; sent once for each such silence."""

    silent_s: float


class Transcript(Message, tag="transcript"):
    """What the user said, or has said so far."""

    text: str
    final: bool
    audio_s: float
    """Length of the audio that the text covers, in seconds."""
    language: str
    utterance: int = 0
    """Number of the utterance in its sequence, from 0."""
    stable: str = ""
    """The beginning of the text that will not change any more; all of it once it is final."""
    paused: bool = False
    """Whether nobody has spoken since the end of the text: it may be all that was to be said."""
    since_speech_ms: float | None = None
    """Milliseconds since the last speech that the text covers had come, when this was sent; of
    final and paused transcripts."""
    endpoint_ms: float | None = None
    """Milliseconds from the last speech until its end was certain; of final transcripts of a
    hands-free user."""
    ignored: Literal["", "back_channel", "echo"] = ""
    """Why the portrait does not take these words for a question of the user's."""


Hearing: TypeAlias = Speaking | Transcript | Silence
"""What `asr` says of a sequence."""


class PhonemeTiming(Message):
    """One phoneme of synthesised speech, in seconds from the start of its audio."""

    symbol: str
    start_s: float
    duration_s: float


class AnimateOptions(Message):
    """Which portrait speaks, and how far ahead of its viewer."""

    avatar_id: _Id
    lead_s: _Lead | None = None
    """Most seconds that are animated ahead of a viewer who plays each fragment at once; None is as
    fast as it goes."""


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
    session_id: _SessionId | None = None
    """With the START: go on with this session, its history and its settings. One that is not known
    any more begins anew. `Started` names the session."""
    lead_s: _Lead | None = None
    """Most seconds of an answer that the client holds ahead of playing it; 3600 is as fast as the
    answer is made, and its turn then ends with its last fragment, not when that has been played."""
    interrupt_ms: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    """Milliseconds of the user's speech that interrupt an answer; shorter sounds do not."""
    end_silence_ms: _EndSilence | None = None
    """Silence that ends a question of a hands-free user."""
    silence_timeout_s: _SilenceTimeout | None = None
    """Silence of a hands-free user after which he is said to be silent; 0 is never."""
    echo_guard: bool | None = None
    """Whether words that the portrait is just speaking are taken for its echo in the microphone:
    for clients without echo cancellation. Interrupting then takes some words, not a sound."""
    answer_cache: bool | None = None
    """Whether answers to frequent questions may come from the cache, and go there."""


class Audio(Message, tag="audio"):
    """A chunk of the user's speech; the samples are in the `AUDIO` tensor."""

    sample_rate_hz: int = INPUT_SAMPLE_RATE_HZ
    end_of_speech: bool = False
    """The question ends with this chunk."""
    hands_free: bool = False
    """The microphone stays open, and the server finds out where a question ends. Such chunks are
    best 20 to 500 ms long; with `end_of_speech` the microphone closes."""


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


class ForgetAnswers(Message, tag="forget_answers"):
    """Empty the cache of answers; needs no conversation, its sequence has one request."""

    question: _Text | None = None
    """Only the answers to this question; None is all."""


Request: TypeAlias = Configure | Audio | Ask | Say | Interrupt | Close | ForgetAnswers


# --- the conversation, downwards ---------------------------------------------------------------


class StageTimes(Message):
    """Milliseconds from the end of the question to each stage's first result.

    A stage that has not happened yet, or does not happen in this turn, is None. The end of the
    question is the arrival of the chunk with `end_of_speech`, of the text, or, of a hands-free
    user, of the last speech.
    """

    endpoint: float | None = None
    """The silence of a hands-free user had been long enough to end his question."""
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
    session_id: str = ""
    """Whoever has it can go on with this session; see `Configure.session_id`."""
    resumed: bool = False
    """Whether the session was known."""
    history: int = 0
    """Messages of the session so far."""


class TurnStarted(Message, tag="turn_started"):
    """The portrait begins to answer."""

    turn_id: str
    question: str
    cached: bool = False
    """Whether the answer comes from the cache."""


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
    """How much of the answer had been played, in seconds."""
    text: str
    """The part of the answer that was heard."""
    cause: Literal["speech", "request", "question", "gone"] = "request"
    """What cut it off: the user's voice, an `interrupt`, another question, or that the client has
    gone."""


class TurnCompleted(Message, tag="turn_completed"):
    """The turn has ended; no event of this turn follows."""

    turn_id: str
    outcome: Literal["answered", "interrupted", "failed"]
    reply: str
    media_s: float
    stages_ms: StageTimes
    usage: Usage | None = None


class AnswersForgotten(Message, tag="answers_forgotten"):
    """The cache of answers is empty, or has no answer to that question any more."""

    answers: int
    """How many were in it."""


class Failure(Message, tag="failure"):
    """A stage failed; the conversation goes on."""

    stage: str
    code: ErrorCode
    message: str
    retryable: bool
    turn_id: str | None = None


Event: TypeAlias = (
    Started
    | Speaking
    | Silence
    | Transcript
    | TurnStarted
    | ReplyText
    | Media
    | Interrupted
    | TurnCompleted
    | AnswersForgotten
    | Failure
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


def decode_hearing(data: bytes) -> Hearing:
    """Read what `asr` says of a sequence; raises as `decode` does."""
    return decode(data, Hearing)  # type: ignore[arg-type]


def decode_avatar_command(data: bytes) -> AvatarCommand:
    """Read a command to the `avatar` model; raises as `decode` does."""
    return decode(data, AvatarCommand)  # type: ignore[arg-type]
