"""The served `asr` model, through Triton's gRPC, on recordings of people."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
HARVARD = sorted(f"harvard-phrases/{name}_harvard_phrases.wav" for name in ("F1", "F2", "M1", "M2"))
FINAL = "triton_final_response"

Send = Callable[..., wire.Transcript]


def name(piece: dict[str, Any]) -> str:
    return f"{piece['recording'].split('/')[1]}-{piece['begin_s']}-{piece['end_s']}"


@cache
def recording(path: str) -> Samples:
    """A recording at 16 kHz, as it travels on the wire."""
    asset, file_name = path.split("/")
    samples, rate = soundfile.read(assets.path(asset) / file_name, dtype="float32")
    return from_pcm(to_pcm(soxr.resample(samples, rate, RATE_HZ)))


def spoken(path: str) -> str:
    asset, file_name = path.split("/")
    return assets.recordings(asset)[file_name].text


def pcm(piece: dict[str, Any]) -> bytes:
    begin, end = (round(piece[edge] * RATE_HZ) for edge in ("begin_s", "end_s"))
    return to_pcm(recording(piece["recording"])[begin:end])


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def silence(seconds: float) -> Samples:
    """A room in which nobody speaks."""
    noise = np.random.default_rng(0).normal(0, 3e-4, int(seconds * RATE_HZ))
    return noise.astype(np.float32)


def word_errors(said: str, heard: str) -> float:
    return float(jiwer.wer(" ".join(words(said)), " ".join(words(heard))))


@dataclass(frozen=True)
class Heard:
    """Something heard, and when it came, in seconds from the first chunk."""

    at_s: float
    hearing: wire.Hearing


@dataclass
class Listening:
    """One sequence on a gRPC stream of its own."""

    grpc_url: str
    options: wire.RecognitionOptions | None = None
    heard: list[Heard] = field(default_factory=list)
    errors: list[TritalkError] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self) -> None:
        self._client = triton.InferenceServerClient(self.grpc_url)
        self._key = new_sequence_id()
        self._arrived = threading.Condition()
        self._answered: set[str] = set()
        self._began_s = 0.0
        self._ended = False
        self._client.start_stream(self._take)

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *_: object) -> None:
        with self._arrived:
            self._ended = True
        self._client.stop_stream(cancel_requests=True)
        self._client.close()

    def send(self, audio: bytes, *, end: bool = False) -> str:
        inputs = [tensor("AUDIO", audio)]
        if not self.sent:
            self._began_s = time.monotonic()
            if self.options is not None:
                inputs.append(tensor("OPTIONS", wire.encode(self.options)))
        request_id = str(self.sent)
        self._client.async_stream_infer(
            "asr",
            inputs,
            request_id=request_id,
            sequence_id=self._key,
            sequence_start=not self.sent,
            sequence_end=end,
            enable_empty_final_response=True,
        )
        self.sent += 1
        return request_id

    def speak(
        self, samples: Samples, *, chunk_ms: int, pace: float = 1.0, end: bool = True
    ) -> None:
        """Send samples as a microphone does: each chunk when it has been recorded."""
        size = RATE_HZ * chunk_ms // 1000
        began_s = time.monotonic()
        for begin in range(0, len(samples), size):
            chunk = samples[begin : begin + size]
            due_s = began_s + (begin + len(chunk)) / RATE_HZ / pace
            time.sleep(max(0.0, due_s - time.monotonic()))
            self.send(to_pcm(chunk), end=end and begin + size >= len(samples))

    def wait(self, until: Callable[[], bool]) -> None:
        with self._arrived:
            assert self._arrived.wait_for(until, DEADLINE_S), (self.heard[-3:], self.errors)

    def wait_answered(self) -> None:
        """Wait until every chunk's responses have ended."""
        self.wait(lambda: len(self._answered) == self.sent or bool(self.errors))

    def transcripts(self, utterance: int | None = None) -> list[wire.Transcript]:
        return [
            one.hearing
            for one in list(self.heard)
            if isinstance(one.hearing, wire.Transcript)
            and utterance in (None, one.hearing.utterance)
        ]

    def finals(self) -> list[wire.Transcript]:
        return [transcript for transcript in self.transcripts() if transcript.final]

    def _take(self, result: Any, error: Any) -> None:
        with self._arrived:
            if self._ended:
                return
            if error is not None:
                self.errors.append(TritalkError.from_wire(error.message()))
            else:
                response = result.get_response()
                if response.outputs:
                    hearing = wire.decode_hearing(result.as_numpy("EVENT").reshape(-1)[0])
                    self.heard.append(Heard(time.monotonic() - self._began_s, hearing))
                if response.parameters[FINAL].bool_param:
                    self._answered.add(response.id)
            self._arrived.notify_all()


def tensor(name: str, data: bytes) -> triton.InferInput:
    tensor = triton.InferInput(name, [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[data]], dtype=np.object_))
    return tensor


@pytest.fixture
def listen(server: Server) -> Iterator[Callable[..., Listening]]:
    """Opens sequences; they are closed at the end of the test."""
    opened: list[Listening] = []

    def listen(**options: Any) -> Listening:
        asked = wire.RecognitionOptions(**options) if options else None
        opened.append(Listening(server.grpc_url, asked))
        return opened[-1]

    yield listen
    for listening in opened:
        listening.__exit__()


@pytest.fixture
def send(server: Server) -> Send:
    """Recognises audio in one request."""

    def send(audio: bytes, options: wire.RecognitionOptions | None = None) -> wire.Transcript:
        with Listening(server.grpc_url, options) as listening:
            listening.send(audio, end=True)
            listening.wait_answered()
        if listening.errors:
            raise listening.errors[0]
        (only,) = listening.heard
        assert isinstance(only.hearing, wire.Transcript)
        return only.hearing

    return send


# --- one request ---------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", WHOLE, ids=name)
def test_a_recording_gets_the_text_of_the_reference_implementation(
    send: Send, piece: dict[str, Any]
) -> None:
    heard = send(pcm(piece))
    assert heard.text == heard.stable == piece["texts"]["whisper-base"]
    assert heard.final
    assert heard.language == "en"
    assert heard.audio_s == pytest.approx(piece["end_s"] - piece["begin_s"], abs=0.02)


def test_short_pieces_get_the_words_of_the_reference_implementation(send: Send) -> None:
    """But for a name that nobody has heard before, which is spelled in many ways."""
    heard = " ".join(send(pcm(piece)).text for piece in PIECES)
    assert word_errors(" ".join(piece["texts"]["whisper-base"] for piece in PIECES), heard) <= 0.01


def test_people_are_understood(send: Send) -> None:
    said = " ".join(spoken(path) for path in HARVARD)
    heard = " ".join(send(to_pcm(recording(path))).text for path in HARVARD)
    assert word_errors(said, heard) <= 0.1


def test_sequences_at_once_each_get_the_text_that_they_get_alone(send: Send) -> None:
    audios = [pcm(piece) for piece in PIECES[:12]]
    alone = [send(audio).text for audio in audios]
    with ThreadPoolExecutor(len(audios)) as pool:
        together = [heard.text for heard in pool.map(send, audios)]
    assert together == alone


def test_silence_around_speech_changes_no_word(send: Send) -> None:
    audio, around = pcm(WHOLE[0]), bytes(5 * 32_000)
    heard = send(around + audio + around)
    assert words(heard.text) == words(WHOLE[0]["texts"]["whisper-base"])
    assert heard.audio_s > 15


def test_more_than_the_window_of_the_model_is_recognised_in_pieces(send: Send) -> None:
    paths = ["a2f-samples/sample-1.wav", HARVARD[0]]
    audio = np.concatenate([recording(path) for path in paths])
    assert len(audio) > 35 * RATE_HZ
    heard = send(to_pcm(audio))
    assert word_errors(" ".join(map(spoken, paths)), heard.text) <= 0.1


@pytest.mark.parametrize(
    ("change", "most_errors"),
    [
        pytest.param(lambda samples: samples * 10 ** (-30 / 20), 0.1, id="30 dB quieter"),
        pytest.param(lambda samples: samples * 0.5 + 0.3, 0.1, id="DC offset"),
        pytest.param(lambda samples: np.clip(samples * 12, -1, 1), 0.2, id="clipped"),
    ],
)
def test_a_bad_microphone_is_understood(
    send: Send, change: Callable[[Samples], Samples], most_errors: float
) -> None:
    said = " ".join(spoken(path) for path in HARVARD)
    heard = " ".join(send(to_pcm(change(recording(path)))).text for path in HARVARD)
    assert word_errors(said, heard) <= most_errors


@pytest.mark.parametrize(
    ("audio", "options", "code", "message"),
    [
        (b"", None, ErrorCode.BAD_AUDIO, "no audio"),
        (bytes(32_001), None, ErrorCode.BAD_AUDIO, "even number of bytes"),
        (bytes(64_000), None, ErrorCode.NO_SPEECH, "nobody speaks"),
        (bytes(40), None, ErrorCode.NO_SPEECH, "nobody speaks"),
        (bytes(61 * 32_000), None, ErrorCode.TOO_LARGE, "longer than 60 s"),
        (bytes(600 * 32_000), None, ErrorCode.TOO_LARGE, "longer than 60 s"),
        (bytes(320), {"sample_rate_hz": 44100}, ErrorCode.BAD_AUDIO, "resample it to 16000"),
        (bytes(320), {"language": "xx"}, ErrorCode.BAD_REQUEST, "language 'xx' is unknown"),
        (bytes(320), {"lang": "en"}, ErrorCode.BAD_REQUEST, "lang"),
        (bytes(320), {"end_silence_ms": 20}, ErrorCode.BAD_REQUEST, "end_silence_ms"),
        (bytes(320), "no object", ErrorCode.BAD_REQUEST, "not a valid message"),
    ],
)
def test_bad_input_is_a_typed_error_and_the_next_request_works(
    send: Send, audio: bytes, options: Any, code: ErrorCode, message: str
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


# --- a question in chunks -------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [640, 16_000, 30_002])
def test_a_recording_pushed_in_chunks_makes_the_same_transcript_and_no_partial(
    send: Send, listen: Callable[..., Listening], chunk: int
) -> None:
    audio = pcm(WHOLE[0])
    listening = listen()
    for begin in range(0, len(audio), chunk):
        listening.send(audio[begin : begin + chunk], end=begin + chunk >= len(audio))
    listening.wait_answered()
    (final,) = listening.finals()
    at_once = send(audio)
    assert (final.text, final.audio_s) == (at_once.text, at_once.audio_s)
    # What comes before it looks like a recording, and not like a microphone, is recognised.
    assert len(listening.transcripts()) <= 3


def test_a_spoken_question_is_transcribed_while_it_goes_on(
    listen: Callable[..., Listening],
) -> None:
    path = HARVARD[0]
    listening = listen(language="en")
    listening.speak(recording(path), chunk_ms=100)
    listening.wait_answered()
    (final,) = listening.finals()
    assert word_errors(spoken(path), final.text) <= 0.2
    assert final.endpoint_ms is None
    assert final.audio_s == pytest.approx(len(recording(path)) / RATE_HZ)
    assert len(listening.transcripts()) >= 8
    assert_never_taken_back(listening)
    assert isinstance(listening.heard[-1].hearing, wire.Transcript)


def test_an_empty_last_chunk_ends_a_question(send: Send, listen: Callable[..., Listening]) -> None:
    listening = listen()
    listening.send(pcm(WHOLE[0]))
    listening.send(b"", end=True)
    listening.wait_answered()
    assert listening.finals()[0].text == send(pcm(WHOLE[0])).text


def test_a_sequence_that_failed_says_so(listen: Callable[..., Listening]) -> None:
    listening = listen()
    listening.send(bytes(3))
    listening.wait(lambda: len(listening.errors) == 1)
    listening.send(bytes(320))
    listening.wait(lambda: len(listening.errors) == 2)
    assert [error.code for error in listening.errors] == [
        ErrorCode.BAD_AUDIO,
        ErrorCode.BAD_REQUEST,
    ]
    assert "start a new one" in listening.errors[1].message


# --- a microphone that stays open -----------------------------------------------------------------

SAID = np.concatenate(
    [silence(0.5), *[np.concatenate([recording(path), silence(0.8)]) for path in HARVARD]]
)


def assert_never_taken_back(listening: Listening) -> None:
    for utterance in {transcript.utterance for transcript in listening.transcripts()}:
        stable = ""
        for transcript in listening.transcripts(utterance):
            assert transcript.text.startswith(stable)
            assert transcript.stable.startswith(stable)
            stable = transcript.stable
        assert transcript.final
        assert transcript.stable == transcript.text


@pytest.fixture(scope="module")
def replays(server: Server) -> dict[int, Listening]:
    """Four people at four phrases each, heard at the pace of speech in chunks of three sizes."""
    options = wire.RecognitionOptions(endpointing=True)
    replays = {chunk_ms: Listening(server.grpc_url, options) for chunk_ms in (20, 100, 500)}

    def replay(chunk_ms: int) -> None:
        replays[chunk_ms].speak(SAID, chunk_ms=chunk_ms)
        replays[chunk_ms].wait_answered()

    with ThreadPoolExecutor(len(replays)) as pool:
        list(pool.map(replay, replays))
    for listening in replays.values():
        listening.__exit__()
    return replays


@pytest.fixture(params=[20, 100, 500])
def replay(request: pytest.FixtureRequest, replays: dict[int, Listening]) -> Listening:
    return replays[request.param]


def test_what_is_said_into_an_open_microphone_is_understood(replay: Listening, send: Send) -> None:
    said = " ".join(spoken(path) for path in HARVARD)
    at_once = word_errors(said, " ".join(send(to_pcm(recording(path))).text for path in HARVARD))
    heard = word_errors(said, " ".join(final.text for final in replay.finals()))
    assert heard <= at_once + 0.08
    assert not replay.errors


@pytest.mark.parametrize("chunk_ms", [20, 100, 500])
def test_every_utterance_is_ended_by_its_silence(
    replays: dict[int, Listening], chunk_ms: int
) -> None:
    finals = replays[chunk_ms].finals()
    # People pause between their phrases, too.
    assert len(HARVARD) <= len(finals) <= 2 * len(HARVARD)
    assert [final.utterance for final in finals] == list(range(len(finals)))
    for final in finals:
        assert final.endpoint_ms is not None
        assert final.since_speech_ms is not None
        # The silence after a complete sentence, of which some may come in the speech's chunk.
        assert 320 - 32 - chunk_ms <= final.endpoint_ms <= final.since_speech_ms
    middle = sorted(final.since_speech_ms or 0 for final in finals)[len(finals) // 2]
    assert middle <= 400 + chunk_ms + 100


def test_partials_come_all_the_time_while_somebody_speaks(replay: Listening) -> None:
    gaps = []
    for utterance in range(len(replay.finals())):
        before = 0.0
        for one in replay.heard:
            if getattr(one.hearing, "utterance", -1) != utterance:
                continue
            if isinstance(one.hearing, wire.Speaking):
                speech_s = one.hearing.speech_s
            elif isinstance(one.hearing, wire.Transcript):
                gaps.append(speech_s - before)
                before = speech_s
    assert np.mean(gaps) <= 0.5
    assert max(gaps) <= 1.0


def test_words_that_are_stable_are_never_taken_back(replay: Listening) -> None:
    assert_never_taken_back(replay)
    assert any(transcript.stable and not transcript.final for transcript in replay.transcripts())


def test_a_pause_is_told_with_the_text_that_is_final_when_nothing_follows(
    replay: Listening,
) -> None:
    last = [
        (pause, final)
        for pause, final in zip(replay.transcripts(), replay.transcripts()[1:], strict=False)
        if final.final and pause.paused
    ]
    assert len(last) >= len(HARVARD) - 1
    for pause, final in last:
        assert pause.text == final.text
        assert (pause.since_speech_ms or 0) <= (final.since_speech_ms or 0)


def test_speech_is_told_with_each_chunk_at_once(replays: dict[int, Listening]) -> None:
    speaking = [one for one in replays[20].heard if isinstance(one.hearing, wire.Speaking)]
    assert len(speaking) >= 0.4 * len(SAID) / RATE_HZ / 0.02
    for utterance in range(len(replays[20].finals())):
        told = [s.hearing.speech_s for s in speaking if s.hearing.utterance == utterance]
        assert told == sorted(told)
        assert told[0] <= 0.2


def test_partials_are_out_soon_after_their_audio(
    server: Server, replays: dict[int, Listening]
) -> None:
    assert replays
    within = histogram(server, "asr_partial_latency_ms")
    assert within[300.0] >= 0.95 * within[float("inf")]


def test_a_long_speech_loses_no_word(listen: Callable[..., Listening], send: Send) -> None:
    """More than a minute with no silence that would end it."""
    paths = ["a2f-samples/sample-1.wav", HARVARD[0], HARVARD[2], "a2f-samples/sample-1.wav"]
    audio = np.concatenate([recording(path) for path in paths])
    assert len(audio) > 70 * RATE_HZ
    said = " ".join(spoken(path) for path in paths)
    listening = listen(endpointing=True, end_silence_ms=3_000)
    listening.speak(audio, chunk_ms=100)
    listening.wait_answered()
    (final,) = listening.finals()
    assert_never_taken_back(listening)
    found = jiwer.process_words(" ".join(words(said)), " ".join(words(final.text)))
    assert found.wer <= 0.12
    # No word is lost at a cut: what is wrong is wrong by itself, here and there.
    lost = [
        chunk.ref_end_idx - chunk.ref_start_idx
        for chunk in found.alignments[0]
        if chunk.type == "delete"
    ]
    assert sum(lost) <= 3
    assert max(lost, default=0) <= 2


def test_speakers_at_once_get_what_they_get_alone(listen: Callable[..., Listening]) -> None:
    listenings = [listen(endpointing=True) for _ in HARVARD]

    def speak(listening: Listening, path: str) -> None:
        listening.speak(np.concatenate([recording(path), silence(0.8)]), chunk_ms=100)
        listening.wait_answered()

    with ThreadPoolExecutor(len(HARVARD)) as pool:
        list(pool.map(speak, listenings, HARVARD))
    for listening, path in zip(listenings, HARVARD, strict=True):
        heard = " ".join(final.text for final in listening.finals())
        assert word_errors(spoken(path), heard) <= 0.25
        assert_never_taken_back(listening)


def test_a_microphone_that_falls_silent_in_mid_speech_ends_the_utterance(
    listen: Callable[..., Listening],
) -> None:
    listening = listen(endpointing=True)
    listening.speak(recording(HARVARD[0])[: 2 * RATE_HZ], chunk_ms=100, end=False)
    stopped_s = listening.heard[-1].at_s
    listening.wait(lambda: bool(listening.finals()))
    assert listening.heard[-1].at_s - stopped_s <= 3
    assert word_errors("Hoist the load to your left shoulder", listening.finals()[0].text) <= 0.5
    listening.send(b"", end=True)
    listening.wait_answered()


def test_audio_in_bursts_after_stalls_is_understood(listen: Callable[..., Listening]) -> None:
    listening = listen(endpointing=True)
    audio = np.concatenate([recording(HARVARD[1]), silence(0.8)])
    # The network holds 0.4 s back, again and again, and then delivers it at once.
    for begin in range(0, len(audio), 6_400):
        time.sleep(0.4)
        for chunk in range(begin, min(begin + 6_400, len(audio)), 320):
            listening.send(to_pcm(audio[chunk : chunk + 320]))
    listening.send(b"", end=True)
    listening.wait_answered()
    heard = " ".join(final.text for final in listening.finals())
    assert word_errors(spoken(HARVARD[1]), heard) <= 0.25
    assert_never_taken_back(listening)


def test_chunks_of_odd_sizes_are_understood(listen: Callable[..., Listening]) -> None:
    listening = listen(endpointing=True)
    audio = to_pcm(np.concatenate([recording(HARVARD[3]), silence(0.8)]))
    random, begin = np.random.default_rng(1), 0
    while begin < len(audio):
        size = 2 * int(random.integers(0, 4_000))
        listening.send(audio[begin : begin + size])
        time.sleep(size / 32_000)
        begin += size
    listening.send(b"", end=True)
    listening.wait_answered()
    heard = " ".join(final.text for final in listening.finals())
    assert word_errors(spoken(HARVARD[3]), heard) <= 0.25


def test_an_hour_of_silence_holds_no_memory(
    server: Server, listen: Callable[..., Listening]
) -> None:
    listening = listen(endpointing=True)
    minute = to_pcm(silence(60))
    listening.send(minute)
    listening.wait_answered()
    before = resident(server)
    for _ in range(59):
        listening.send(minute)
        listening.wait_answered()
    # The gauge is read now and then.
    time.sleep(6)
    assert resident(server) - before < 30 * 2**20
    assert metric(server, "audio_buffer_duration_seconds") == 0
    listening.send(to_pcm(np.concatenate([recording(HARVARD[0]), silence(1)])), end=True)
    listening.wait_answered()
    heard = " ".join(final.text for final in listening.finals())
    assert word_errors(spoken(HARVARD[0]), heard) <= 0.25


def test_a_long_silence_is_told_once_until_somebody_speaks(
    listen: Callable[..., Listening],
) -> None:
    listening = listen(endpointing=True, silence_timeout_s=2.0)
    for _ in range(5):
        listening.send(to_pcm(silence(1)))
    listening.send(to_pcm(np.concatenate([recording(HARVARD[0]), silence(0.6)])))
    for _ in range(5):
        listening.send(to_pcm(silence(1)))
    listening.send(b"", end=True)
    listening.wait_answered()
    kinds = [type(one.hearing) for one in listening.heard]
    assert kinds.count(wire.Silence) == 2
    assert kinds[0] is wire.Silence
    told = [one.hearing for one in listening.heard if isinstance(one.hearing, wire.Silence)]
    assert told[0].silent_s == pytest.approx(2.0, abs=0.1)


def test_every_chunk_is_answered_though_nobody_speaks(listen: Callable[..., Listening]) -> None:
    listening = listen(endpointing=True)
    listening.speak(silence(1), chunk_ms=20, end=False)
    listening.wait_answered()
    assert not listening.heard
    listening.send(b"", end=True)
    listening.wait_answered()
    assert not listening.errors


def test_a_client_that_goes_away_leaves_nothing_behind(
    server: Server, listen: Callable[..., Listening]
) -> None:
    gone = Listening(server.grpc_url, wire.RecognitionOptions(endpointing=True))
    gone.speak(recording(HARVARD[0])[:RATE_HZ], chunk_ms=100, end=False)
    gone.__exit__()
    deadline_s = time.monotonic() + 5
    while metric(server, "audio_buffer_duration_seconds") and time.monotonic() < deadline_s:
        time.sleep(0.2)
        listening = listen()
        listening.send(pcm(WHOLE[0]), end=True)
        listening.wait_answered()
    assert metric(server, "audio_buffer_duration_seconds") == 0


# --- metrics --------------------------------------------------------------------------------------


def test_the_metrics_of_the_model_are_served(
    server: Server, listen: Callable[..., Listening]
) -> None:
    listening = listen()
    listening.send(pcm(WHOLE[0]))
    listening.wait(lambda: bool(listening.heard))
    assert metric(server, "audio_buffer_duration_seconds") > 1.0
    before = metric(server, "asr_end_to_end_latency_ms_count")
    listening.send(b"", end=True)
    listening.wait_answered()
    assert metric(server, "asr_end_to_end_latency_ms_count") == before + 1
    assert metric(server, "model_load_time_seconds", 'model="asr"') > 0
    assert metric(server, "process_resident_memory_bytes", 'module="asr"') > 2**27


def page(server: Server) -> list[str]:
    with urllib.request.urlopen(server.metrics_url, timeout=DEADLINE_S) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return lines


def metric(server: Server, name: str, label: str = "") -> float:
    found = [line for line in page(server) if re.match(rf"{name}[ {{]", line) and label in line]
    assert len(found) == 1, found
    return float(found[0].rsplit(" ", 1)[1])


def histogram(server: Server, name: str) -> dict[float, float]:
    """How many observations lie at or under each edge."""
    found = re.findall(
        rf'^{name}_bucket{{.*le="(.*?)".*}} (.*)$', "\n".join(page(server)), re.MULTILINE
    )
    return {float(edge.replace("+Inf", "inf")): float(count) for edge, count in found}


def resident(server: Server) -> float:
    return metric(server, "process_resident_memory_bytes", 'module="asr"')


def test_the_spectrogram_is_the_reference_implementations() -> None:
    expected = REFERENCE["log_mel"]
    samples = recording(expected["recording"])[: expected["seconds"] * RATE_HZ]
    mel = log_mel(np.pad(samples, (0, expected["padding_s"] * RATE_HZ)), mels=80)
    np.testing.assert_allclose(mel.mean(axis=1), expected["band_means"], atol=1e-5)
    np.testing.assert_allclose(mel.mean(axis=0), expected["frame_means"], atol=1e-5)
