from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests import answers
from tests.scripted_triton import Abort, Hangup, Pause, ScriptedTriton, Words, grpc
from tritalk_client import ErrorCode, TritalkError, wire
from tritalk_client.cli import main

AVATAR = wire.AvatarInfo("astronaut-1", 512, 640, wire.FaceBox(1, 2, 3, 4), ("the face is small",))


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def triton() -> Iterator[ScriptedTriton]:
    models = {"avatar": {"AVATAR": wire.encode(AVATAR)}}
    with ScriptedTriton(answer=answers.answered, models=models) as triton:
        yield triton


@pytest.fixture
def tritalk(
    triton: ScriptedTriton,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        code = main([*words, "--server", triton.address])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def question(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "question.wav", np.zeros(16_000), 16_000)
    return "question.wav"


@pytest.fixture
def portrait(tmp_path: Path) -> str:
    (tmp_path / "portrait.png").write_bytes(b"pixels")
    return "portrait.png"


def test_ask_saves_the_answer_and_reports_it(
    tritalk: Callable[..., Result], question: str, portrait: str
) -> None:
    result = tritalk("ask", question, "--avatar", portrait, "-o", "out.mp4", "--json")

    assert result.code == 0
    assert Path("out.mp4").read_bytes() == b"".join(answers.MEDIA)
    report = result.report
    assert report["transcript"] == report["question"] == "How are you?"
    assert (report["reply"], report["outcome"]) == (answers.REPLY, "answered")
    assert (report["avatar"], report["video"]) == ("astronaut-1", "out.mp4")
    assert report["stages_ms"]["first_frame"] == 300.0
    assert report["arrivals_ms"]["first_spoken"] > 0
    assert report["usage"]["completion_tokens"] == 7
    assert result.err == "tritalk: portrait.png: the face is small\n"


def test_ask_shows_a_person_the_words_and_the_stages(
    tritalk: Callable[..., Result], question: str
) -> None:
    result = tritalk("ask", question, "--avatar", "astronaut-1")

    assert (result.code, result.err) == (0, "")
    for words in ("How are you?", answers.REPLY, "first spoken frame", "300 ms", "answer.mp4"):
        assert words in result.out


def test_ask_takes_a_typed_question_and_settings(
    tritalk: Callable[..., Result], triton: ScriptedTriton
) -> None:
    settings = ("--voice", "emma", "--system-prompt", "Be brief.", "--speed", "1.5")
    result = tritalk("ask", "--text", "Who are you?", "--avatar", "astronaut-1", *settings)

    assert result.code == 0
    assert triton.messages(wire.Ask) == [wire.Ask("Who are you?")]
    assert triton.messages(wire.Configure) == [
        wire.Configure(
            "astronaut-1", voice="emma", system_prompt="Be brief.", speed=1.5, lead_s=3600.0
        )
    ]


def test_say_speaks_the_words(tritalk: Callable[..., Result], triton: ScriptedTriton) -> None:
    result = tritalk("say", "Welcome!", "--avatar", "astronaut-1", "--json")

    assert result.code == 0
    assert triton.messages(wire.Say) == [wire.Say("Welcome!")]
    assert Path(result.report["video"]).is_file()


def test_narrate_makes_a_video_of_a_script(
    tritalk: Callable[..., Result], triton: ScriptedTriton, tmp_path: Path
) -> None:
    fragment = wire.Fragment(0, 0.0, 0.5, 12, 12_000, True)
    triton.models["narrate"] = [{"MEDIA": b"video", "FRAGMENT": wire.encode(fragment)}]
    (tmp_path / "script.txt").write_text("Once upon a time.", encoding="utf-8")

    result = tritalk("narrate", "script.txt", "--avatar", "astronaut-1", "--json")

    assert result.code == 0
    assert (result.report["video"], result.report["media_s"]) == ("narration.mp4", 0.5)
    assert Path("narration.mp4").read_bytes() == b"video"
    assert triton.calls["narrate"][0]["TEXT"] == b"Once upon a time."


def test_avatars_are_added_listed_and_deleted(
    tritalk: Callable[..., Result], triton: ScriptedTriton, portrait: str
) -> None:
    added = tritalk("avatars", "add", portrait)
    triton.models["avatar"] = {"AVATAR": wire.encode([AVATAR])}
    listed = tritalk("avatars")
    listed_json = tritalk("avatars", "list", "--json")
    deleted = tritalk("avatars", "--json", "delete", "astronaut-1")

    assert added.out == "astronaut-1\n"
    assert "the face is small" in added.err
    assert listed.out == "astronaut-1  512x640\n"
    assert listed_json.report[0]["face"]["width"] == 3
    assert deleted.report == {"deleted": "astronaut-1"}


def test_transcribe_prints_the_words(
    tritalk: Callable[..., Result], triton: ScriptedTriton, question: str
) -> None:
    transcript = wire.Transcript("How are you?", True, 1.0, "en")
    triton.models["asr"] = [{"EVENT": wire.encode(transcript)}]

    assert tritalk("transcribe", question).out == "How are you?\n"
    assert tritalk("transcribe", question, "--json").report["audio_s"] == 1.0


def test_health_tells_whether_turns_can_be_served(
    tritalk: Callable[..., Result], triton: ScriptedTriton
) -> None:
    well = tritalk("health")
    triton.ready = ("asr",)
    ill = tritalk("health", "--json")

    assert well.code == 0
    assert "turns can be served" in well.out
    assert ill.code == 3
    assert ill.report["can_serve_turns"] is False
    assert {model["name"]: model["ready"] for model in ill.report["models"]}["llm"] is False


@pytest.mark.parametrize(
    ("steps", "code", "words"),
    [
        (Hangup(), 3, "ended the conversation"),
        (Words("Exceeds maximum queue size"), 3, "[busy]"),
        (Abort(grpc.StatusCode.INTERNAL, "boom\n  at line 3"), 1, "boom at line 3"),
        (Words(TritalkError(ErrorCode.NO_SPEECH, "nothing was said").to_wire()), 2, "[no_speech]"),
        (wire.Failure("tts", ErrorCode.INTERNAL, "no voice", False, "turn-1"), 1, "tts: no voice"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    tritalk: Callable[..., Result], triton: ScriptedTriton, steps: Any, code: int, words: str
) -> None:
    triton.answer = answers.begun_then(steps)

    result = tritalk("ask", "--text", "How are you?", "--avatar", "astronaut-1", "--json")

    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("tritalk: ")
    assert words in result.err
    assert result.err.count("\n") == 1
    assert not Path("answer.mp4").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("ask", "absent.wav", "--avatar", "astronaut-1"),
        ("ask", "--text", "x", "--avatar", "absent.png"),
        ("ask", "--text", "x", "--avatar", "astronaut-1", "-o", "absent/answer.mp4"),
        ("ask", "--text", " ", "--avatar", "astronaut-1"),
        ("say", "x" * 9000, "--avatar", "astronaut-1"),
        ("narrate", "absent.txt", "--avatar", "astronaut-1"),
        ("transcribe", "absent.wav"),
        ("avatars", "add", "absent.png"),
    ],
)
def test_bad_input_is_told_before_anything_is_asked(
    tritalk: Callable[..., Result], triton: ScriptedTriton, words: tuple[str, ...]
) -> None:
    result = tritalk(*words)

    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert triton.calls == {}
    assert triton.messages(wire.Ask) == triton.messages(wire.Audio) == []


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("sing",),
        ("ask", "--avatar", "a"),
        ("ask", "q.wav", "--text", "q", "--avatar", "a"),
        ("ask", "q.wav"),
        ("health", "--timeout", "0"),
        ("health", "--timeout", "soon"),
    ],
)
def test_a_wrong_command_line_exits_with_2(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)

    assert caught.value.code == 2


def test_no_server_exits_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedTriton() as triton:
        address = triton.address

    assert main(["health", "--server", address]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_an_answer_that_takes_too_long_exits_with_3(
    tritalk: Callable[..., Result], triton: ScriptedTriton
) -> None:
    triton.answer = answers.begun_then(Pause())

    result = tritalk("say", "Hello", "--avatar", "astronaut-1", "--timeout", "2")

    assert result.code == 3
    assert "2 s" in result.err


def test_ctrl_c_closes_the_conversation_and_exits_with_130(
    triton: ScriptedTriton, tmp_path: Path
) -> None:
    triton.answer = answers.interruptible
    words = ["say", "Hello", "--avatar", "astronaut-1", "--server", triton.address]
    program = f"import sys; from tritalk_client.cli import main; sys.exit(main({words!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert triton.wait_until(lambda: bool(triton.messages(wire.Say)))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()

    assert (process.returncode, out, err) == (130, "", "tritalk: stopped\n")
    assert triton.wait_until(lambda: triton.open_streams == 0)
    assert len(triton.messages(wire.Close)) == 1
    assert list(tmp_path.iterdir()) == []
