"""Settings of the conversation."""

from __future__ import annotations

from pydantic import Field, Json

from tritalk.settings import Settings


class TalkerSettings(Settings):
    """Parameters of `model_repository/talker/config.pbtxt`."""

    voice: str = "default"
    language: str = "en"
    system_prompt: str = "You are a friendly assistant. You answer in one or two short sentences."
    examples: Json[tuple[tuple[str, str], ...]] = (
        ("Hello!", "Hello! It is nice to meet you. What would you like to talk about?"),
        ("What is the largest planet?", "Jupiter is the largest planet in our solar system."),
    )
    """Questions and answers that show the language model its part, as JSON; a client that sets a
    system prompt of its own gets none."""
    max_new_tokens: int = Field(default=96, ge=1, le=2048)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    # Above 1 it also keeps the model from the words of the question.
    repeat_penalty: float = Field(default=1.0, ge=0.5, le=2.0)
    history_tokens: int = Field(default=1024, ge=64)
    """Tokens of a prompt without the question; when there are more, the older half of what was said
    is dropped, so that the rest begins alike for many turns."""

    lead_s: float = Field(default=1.0, ge=0.2, le=3600)
    """Most seconds of an answer that a client holds ahead of playing it."""
    interrupt_ms: int = Field(default=300, ge=0, le=10_000)
    """Speech of the user that interrupts an answer; shorter sounds do not."""
    echo_guard: bool = False
    """Whether the portrait's words are expected to come back through the microphone."""
    speculation: bool = True
    """Whether an answer is begun in a pause that may be the end of the question."""
    read_ahead: bool = True
    """Whether the language model reads the question while it is being spoken."""

    answer_cache: bool = True
    """Whether answers to the first question of a conversation are kept, and given when another
    begins with the same."""
    answer_cache_any_turn: bool = False
    """Whether they are given in the middle of a conversation, too: for kiosks, whose questions
    stand for themselves."""
    answer_cache_ttl_s: float = Field(default=86_400.0, gt=0)
    """Age at which a kept answer is forgotten."""
    answer_max_mib: int = Field(default=4, ge=1, le=16)
    """Largest answer that is kept, in MiB."""
    session_ttl_s: float = Field(default=86_400.0, gt=0)
    """Time after its last turn for which a session can be gone on with."""
    store_mib: int = Field(default=128, ge=1)
    """Memory of this process for sessions and answers, in MiB."""
    redis_url: str = ""
    """Where sessions and answers are kept, `redis://host:6379/0`; empty is what the environment's
    `TRITALK_REDIS_URL` says (parameters can be read by anybody: a URL with a password belongs
    there), else the memory of this process."""

    first_clause_chars: int = Field(default=12, ge=1)
    """The first clause of an answer may end at a comma once it has so many characters."""
    first_clause_longest_chars: int = Field(default=48, ge=8)
    """A first clause that grows longer is cut where a speaker might pause."""
    clause_chars: int = Field(default=200, ge=20)
    """A later clause that grows longer is cut at a comma or a space."""

    asr_timeout_s: float = Field(default=15.0, gt=0)
    """Longest wait until a chunk of speech is acknowledged."""
    llm_timeout_s: float = Field(default=15.0, gt=0)
    """Longest wait for the next token."""
    tts_timeout_s: float = Field(default=15.0, gt=0)
    """Longest wait for the speech of a clause."""
    animate_timeout_s: float = Field(default=15.0, gt=0)
    """Longest wait for the next fragment, and for the description of an avatar."""
    answer_timeout_s: float = Field(default=600.0, gt=0)
    """Longest stream of a stage: the words of an answer, or the fragments of one clause."""
    max_sessions: int = Field(default=64, ge=1)
    """Conversations that may be open at a time; one more is told BUSY."""
    grpc_url: str = ""
    """`host:port` where the other models are reached; empty is this server itself."""
    session_idle_s: float = Field(default=300.0, gt=0)
    """A conversation without a request for so long is closed."""
