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
    history_chars: int = Field(default=4000, ge=0)
    """Characters of earlier messages that go into a prompt; the oldest are dropped first."""

    first_clause_chars: int = Field(default=12, ge=1)
    """The first clause of an answer may end at a comma once it has so many characters."""
    clause_chars: int = Field(default=200, ge=20)
    """A later clause that grows longer is cut at a comma or a space."""

    asr_timeout_s: float = Field(default=15.0, gt=0)
    llm_timeout_s: float = Field(default=15.0, gt=0)
    """Longest wait for the next token."""
    tts_timeout_s: float = Field(default=15.0, gt=0)
    animate_timeout_s: float = Field(default=15.0, gt=0)
    """Longest wait for the next fragment."""
    answer_timeout_s: float = Field(default=600.0, gt=0)
    """Longest answer, from its first token to its last fragment."""
    max_sessions: int = Field(default=64, ge=1)
    """Conversations that may be open at a time; one more is told BUSY."""
    grpc_url: str = ""
    """`host:port` where the other models are reached; empty is this server itself."""
    session_idle_s: float = Field(default=300.0, gt=0)
    """A conversation without a request for so long is closed."""
