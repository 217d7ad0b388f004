"""The served `tts` model, through Triton's gRPC."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import tritonclient.grpc as triton

from tritalk import audio
from tritalk.server import Server
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

DEADLINE_S = 120.0
SENTENCE = "Hello there, how are you today?"


@dataclass(frozen=True)
class Heard:
    pcm: bytes
    sample_rate_hz: int
    timing: list[wire.PhonemeTiming]

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.sample_rate_hz


Say = Callable[..., Heard]


@pytest.fixture
def say(server: Server) -> Iterator[Say]:
    """Has a text spoken; inputs that are None are left out."""
    with triton.InferenceServerClient(server.grpc_url) as client:

        def say(text: str | bytes, voice: str | None = None, speed: float | None = None) -> Heard:
            inputs = [bytes_input("TEXT", text)]
            if voice is not None:
                inputs.append(bytes_input("VOICE", voice))
            if speed is not None:
                tensor = triton.InferInput("SPEED", [1, 1], "FP32")
                tensor.set_data_from_numpy(np.array([[speed]], np.float32))
                inputs.append(tensor)
            try:
                result = client.infer("tts", inputs, client_timeout=DEADLINE_S)
            except triton.InferenceServerException as error:
                raise TritalkError.from_wire(error.message()) from error
            return Heard(
                result.as_numpy("AUDIO").item(),
                result.as_numpy("SAMPLE_RATE").item(),
                wire.decode(result.as_numpy("TIMING").item(), list[wire.PhonemeTiming]),
            )

        yield say


def bytes_input(name: str, data: str | bytes) -> triton.InferInput:
    tensor = triton.InferInput(name, [1, 1], "BYTES")
    payload = data.encode() if isinstance(data, str) else data
    tensor.set_data_from_numpy(np.array([[payload]], np.object_))
    return tensor


def refusal(say: Say, *request: object) -> TritalkError:
    with pytest.raises(TritalkError) as raised:
        say(*request)
    assert raised.value.stage == "tts"
    return raised.value


def test_a_text_is_spoken_at_the_rate_of_the_voice(say: Say) -> None:
    heard = say(SENTENCE)

    assert heard.sample_rate_hz == 24_000
    assert 1.0 < heard.seconds < 3.0
    samples = audio.from_pcm(heard.pcm)
    assert 0.1 < np.abs(samples).max() < 0.95


def test_speech_begins_soon_and_ends_in_a_pause(say: Say) -> None:
    heard = say(SENTENCE)

    loud = np.flatnonzero(np.abs(audio.from_pcm(heard.pcm)) > 0.02) / heard.sample_rate_hz
    assert loud[0] < 0.1
    assert 0.15 < heard.seconds - loud[-1] < 0.4


def test_the_timing_covers_the_audio_without_gaps(say: Say) -> None:
    heard = say(f"{SENTENCE} I am fine, thank you. And yes: number 42!")

    assert heard.timing[0].start_s == 0.0
    for before, after in zip(heard.timing, heard.timing[1:], strict=False):
        assert before.start_s + before.duration_s == pytest.approx(after.start_s, abs=2e-6)
    last = heard.timing[-1]
    assert last.symbol == "sil"
    assert last.start_s + last.duration_s == pytest.approx(heard.seconds, abs=1e-5)


def test_the_default_voice_has_a_name(say: Say) -> None:
    assert say("Yes.", "default").pcm == say("Yes.", "heart").pcm == say("Yes.").pcm


def test_speed_shortens_the_speech(say: Say) -> None:
    slow, normal, fast = (say(SENTENCE, "heart", speed).seconds for speed in (0.5, 1.0, 2.0))

    assert slow > 1.5 * normal > 2.2 * fast


@pytest.mark.parametrize(
    "text",
    [
        "**Sure!** Here is a *list*:\n1. Boil 250 ml of water at 100°C\n2. Wait 3–5 minutes",
        "It costs $5.99 (or 1,250 €), see https://www.example.com/shop?id=1 🎉",
        "E-mail john.doe@example.com by 3/4/2025, 10:30 a.m., e.g. today.",
        "```python\nprint('hello')",
        "Zzyzx qwrtp HELLO 12345678901234567890123456789012345678901234567890",
        "wait",
        "However,",
    ],
)
def test_whatever_a_language_model_writes_is_spoken(say: Say, text: str) -> None:
    assert np.abs(audio.from_pcm(say(text).pcm)).max() > 0.1


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (("",), ErrorCode.NOTHING_TO_SAY, "nothing in TEXT"),
        (("🎉 ... 🎉",), ErrorCode.NOTHING_TO_SAY, "nothing in TEXT"),
        (("```python",), ErrorCode.NOTHING_TO_SAY, "nothing in TEXT"),
        (("你好",), ErrorCode.NOTHING_TO_SAY, "nothing in TEXT"),
        ((b"\xff\xfe",), ErrorCode.BAD_REQUEST, "UTF-8"),
        (("x" * 8001,), ErrorCode.TOO_LARGE, "8000"),
        (("x" * 100_000,), ErrorCode.TOO_LARGE, "TEXT"),
        (("9 " * 3999,), ErrorCode.TOO_LARGE, "phonemes"),
        (("Hi.", "bob"), ErrorCode.UNKNOWN_VOICE, "heart"),
        (("Hi.", "x" * 1000), ErrorCode.TOO_LARGE, "VOICE"),
        (("Hi.", "heart", float("nan")), ErrorCode.BAD_REQUEST, "SPEED"),
        (("Hi.", "heart", float("inf")), ErrorCode.BAD_REQUEST, "SPEED"),
        (("Hi.", "heart", 0.1), ErrorCode.BAD_REQUEST, "SPEED"),
    ],
)
def test_a_bad_request_is_refused_each_time_and_the_next_is_spoken(
    say: Say, request_: tuple[object, ...], code: ErrorCode, words: str
) -> None:
    # the second time, too: a response cache must not turn an error into an answer
    for _ in range(2):
        error = refusal(say, *request_)
        assert error.code is code
        assert words in error.message

    assert say("Good.").pcm


def test_asking_for_one_output_does_not_take_the_others_from_the_next(
    server: Server, say: Say
) -> None:
    text = "Only the audio, please."
    with triton.InferenceServerClient(server.grpc_url) as client:
        result = client.infer(
            "tts",
            [bytes_input("TEXT", text)],
            outputs=[triton.InferRequestedOutput("AUDIO")],
            client_timeout=DEADLINE_S,
        )

    heard = say(text)

    assert heard.pcm == result.as_numpy("AUDIO").item()
    assert heard.timing


def test_requests_of_one_batch_are_answered_each_on_its_own(say: Say) -> None:
    texts = ["One.", "", "Two, and three.", "🎉", SENTENCE, "x" * 8001, "Four.", "Five."]

    def outcome(text: str) -> bytes | ErrorCode:
        try:
            return say(text).pcm
        except TritalkError as error:
            return error.code

    with ThreadPoolExecutor(len(texts)) as pool:
        together = list(pool.map(outcome, texts))

    assert together == [outcome(text) for text in texts]
    assert together[1] == together[3] == ErrorCode.NOTHING_TO_SAY
    assert together[5] == ErrorCode.TOO_LARGE


def test_a_script_does_not_hold_up_a_clause(say: Say) -> None:
    # given a script that takes seconds to speak
    with ThreadPoolExecutor(1) as pool:
        script = pool.submit(say, "This is a rather long script. " * 150)

        # when clauses are spoken meanwhile
        clauses = 0
        while not script.done() and clauses < 3:
            assert say(f"Clause number {clauses}.").pcm
            clauses += 1

        # then they do not wait for it
        assert not script.done()
        assert script.result(DEADLINE_S).seconds > 100


def test_the_metrics_tell_of_the_speech(server: Server, say: Say) -> None:
    say("Something that was not said before, to be measured.")

    with urllib.request.urlopen(server.metrics_url, timeout=DEADLINE_S) as page:
        metrics = page.read().decode()

    for histogram in ("tts_synthesis_duration_seconds", "rtf_ratio"):
        count = re.search(rf"^{histogram}_count (\d+)$", metrics, re.MULTILINE)
        assert count is not None
        assert int(count[1]) > 0
    assert re.search(r"^output_audio_sample_rate 24000$", metrics, re.MULTILINE)
    assert 'model_load_time_seconds{model="tts"}' in metrics
    assert 'process_resident_memory_bytes{module="tts"}' in metrics
