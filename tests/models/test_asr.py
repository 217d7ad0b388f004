"""The served `asr` model, through Triton's gRPC, on recordings of people."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile
import soxr
import tritonclient.grpc as triton

from export import assets
from tests.served import new_sequence_id
from tritalk.asr.mel import log_mel
from tritalk.audio import Samples, from_pcm, to_pcm
from tritalk.server import Server
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

DEADLINE_S = 60.0
RATE_HZ = 16_000
REFERENCE = json.loads(
    Path(__file__).parent.parent.joinpath("data/whisper_reference.json").read_bytes()
)
PIECES: list[dict[str, Any]] = REFERENCE["pieces"]
WHOLE = [piece for piece in PIECES if piece["whole"]]
HARVARD = ("F1", "F2", "M1", "M2")

Send = Callable[..., wire.Transcript]


def name(piece: dict[str, Any]) -> str:
    return f"{piece['recording'].split('/')[1]}-{piece['begin_s']}-{piece['end_s']}"


@cache
def recording(path: str) -> Samples:
    """A recording at 16 kHz, as it travels on the wire."""
    asset, file_name = path.split("/")
    samples, rate = soundfile.read(assets.path(asset) / file_name, dtype="float32")
    return from_pcm(to_pcm(soxr.resample(samples, rate, RATE_HZ)))


def pcm(piece: dict[str, Any]) -> bytes:
    begin, end = (round(piece[edge] * RATE_HZ) for edge in ("begin_s", "end_s"))
    return to_pcm(recording(piece["recording"])[begin:end])


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_url) as client:
        yield client


@pytest.fixture
def send(client: triton.InferenceServerClient) -> Send:
    """Sends one chunk; a sequence of its own unless told otherwise."""

    def send(
        audio: bytes,
        options: bytes | None = None,
        *,
        sequence: int | None = None,
        start: bool = True,
        end: bool = True,
    ) -> wire.Transcript:
        inputs = [tensor("AUDIO", audio)]
        if options is not None:
            inputs.append(tensor("OPTIONS", options))
        try:
            result = client.infer(
                "asr",
                inputs,
                sequence_id=new_sequence_id() if sequence is None else sequence,
                sequence_start=start,
                sequence_end=end,
                client_timeout=DEADLINE_S,
            )
        except triton.InferenceServerException as error:
            raise TritalkError.from_wire(error.message()) from error
        return wire.decode(result.as_numpy("TRANSCRIPT").reshape(-1)[0], wire.Transcript)

    return send


def tensor(name: str, data: bytes) -> triton.InferInput:
    tensor = triton.InferInput(name, [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[data]], dtype=np.object_))
    return tensor


@pytest.mark.parametrize("piece", WHOLE, ids=name)
def test_a_recording_gets_the_text_of_the_reference_implementation(
    send: Send, piece: dict[str, Any]
) -> None:
    heard = send(pcm(piece))
    assert heard.text == piece["texts"]["whisper-base"]
    assert heard.final
    assert heard.language == "en"
    assert heard.audio_s == pytest.approx(piece["end_s"] - piece["begin_s"], abs=0.02)


def test_short_pieces_get_the_words_of_the_reference_implementation(send: Send) -> None:
    """Where two spellings are equally likely, 8 bits may tip a capital letter or a comma."""
    heard = {name(piece): words(send(pcm(piece)).text) for piece in PIECES}
    assert heard == {name(piece): words(piece["texts"]["whisper-base"]) for piece in PIECES}


def test_people_are_understood(send: Send) -> None:
    spoken = assets.recordings("harvard-phrases")
    wrong = jiwer.process_words(
        [" ".join(words(said.text)) for said in spoken.values()],
        [
            " ".join(words(send(to_pcm(recording(f"harvard-phrases/{file_name}"))).text))
            for file_name in spoken
        ],
    )
    assert wrong.wer <= 0.1


def test_chunks_of_any_size_make_the_same_transcript(send: Send) -> None:
    audio = pcm(WHOLE[0])
    at_once = send(audio)
    for chunk in (640, 16_000, 30_002):
        sequence = new_sequence_id()
        for begin in range(0, len(audio), chunk):
            end = begin + chunk >= len(audio)
            heard = send(audio[begin : begin + chunk], sequence=sequence, start=begin == 0, end=end)
            assert heard.final is end
            assert end or heard.text == ""
        assert heard == at_once


def test_an_empty_last_chunk_ends_a_sequence(send: Send) -> None:
    sequence, audio = new_sequence_id(), pcm(WHOLE[0])
    buffered = send(audio, sequence=sequence, end=False)
    assert buffered.audio_s == pytest.approx(len(audio) / 32_000)
    assert send(b"", sequence=sequence, start=False) == send(audio)


def test_sequences_at_once_each_get_the_text_that_they_get_alone(send: Send) -> None:
    audios = [pcm(piece) for piece in PIECES[:12]]
    alone = [send(audio).text for audio in audios]
    with ThreadPoolExecutor(len(audios)) as pool:
        together = [heard.text for heard in pool.map(send, audios)]
    assert together == alone


def test_silence_around_speech_changes_no_word(send: Send) -> None:
    audio, silence = pcm(WHOLE[0]), bytes(5 * 32_000)
    heard = send(silence + audio + silence)
    assert words(heard.text) == words(WHOLE[0]["texts"]["whisper-base"])
    assert heard.audio_s > 15


def test_more_than_the_window_of_the_model_is_recognised_in_pieces(send: Send) -> None:
    long = recording("a2f-samples/sample-1.wav")
    audio = np.concatenate([long, recording("harvard-phrases/F1_harvard_phrases.wav")])
    assert len(audio) > 35 * RATE_HZ
    spoken = assets.recordings("a2f-samples")["sample-1.wav"].text
    spoken += " " + assets.recordings("harvard-phrases")["F1_harvard_phrases.wav"].text
    heard = send(to_pcm(audio))
    assert jiwer.wer(" ".join(words(spoken)), " ".join(words(heard.text))) <= 0.1


@pytest.mark.parametrize(
    ("audio", "options", "code", "message"),
    [
        (b"", None, ErrorCode.BAD_AUDIO, "no audio"),
        (bytes(32_001), None, ErrorCode.BAD_AUDIO, "even number of bytes"),
        (bytes(64_000), None, ErrorCode.NO_SPEECH, "nobody speaks"),
        (bytes(40), None, ErrorCode.NO_SPEECH, "nobody speaks"),
        (bytes(61 * 32_000), None, ErrorCode.TOO_LARGE, "longer than 60 s"),
        (bytes(600 * 32_000), None, ErrorCode.TOO_LARGE, "longer than 60 s"),
        (bytes(320), b'{"sample_rate_hz": 44100}', ErrorCode.BAD_AUDIO, "resample it to 16000"),
        (bytes(320), b'{"language": "xx"}', ErrorCode.BAD_REQUEST, "language 'xx' is unknown"),
        (bytes(320), b'{"lang": "en"}', ErrorCode.BAD_REQUEST, "lang"),
        (bytes(320), b"\xff", ErrorCode.BAD_REQUEST, "not a valid message"),
    ],
)
def test_bad_input_is_a_typed_error_and_the_next_request_works(
    send: Send, audio: bytes, options: bytes | None, code: ErrorCode, message: str
) -> None:
    with pytest.raises(TritalkError, match=message) as refused:
        send(audio, options)
    assert refused.value.code is code
    assert refused.value.stage == "asr"
    assert send(pcm(WHOLE[0])).final


def test_noise_is_not_taken_for_speech(send: Send) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 3 * RATE_HZ).astype(np.float32)
    with pytest.raises(TritalkError) as refused:
        send(to_pcm(noise))
    assert refused.value.code is ErrorCode.NO_SPEECH


def test_a_sequence_that_failed_says_so_until_it_is_started_again(send: Send) -> None:
    sequence = new_sequence_id()
    with pytest.raises(TritalkError, match="even number of bytes"):
        send(bytes(3), sequence=sequence, end=False)
    with pytest.raises(TritalkError, match="start a new one") as refused:
        send(bytes(320), sequence=sequence, start=False, end=False)
    assert refused.value.code is ErrorCode.BAD_REQUEST
    assert send(pcm(WHOLE[0]), sequence=sequence).final


def test_the_metrics_of_the_model_are_served(server: Server, send: Send) -> None:
    sequence = new_sequence_id()
    send(bytes(64_000), sequence=sequence, end=False)
    assert metric(server, "audio_buffer_duration_seconds") == pytest.approx(2.0)
    before = metric(server, "asr_end_to_end_latency_ms_count")
    send(pcm(WHOLE[0]), sequence=sequence, start=False)
    assert metric(server, "audio_buffer_duration_seconds") == 0
    assert metric(server, "asr_end_to_end_latency_ms_count") == before + 1
    assert metric(server, "model_load_time_seconds", 'model="asr"') > 0
    assert metric(server, "process_resident_memory_bytes", 'module="asr"') > 2**27


def metric(server: Server, name: str, label: str = "") -> float:
    with urllib.request.urlopen(server.metrics_url, timeout=DEADLINE_S) as page:
        text = page.read().decode()
    found = [
        line for line in text.splitlines() if re.match(rf"{name}[ {{]", line) and label in line
    ]
    assert len(found) == 1, found
    return float(found[0].rsplit(" ", 1)[1])


def test_the_spectrogram_is_the_reference_implementations() -> None:
    expected = REFERENCE["log_mel"]
    samples = recording(expected["recording"])[: expected["seconds"] * RATE_HZ]
    mel = log_mel(np.pad(samples, (0, expected["padding_s"] * RATE_HZ)), mels=80)
    np.testing.assert_allclose(mel.mean(axis=1), expected["band_means"], atol=1e-5)
    np.testing.assert_allclose(mel.mean(axis=0), expected["frame_means"], atol=1e-5)
