"""What a conversation remembers: what was said, how the portrait is, under which name."""

from __future__ import annotations

import time
from dataclasses import asdict, fields, replace

from tritalk.talker.history import Count, History
from tritalk.talker.manner import Manner
from tritalk.talker.saved_sessions import SavedSession, SavedSessions
from tritalk_client import wire

_SETTINGS = {field.name for field in fields(Manner)}


class Memory:
    """One session's memory; it can be gone on with from the store.

    Used by the conversation's thread, and by that of a turn which ends.

    Args:
        saved: Where sessions are kept.
        manner: What holds where neither the client nor the saved session says anything.
        limit_tokens: Most tokens of a prompt without its question.
    """

    def __init__(self, saved: SavedSessions, manner: Manner, *, limit_tokens: int) -> None:
        self.manner = manner
        self.session_id = SavedSessions.new_id()
        self.resumed = False
        self._saved = saved
        self._limit_tokens = limit_tokens
        self._history = History()

    @property
    def messages(self) -> list[wire.ChatMessage]:
        """What was said so far."""
        return self._history.messages

    def resume(self, session_id: str) -> None:
        """Go on with a session where it is known; it gets a new name otherwise."""
        saved = self._saved.load(session_id)
        if saved is None:
            return
        self.session_id, self.resumed = session_id, True
        self._history = History(saved.messages)
        chosen = {name: getattr(saved, name) for name in _SETTINGS}
        self.manner = replace(
            self.manner, **{name: value for name, value in chosen.items() if value is not None}
        )

    def prompt(self, question: str) -> list[wire.ChatMessage]:
        """The messages for the language model."""
        manner = self.manner
        return self._history.prompt(manner.system_prompt, manner.examples, question)

    def opening(self) -> list[wire.ChatMessage]:
        """What the next prompt will begin with, up to the words of the next question."""
        messages = self.prompt("")
        if messages and messages[-1].role == "user":
            return messages
        return [*messages, wire.ChatMessage("user", "")]

    def add(self, question: str, answer: str) -> None:
        """Remember an exchange."""
        self._history.add(question, answer)

    def trim(self, count: Count) -> bool:
        """Forget the oldest when there is too much; whether there was.

        Raises:
            TritalkError: What `count` raises.
        """
        manner = self.manner
        return self._history.trim(
            manner.system_prompt, manner.examples, limit_tokens=self._limit_tokens, count=count
        )

    def save(self) -> None:
        """Keep the session as it is now."""
        settings = asdict(self.manner)
        sampling = settings.pop("sampling")
        self._saved.save(
            self.session_id,
            SavedSession(
                messages=tuple(self._history.messages),
                sampling=sampling,
                saved_at=time.time(),
                **settings,
            ),
        )
