from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from tests.conversations import eventually
from tritalk.talker.remote import RemoteStages
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

TIMEOUT_S = 0.5
SEQUENCE = 77
Heard = wire.Hearing | TritalkError | None


@dataclass(frozen=True)
class Chunk:
    """A request that has come to recognition."""

    number: str
    audio: bytes
    options: wire.RecognitionOptions | None
    sequence_id: int
    start: bool
    end: bool


class Recognition(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A server that hears what the test says.

    Attributes:
        hears: What is said of a chunk; an error, or nothing.
        acknowledges: Whether it takes chunks at all.
        chunks: What has come.
        hangs_up: Whether the stream ends with the next chunk.
    """

    def __init__(self) -> None:
        self.hears: Callable[[Chunk], list[wire.Hearing | TritalkError]] = lambda chunk: []
        self.acknowledges = True
        self.hangs_up = False
        self.chunks: list[Chunk] = []
        self.open_streams = 0

    def ModelStreamInfer(self, requests: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        self.open_streams += 1
        try:
            for request in requests:
                chunk = self._chunk(request)
                self.chunks.append(chunk)
                if self.hangs_up:
                    return
                yield from self._responses(chunk)
        finally:
            self.open_streams -= 1

    def _responses(self, chunk: Chunk) -> Iterator[Any]:
        for said in self.hears(chunk):
            response = service_pb2.ModelInferResponse(id=chunk.number)
            if isinstance(said, TritalkError):
                yield service_pb2.ModelStreamInferResponse(
                    error_message=said.to_wire(), infer_response=response
                )
                return
            raw = serialize_byte_tensor(np.array([wire.encode(said)], dtype=np.object_)).item()
            response.outputs.add(name="EVENT", datatype="BYTES", shape=[1, 1])
            response.raw_output_contents.append(raw)
            yield service_pb2.ModelStreamInferResponse(infer_response=response)
        if self.acknowledges:
            final = service_pb2.ModelInferResponse(id=chunk.number)
            final.parameters["triton_final_response"].bool_param = True
            yield service_pb2.ModelStreamInferResponse(infer_response=final)

    def _chunk(self, request: Any) -> Chunk:
        assert request.model_name == "asr"
        assert request.parameters["triton_enable_empty_final_response"].bool_param
        tensors = {
            tensor.name: deserialize_bytes_tensor(raw)[0]
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        options = tensors.get("OPTIONS")
        return Chunk(
            request.id,
            tensors["AUDIO"],
            wire.decode(options, wire.RecognitionOptions) if options is not None else None,
            request.parameters["sequence_id"].int64_param,
            request.parameters["sequence_start"].bool_param,
            request.parameters["sequence_end"].bool_param,
        )


@pytest.fixture
def recognition() -> Recognition:
    return Recognition()


@pytest.fixture
def address(recognition: Recognition) -> Iterator[str]:
    with futures.ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(recognition, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(0).wait(10)


def _stages(address: str, timeout_s: float) -> Iterator[RemoteStages]:
    stages = RemoteStages(address, {"asr": timeout_s}, stream_timeout_s=timeout_s)
    yield stages
    eventually(lambda: not _ears())
    stages.close()


@pytest.fixture
def stages(address: str) -> Iterator[RemoteStages]:
    yield from _stages(address, 20.0)


@pytest.fixture
def hasty(address: str) -> Iterator[RemoteStages]:
    yield from _stages(address, TIMEOUT_S)


def _ears() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ear-")]


class Listener:
    """Takes what an ear delivers."""

    def __init__(self) -> None:
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()

    def __call__(self, hearing: Heard) -> None:
        self._heard.put(hearing)

    def next(self) -> Heard:
        return self._heard.get(timeout=20)

    @property
    def is_empty(self) -> bool:
        return self._heard.empty()


def final(text: str) -> wire.Transcript:
    return wire.Transcript(text, True, 0.3, "en", stable=text)


def test_chunks_come_in_their_order_as_one_sequence(
    recognition: Recognition, stages: RemoteStages
) -> None:
    options = wire.RecognitionOptions(language="de", endpointing=True, end_silence_ms=500)
    listener = Listener()
    ear = stages.listen(SEQUENCE, options, listener)

    for number in range(20):
        ear.send(bytes([number]) * 4)
    ear.send(b"end.", end=True)

    assert listener.next() is None
    chunks = recognition.chunks
    assert [chunk.audio for chunk in chunks[:-1]] == [bytes([n]) * 4 for n in range(20)]
    assert chunks[-1].audio == b"end."
    assert {chunk.sequence_id for chunk in chunks} == {SEQUENCE}
    assert [chunk.start for chunk in chunks] == [True] + [False] * 20
    assert [chunk.end for chunk in chunks] == [False] * 20 + [True]
    assert [chunk.options for chunk in chunks] == [options] + [None] * 20
    assert len({chunk.number for chunk in chunks}) == 21
    eventually(lambda: recognition.open_streams == 0)


def test_a_question_in_one_piece_is_a_whole_sequence(
    recognition: Recognition, stages: RemoteStages
) -> None:
    recognition.hears = lambda chunk: [final("Hello?")]
    listener = Listener()

    stages.listen(SEQUENCE, wire.RecognitionOptions(), listener).send(b"speech", end=True)

    assert listener.next() == final("Hello?")
    assert listener.next() is None
    (chunk,) = recognition.chunks
    assert (chunk.start, chunk.end) == (True, True)


def test_what_is_heard_is_delivered_in_its_order_while_more_is_sent(
    recognition: Recognition, stages: RemoteStages
) -> None:
    partial = wire.Transcript("How", False, 0.2, "en")
    said: dict[str, list[wire.Hearing | TritalkError]] = {
        "1": [wire.Speaking(0, 0.1)],
        "2": [wire.Speaking(0, 0.2), partial],
        "4": [wire.Silence(8.0)],
    }
    recognition.hears = lambda chunk: said.get(chunk.number, [])
    listener = Listener()
    ear = stages.listen(SEQUENCE, wire.RecognitionOptions(endpointing=True), listener)

    ear.send(b"1")
    assert listener.next() == wire.Speaking(0, 0.1)
    ear.send(b"2")
    assert [listener.next(), listener.next()] == [wire.Speaking(0, 0.2), partial]
    ear.send(b"3")
    ear.send(b"4", end=True)

    assert [listener.next(), listener.next()] == [wire.Silence(8.0), None]


def test_audio_waits_until_recognition_has_acknowledged_it(
    recognition: Recognition, stages: RemoteStages
) -> None:
    taken = threading.Event()

    def hear(chunk: Chunk) -> list[wire.Hearing | TritalkError]:
        taken.wait(20)
        return []

    recognition.hears = hear
    listener = Listener()
    ear = stages.listen(SEQUENCE, wire.RecognitionOptions(), listener)
    ear.send(bytes(100))
    ear.send(bytes(50))
    assert ear.waiting_bytes == 150

    taken.set()

    eventually(lambda: ear.waiting_bytes == 0)
    ear.send(b"", end=True)
    assert listener.next() is None


def test_an_error_ends_the_sequence_and_names_the_stage(
    recognition: Recognition, stages: RemoteStages
) -> None:
    recognition.hears = lambda chunk: (
        [TritalkError(ErrorCode.NO_SPEECH, "nobody spoke")] if chunk.number == "2" else []
    )
    listener = Listener()
    ear = stages.listen(SEQUENCE, wire.RecognitionOptions(), listener)

    ear.send(b"1")
    ear.send(b"2")

    error = listener.next()
    assert isinstance(error, TritalkError)
    assert (error.stage, error.code, error.message) == ("asr", ErrorCode.NO_SPEECH, "nobody spoke")
    # The place of the sequence is given back, and nothing more is sent or heard.
    eventually(lambda: recognition.chunks[-1].end)
    ear.send(b"3", end=True)
    eventually(lambda: recognition.open_streams == 0)
    assert [chunk.audio for chunk in recognition.chunks] == [b"1", b"2", b""]
    assert listener.is_empty


def test_a_server_that_hangs_up_is_an_error(recognition: Recognition, stages: RemoteStages) -> None:
    recognition.hangs_up = True
    listener = Listener()

    stages.listen(SEQUENCE, wire.RecognitionOptions(), listener).send(b"1")

    error = listener.next()
    assert isinstance(error, TritalkError)
    assert (error.stage, error.code, error.retryable) == ("asr", ErrorCode.UNAVAILABLE, True)


def test_a_server_that_says_nothing_is_given_up(
    recognition: Recognition, hasty: RemoteStages
) -> None:
    recognition.acknowledges = False
    listener = Listener()

    hasty.listen(SEQUENCE, wire.RecognitionOptions(), listener).send(b"1")

    error = listener.next()
    assert isinstance(error, TritalkError)
    assert (error.stage, error.code, error.retryable) == ("asr", ErrorCode.TIMEOUT, True)


def test_a_user_who_is_silent_is_not_given_up(hasty: RemoteStages) -> None:
    listener = Listener()
    ear = hasty.listen(SEQUENCE, wire.RecognitionOptions(endpointing=True), listener)
    ear.send(b"1")
    eventually(lambda: ear.waiting_bytes == 0)

    # Longer than a chunk may wait, and than the ear waits between two looks.
    time.sleep(3 * TIMEOUT_S)

    ear.send(b"2", end=True)
    assert listener.next() is None


def test_a_closed_ear_ends_its_sequence_and_delivers_nothing(
    recognition: Recognition, stages: RemoteStages
) -> None:
    recognition.hears = lambda chunk: [final("Hello?")] if chunk.end else []
    listener = Listener()
    ear = stages.listen(SEQUENCE, wire.RecognitionOptions(), listener)
    ear.send(b"1")

    ear.close()
    ear.close()
    ear.send(b"2")

    eventually(lambda: not _ears())
    assert [(chunk.audio, chunk.end) for chunk in recognition.chunks] == [
        (b"1", False),
        (b"", True),
    ]
    assert listener.is_empty
    eventually(lambda: recognition.open_streams == 0)


def test_a_closed_ear_of_a_server_that_says_nothing_ends_without_a_word(
    recognition: Recognition, hasty: RemoteStages
) -> None:
    recognition.acknowledges = False
    listener = Listener()
    ear = hasty.listen(SEQUENCE, wire.RecognitionOptions(), listener)
    ear.send(b"1")

    ear.close()

    eventually(lambda: not _ears())
    assert listener.is_empty
    assert ear.waiting_bytes == 1
