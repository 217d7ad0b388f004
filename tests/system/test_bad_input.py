"""What strangers send: a typed error each, and the next good request works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype

from tests import pictures
from tritalk.server import Server, smoke
from tritalk.server.repository import Model
from tritalk_client import Talker, wire
from tritalk_client.errors import ErrorCode, TritalkError

RATE_HZ = wire.INPUT_SAMPLE_RATE_HZ
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def talker(server: Server) -> Talker:
    return Talker(server.grpc_url)


@pytest.fixture(scope="module")
def avatar(talker: Talker) -> wire.AvatarInfo:
    return talker.register_avatar(pictures.file_of(pictures.astronaut()))


@pytest.fixture(scope="module")
def stub(server: Server) -> service_pb2_grpc.GRPCInferenceServiceStub:
    return service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(server.grpc_url))


@pytest.fixture(autouse=True)
def _the_next_good_request_works(talker: Talker, avatar: wire.AvatarInfo) -> object:
    yield
    assert talker.say("Good.", avatar=avatar).result().outcome == "answered"


def big_image() -> bytes:
    return pictures.file_of(np.full((4000, 5000, 3), 128, np.uint8))


@pytest.mark.parametrize(
    ("picture", "code"),
    [
        (lambda: pictures.file_of(np.full((256, 256, 3), 90, np.uint8)), ErrorCode.NO_FACE),
        (lambda: pictures.file_of(pictures.two_faces()), ErrorCode.SEVERAL_FACES),
        (lambda: pictures.file_of(pictures.astronaut())[:5000], ErrorCode.BAD_IMAGE),
        (lambda: b"GIF89a but not really", ErrorCode.BAD_IMAGE),
        (big_image, ErrorCode.TOO_LARGE),
        (lambda: bytes(wire.MAX_IMAGE_BYTES + 1), ErrorCode.TOO_LARGE),
    ],
    ids=["no face", "two faces", "truncated", "no image", "20 megapixels", "17 MiB"],
)
def test_portraits_that_cannot_work(
    talker: Talker, picture: Callable[[], bytes], code: ErrorCode
) -> None:
    with pytest.raises(TritalkError) as caught:
        talker.register_avatar(picture())
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        (np.zeros(0, np.float32), ErrorCode.BAD_AUDIO),
        (np.zeros(RATE_HZ * 2, np.float32), ErrorCode.NO_SPEECH),
        (np.full(RATE_HZ, np.nan, np.float32), ErrorCode.BAD_AUDIO),
        (np.zeros(RATE_HZ * 600, np.float32), ErrorCode.TOO_LARGE),
    ],
    ids=["empty", "silent", "NaN", "10 minutes"],
)
def test_questions_that_cannot_be_understood(
    talker: Talker, avatar: wire.AvatarInfo, samples: np.ndarray, code: ErrorCode
) -> None:
    with pytest.raises(TritalkError) as caught:
        talker.ask(samples, sample_rate_hz=RATE_HZ, avatar=avatar).result()
    assert caught.value.code is code


def test_a_file_that_is_no_recording(
    talker: Talker, avatar: wire.AvatarInfo, tmp_path: Path
) -> None:
    path = tmp_path / "question.wav"
    path.write_text("this is no sound")

    with pytest.raises(TritalkError) as caught:
        talker.ask(path, avatar=avatar).result()
    assert caught.value.code is ErrorCode.BAD_AUDIO


def test_a_recording_of_another_rate_is_resampled(
    talker: Talker, avatar: wire.AvatarInfo, tmp_path: Path
) -> None:
    speech = talker.synthesise("Good morning to all of you.")
    path = tmp_path / "question.wav"
    soundfile.write(path, np.repeat(speech.samples, 2), speech.sample_rate_hz * 2)

    answer = talker.ask(path, avatar=avatar).result()

    assert "morning" in answer.question.lower()


class RawConversation:
    """The talker's stream without the SDK's care."""

    def __init__(self, stub: service_pb2_grpc.GRPCInferenceServiceStub, sequence_id: int) -> None:
        self._stub = stub
        self._sequence_id = sequence_id

    def send(
        self, *messages: bytes, audio: bytes = b"", open_with: bytes = b""
    ) -> list[service_pb2.ModelStreamInferResponse]:
        requests = []
        if open_with:
            requests.append(self._request(open_with, b"", start=True))
        for message in messages:
            requests.append(self._request(message, audio))
        requests.append(self._request(wire.encode(wire.Close()), b"", end=True))
        # The stream is read while requests still go up, so the last must not cut off the answers.
        return list(self._stub.ModelStreamInfer(iter(requests), timeout=TIMEOUT_S))

    def _request(
        self, message: bytes, audio: bytes, *, start: bool = False, end: bool = False
    ) -> service_pb2.ModelInferRequest:
        request = service_pb2.ModelInferRequest(model_name="talker")
        for name, data in {"REQUEST": message, "AUDIO": audio}.items():
            if data or name == "REQUEST":
                request.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
                request.raw_input_contents.append(len(data).to_bytes(4, "little") + data)
        request.parameters["sequence_id"].int64_param = self._sequence_id
        request.parameters["sequence_start"].bool_param = start
        request.parameters["sequence_end"].bool_param = end
        return request


def failures(responses: list[service_pb2.ModelStreamInferResponse]) -> list[ErrorCode]:
    """The typed errors in a stream: refused requests and failed turns."""
    codes = []
    for response in responses:
        if response.error_message:
            codes.append(TritalkError.from_wire(response.error_message).code)
            continue
        for output, raw in zip(
            response.infer_response.outputs,
            response.infer_response.raw_output_contents,
            strict=False,
        ):
            if output.name == "EVENT":
                event = wire.decode_event(raw[4:])
                if isinstance(event, wire.Failure):
                    codes.append(event.code)
    return codes


@pytest.mark.parametrize(
    ("message", "audio", "code"),
    [
        (b'{"type":"ask","text":"hi","mood":"glad"}', b"", ErrorCode.BAD_REQUEST),
        (b'{"type":"dance"}', b"", ErrorCode.BAD_REQUEST),
        (b"\xff\xfe\x00", b"", ErrorCode.BAD_REQUEST),
        (b"", b"", ErrorCode.BAD_REQUEST),
        (wire.encode(wire.Ask("x" * 100_000)), b"", ErrorCode.TOO_LARGE),
        (wire.encode(wire.Ask("x" * 9_000)), b"", ErrorCode.BAD_REQUEST),
        (wire.encode(wire.Configure(avatar_id="0" * 16)), b"", ErrorCode.UNKNOWN_AVATAR),
        (wire.encode(wire.Audio(end_of_speech=True)), b"\x01", ErrorCode.BAD_AUDIO),
        (wire.encode(wire.Audio(end_of_speech=True)), b"", ErrorCode.BAD_AUDIO),
        (
            wire.encode(wire.Audio(sample_rate_hz=44_100, end_of_speech=True)),
            bytes(3200),
            ErrorCode.BAD_AUDIO,
        ),
        (
            wire.encode(wire.Audio(end_of_speech=True)),
            bytes(RATE_HZ * 2 * 90),
            ErrorCode.TOO_LARGE,
        ),
    ],
    ids=[
        "unknown field",
        "unknown type",
        "no UTF-8",
        "nothing",
        "100 kB of text",
        "9,000 characters",
        "unknown avatar",
        "half a sample",
        "no samples",
        "wrong sample rate",
        "90 s at once",
    ],
)
def test_messages_that_are_wrong(
    stub: service_pb2_grpc.GRPCInferenceServiceStub,
    avatar: wire.AvatarInfo,
    message: bytes,
    audio: bytes,
    code: ErrorCode,
) -> None:
    opening = wire.encode(wire.Configure(avatar_id=avatar.avatar_id))

    responses = RawConversation(stub, 4711).send(message, audio=audio, open_with=opening)

    assert failures(responses) == [code]


def test_a_conversation_with_an_unknown_avatar_does_not_open(talker: Talker) -> None:
    with pytest.raises(TritalkError) as caught:
        talker.ask(text="Anyone?", avatar="0123456789abcdef").result()
    assert caught.value.code is ErrorCode.UNKNOWN_AVATAR


def test_an_unknown_voice_names_those_that_there_are(
    talker: Talker, avatar: wire.AvatarInfo
) -> None:
    with pytest.raises(TritalkError, match="the voices are") as caught:
        talker.say("Hello.", avatar=avatar, voice="nobody").result()
    assert caught.value.code is ErrorCode.UNKNOWN_VOICE


@pytest.mark.parametrize(
    "shape", [[4, 2**62], [2**62, 4], [-1, 1], [1, -1], [2**31, 2**33], [0, 1], [1, 2], [1]]
)
@pytest.mark.parametrize(
    "name", ["asr", "llm", "talker", "tts", "avatar", "wav2lip", "animate", "narrate"]
)
def test_shapes_that_overflow_kill_nothing(
    server: Server,
    stub: service_pb2_grpc.GRPCInferenceServiceStub,
    name: str,
    shape: list[int],
) -> None:
    # given a good request of which one tensor has a bad shape
    model = next(model for model in server.models if model.name == name)
    request = misshapen(model, shape)

    # when it is sent
    responses = list(stub.ModelStreamInfer(iter([request]), timeout=TIMEOUT_S))

    # then it is refused, and the model lives
    assert [bool(response.error_message) for response in responses] == [True]
    assert (
        smoke.ask(server.grpc_url, model, timeout_s=TIMEOUT_S, cancelled=lambda: False) is not None
    )


def misshapen(model: Model, shape: list[int]) -> service_pb2.ModelInferRequest:
    """The model's smoke request with no data and a bad shape in its first tensor."""
    request = service_pb2.ModelInferRequest(model_name=model.name)
    dims = {tensor.name: list(tensor.dims) for tensor in model.config.input}
    batch = [1] if model.config.max_batch_size > 0 else []
    for index, (name, value) in enumerate(smoke.smoke_request(model).inputs.items()):
        if isinstance(value, np.ndarray):
            kind, raw = np_to_triton_dtype(value.dtype), value.tobytes()
        else:
            data = value.encode() if isinstance(value, str) else value
            kind, raw = "BYTES", len(data).to_bytes(4, "little") + data
        wrong = index == 0
        request.inputs.add(
            name=name,
            datatype=kind,
            shape=[*shape, *dims[name][1:]] if wrong else batch + [*dims[name]],
        )
        request.raw_input_contents.append(b"" if wrong else raw)
    request.parameters["sequence_id"].int64_param = 4712
    request.parameters["sequence_start"].bool_param = True
    request.parameters["sequence_end"].bool_param = True
    return request
