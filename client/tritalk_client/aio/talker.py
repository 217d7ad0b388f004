"""The SDK for asyncio: a connection to a tritalk server."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tritalk_client import calls, wire
from tritalk_client.aio.conversation import AsyncConversation, AsyncTurn
from tritalk_client.aio.narration import AsyncNarration
from tritalk_client.aio.stream import AsyncStream
from tritalk_client.audio import Recording
from tritalk_client.calls import Call, Reading, Speech
from tritalk_client.health import MODELS, Health, ModelHealth, ready_model, unready_model
from tritalk_client.protocol import call_error, channel_options, check_server, new_sequence_id
from tritalk_client.question import Question, read_question, read_script
from tritalk_client.reconnect import Reconnect
from tritalk_client.settings import UNPACED_LEAD_S, Avatar, Settings, configuration
from tritalk_client.timeouts import Timeouts
from tritalk_client.video import Answer

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

T = TypeVar("T")


class AsyncTalker:
    """A connection to a tritalk server, for one event loop; create it inside a coroutine.

    Its methods are those of `Talker`, with the same arguments, results and errors.

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
            self._channel = grpc.aio.insecure_channel(server, options=options)
        else:
            self._channel = grpc.aio.secure_channel(server, credentials, options=options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._conversations: weakref.WeakSet[AsyncConversation] = weakref.WeakSet()

    async def __aenter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """End what is still open on this connection, and the connection."""
        for conversation in list(self._conversations):
            await conversation.close()
        await self._channel.close()

    # --- turns -------------------------------------------------------------------------------

    def conversation(
        self,
        avatar: Avatar,
        *,
        session_id: str | None = None,
        reconnect: bool | Reconnect = False,
        **settings: Unpack[Settings],
    ) -> AsyncConversation:
        """A conversation, to be opened with `async with`; see `Talker.conversation`."""
        conversation = AsyncConversation(
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
    ) -> AsyncTurn:
        """Ask one question in a conversation of its own; see `Talker.ask`."""

        def load() -> Question:
            return read_question(recording, text=text, sample_rate_hz=sample_rate_hz, pace=pace)

        settings.setdefault("lead_s", UNPACED_LEAD_S)
        conversation = self.conversation(avatar, **settings)
        return AsyncTurn(conversation, load=load, raise_failures=raise_failures)

    def say(
        self,
        text: str,
        *,
        avatar: Avatar,
        raise_failures: bool = True,
        **settings: Unpack[Settings],
    ) -> AsyncTurn:
        """Have the portrait speak words as they are; see `Talker.say`."""
        settings.setdefault("lead_s", UNPACED_LEAD_S)
        conversation = self.conversation(avatar, **settings)
        return AsyncTurn(
            conversation, load=lambda: read_script(text), raise_failures=raise_failures
        )

    async def ask_and_save(
        self,
        recording: Recording | None = None,
        path: str | os.PathLike[str] = "answer.mp4",
        *,
        avatar: Avatar,
        text: str | None = None,
        sample_rate_hz: int | None = None,
        **settings: Unpack[Settings],
    ) -> Answer:
        """Ask, wait for the whole answer, and write its video; see `Talker.ask_and_save`."""
        turn = self.ask(
            recording, avatar=avatar, text=text, sample_rate_hz=sample_rate_hz, **settings
        )
        answer = await turn.result()
        await asyncio.to_thread(answer.save, path)
        return answer

    def narrate(
        self, text: str, *, avatar: Avatar, voice: str | None = None, speed: float | None = None
    ) -> AsyncNarration:
        """Make a video of the portrait speaking a script; see `Talker.narrate`."""
        sequence_id = new_sequence_id()
        request = calls.narrate(text, avatar, voice=voice, speed=speed, sequence_id=sequence_id)
        return AsyncNarration(self.server, self.timeouts, request, sequence_id, self._connect)

    # --- portraits ---------------------------------------------------------------------------

    async def register_avatar(self, image: str | os.PathLike[str] | bytes) -> wire.AvatarInfo:
        """Prepare a portrait; see `Talker.register_avatar`."""
        return await self._run(await asyncio.to_thread(calls.register_avatar, image))

    async def avatars(self) -> list[wire.AvatarInfo]:
        """The portraits that the server knows."""
        return await self._run(calls.avatars())

    async def delete_avatar(self, avatar: Avatar) -> None:
        """Delete a portrait; UNKNOWN_AVATAR when there is none of this id."""
        await self._run(calls.delete_avatar(avatar))

    # --- stages, for engineers ---------------------------------------------------------------

    async def transcribe(
        self, recording: Recording, *, sample_rate_hz: int | None = None, language: str = "en"
    ) -> wire.Transcript:
        """Recognise a recording; see `Talker.transcribe`."""
        call = await asyncio.to_thread(
            calls.transcribe, recording, sample_rate_hz=sample_rate_hz, language=language
        )
        return await self._run(call)

    async def synthesise(
        self, text: str, *, voice: str | None = None, speed: float | None = None
    ) -> Speech:
        """Speak a text."""
        return await self._run(calls.synthesise(text, voice=voice, speed=speed))

    async def forget_answers(self, question: str | None = None) -> int:
        """Empty the cache of answers; see `Talker.forget_answers`."""
        return await self._run(calls.forget_answers(question))

    async def health(self) -> Health:
        """The state of every model; UNAVAILABLE when there is no server."""
        timeout_s = self.timeouts.connect_s
        try:
            server = await self._stub.ServerMetadata(
                service_pb2.ServerMetadataRequest(), timeout=timeout_s, metadata=self._metadata
            )
            models = tuple([await self._model_health(name) for name in MODELS])
        except grpc.RpcError as error:
            raise call_error(error, self.server) from error
        return Health(server=self.server, version=server.version, models=models)

    async def _model_health(self, name: str) -> ModelHealth:
        options = {"timeout": self.timeouts.connect_s, "metadata": self._metadata}
        ready = await self._stub.ModelReady(service_pb2.ModelReadyRequest(name=name), **options)
        try:
            model = await self._stub.ModelMetadata(
                service_pb2.ModelMetadataRequest(name=name), **options
            )
        except grpc.RpcError as error:
            if ready.ready:
                raise
            return unready_model(name, error)
        return ready_model(name, model.versions) if ready.ready else unready_model(name, None)

    async def _run(self, call: Call[T]) -> T:
        options = {"timeout": self.timeouts.call_s, "metadata": self._metadata}
        try:
            if not call.streamed:
                return call.read(await self._stub.ModelInfer(call.request, **options))
            reading = Reading(call, self.server)
            stream = self._stub.ModelStreamInfer(iter([call.request]), **options)
            try:
                async for response in stream:
                    reading.take(response)
            finally:
                stream.cancel()
        except grpc.RpcError as error:
            raise call_error(error, self.server) from error
        return reading.result()

    def _connect(self) -> AsyncStream:
        return AsyncStream(self._stub, self._metadata)
