"""The SDK for threads: a connection to a tritalk server."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritalk_client import calls, wire
from tritalk_client.audio import Recording
from tritalk_client.calls import Call, Reading, Speech
from tritalk_client.conversation import Conversation, Turn
from tritalk_client.health import MODELS, Health, ModelHealth, ready_model, unready_model
from tritalk_client.narration import Narration
from tritalk_client.protocol import call_error, channel_options, check_server, new_sequence_id
from tritalk_client.question import Question, read_question, read_script
from tritalk_client.reconnect import Reconnect
from tritalk_client.settings import UNPACED_LEAD_S, Avatar, Settings, configuration
from tritalk_client.stream import Stream
from tritalk_client.timeouts import Timeouts
from tritalk_client.video import Answer

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

T = TypeVar("T")


class Talker:
    """A connection to a tritalk server; may be shared by threads.

    The connection is made by the first call. Every method raises `TritalkError` for what the
    server refuses or fails at: UNAVAILABLE when it cannot be reached, TIMEOUT when a call takes
    too long.

    Args:
        server: `host:port` of Triton's gRPC endpoint.
        timeouts: Deadlines.
        credentials: For TLS, `grpc.ssl_channel_credentials()`; None is plain text.
        headers: Sent with every call, such as `{"authorization": "Bearer …"}`.
    """

    def __init__(
        self,
        server: str = "localhost:8001",
        *,
        timeouts: Timeouts | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.server = check_server(server)
        self.timeouts = timeouts or Timeouts()
        self._metadata = [(name.lower(), value) for name, value in (headers or {}).items()]
        options = channel_options(self.timeouts.connect_s)
        if credentials is None:
            self._channel = grpc.insecure_channel(server, options=options)
        else:
            self._channel = grpc.secure_channel(server, credentials, options=options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._conversations: weakref.WeakSet[Conversation] = weakref.WeakSet()

    def __enter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """End what is still open on this connection, and the connection."""
        for conversation in list(self._conversations):
            conversation.close()
        self._channel.close()

    # --- turns -------------------------------------------------------------------------------

    def conversation(
        self,
        avatar: Avatar,
        *,
        session_id: str | None = None,
        reconnect: bool | Reconnect = False,
        **settings: Unpack[Settings],
    ) -> Conversation:
        """A conversation, to be opened with `with`.

        Args:
            avatar: The portrait.
            session_id: An earlier conversation to go on with, by its `session_id`.
            reconnect: Whether the conversation is taken up again when its connection is lost, or
                within which limits.
            **settings: See `Settings`.

        Raises:
            TritalkError: BAD_REQUEST for a setting out of its bounds, or what cannot be a session.
        """
        conversation = Conversation(
            self.server,
            self.timeouts,
            configuration(avatar, settings, session_id=session_id),
            self._connect,
            Reconnect() if reconnect is True else reconnect or None,
        )
        self._conversations.add(conversation)
        return conversation

    def ask(
        self,
        recording: Recording | None = None,
        *,
        avatar: Avatar,
        text: str | None = None,
        sample_rate_hz: int | None = None,
        pace: bool = False,
        raise_failures: bool = True,
        **settings: Unpack[Settings],
    ) -> Turn:
        """Ask one question in a conversation of its own.

        Args:
            recording: The path of a sound file, or samples.
            avatar: The portrait that answers.
            text: A typed question, in place of a recording.
            sample_rate_hz: Sample rate of samples.
            pace: Whether a recording is sent at the speed of speech, not as fast as it goes.
            raise_failures: Whether a failed stage raises its error, not only says so in an event.
            **settings: See `Settings`; `lead_s` is unlimited unless it is given.
        """

        def load() -> Question:
            return read_question(recording, text=text, sample_rate_hz=sample_rate_hz, pace=pace)

        settings.setdefault("lead_s", UNPACED_LEAD_S)
        conversation = self.conversation(avatar, **settings)
        return Turn(conversation, load=load, raise_failures=raise_failures)

    def say(
        self,
        text: str,
        *,
        avatar: Avatar,
        raise_failures: bool = True,
        **settings: Unpack[Settings],
    ) -> Turn:
        """Have the portrait speak words as they are; arguments as those of `ask`."""
        settings.setdefault("lead_s", UNPACED_LEAD_S)
        conversation = self.conversation(avatar, **settings)
        return Turn(conversation, load=lambda: read_script(text), raise_failures=raise_failures)

    def ask_and_save(
        self,
        recording: Recording | None = None,
        path: str | os.PathLike[str] = "answer.mp4",
        *,
        avatar: Avatar,
        text: str | None = None,
        sample_rate_hz: int | None = None,
        **settings: Unpack[Settings],
    ) -> Answer:
        """Ask, wait for the whole answer, and write its video to `path`.

        Raises:
            TritalkError: As `ask`.
            OSError: The file cannot be written.
        """
        turn = self.ask(
            recording, avatar=avatar, text=text, sample_rate_hz=sample_rate_hz, **settings
        )
        answer = turn.result()
        answer.save(path)
        return answer

    def narrate(
        self, text: str, *, avatar: Avatar, voice: str | None = None, speed: float | None = None
    ) -> Narration:
        """Make a video of the portrait speaking a script, without a conversation.

        Args:
            text: The script, at most 8,000 characters.
            avatar: The portrait.
            voice: The voice's name; None is the server's choice.
            speed: Speed of speech, 0.5 to 2; None is the server's choice.
        """
        sequence_id = new_sequence_id()
        request = calls.narrate(text, avatar, voice=voice, speed=speed, sequence_id=sequence_id)
        return Narration(self.server, self.timeouts, request, sequence_id, self._connect)

    # --- portraits ---------------------------------------------------------------------------

    def register_avatar(self, image: str | os.PathLike[str] | bytes) -> wire.AvatarInfo:
        """Prepare a portrait.

        Args:
            image: The path of an image file (JPEG, PNG, …), or its bytes; at most 16 MiB.

        Raises:
            TritalkError: BAD_IMAGE, TOO_LARGE, NO_FACE, SEVERAL_FACES, UNUSABLE_FACE.
        """
        return self._run(calls.register_avatar(image))

    def avatars(self) -> list[wire.AvatarInfo]:
        """The portraits that the server knows."""
        return self._run(calls.avatars())

    def delete_avatar(self, avatar: Avatar) -> None:
        """Delete a portrait; UNKNOWN_AVATAR when there is none of this id."""
        self._run(calls.delete_avatar(avatar))

    # --- stages, for engineers ---------------------------------------------------------------

    def transcribe(
        self, recording: Recording, *, sample_rate_hz: int | None = None, language: str = "en"
    ) -> wire.Transcript:
        """Recognise a recording; BAD_AUDIO, TOO_LARGE and NO_SPEECH are its errors."""
        return self._run(
            calls.transcribe(recording, sample_rate_hz=sample_rate_hz, language=language)
        )

    def synthesise(
        self, text: str, *, voice: str | None = None, speed: float | None = None
    ) -> Speech:
        """Speak a text."""
        return self._run(calls.synthesise(text, voice=voice, speed=speed))

    def forget_answers(self, question: str | None = None) -> int:
        """Empty the cache of answers; returns how many were in it.

        Args:
            question: Forget the answers to this question only.
        """
        return self._run(calls.forget_answers(question))

    def health(self) -> Health:
        """The state of every model; UNAVAILABLE when there is no server."""
        timeout_s = self.timeouts.connect_s
        try:
            server = self._stub.ServerMetadata(
                service_pb2.ServerMetadataRequest(), timeout=timeout_s, metadata=self._metadata
            )
            models = tuple(self._model_health(name) for name in MODELS)
        except grpc.RpcError as error:
            raise call_error(error, self.server) from error
        return Health(server=self.server, version=server.version, models=models)

    def _model_health(self, name: str) -> ModelHealth:
        options = {"timeout": self.timeouts.connect_s, "metadata": self._metadata}
        ready = self._stub.ModelReady(service_pb2.ModelReadyRequest(name=name), **options)
        try:
            model = self._stub.ModelMetadata(service_pb2.ModelMetadataRequest(name=name), **options)
        except grpc.RpcError as error:
            if ready.ready:
                raise
            return unready_model(name, error)
        return ready_model(name, model.versions) if ready.ready else unready_model(name, None)

    def _run(self, call: Call[T]) -> T:
        options = {"timeout": self.timeouts.call_s, "metadata": self._metadata}
        try:
            if not call.streamed:
                return call.read(self._stub.ModelInfer(call.request, **options))
            reading = Reading(call, self.server)
            stream = self._stub.ModelStreamInfer(iter([call.request]), **options)
            try:
                for response in stream:
                    reading.take(response)
            finally:
                stream.cancel()
        except grpc.RpcError as error:
            raise call_error(error, self.server) from error
        return reading.result()

    def _connect(self) -> Stream:
        return Stream(self._stub, self._metadata)
