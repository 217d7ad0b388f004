"""`tritalk chat`: typed, by microphone, by a script."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console

from tests import answers
from tests.filmed import spoken_answer
from tests.media import watch
from tests.scripted_triton import Hangup, Pause, ScriptedTriton, Step
from tritalk_client import Interrupted, Reconnected, StageTimes, Transcript, TurnStarted, wire
from tritalk_client.cli import main
from tritalk_client.cli.chat_view import ChatView, stages
from tritalk_client.cli.input import Device, Keyboard, find_device

AVATAR = "astronaut"
TIMEOUT_S = 20


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
    turn_ids = (f"turn-{number}" for number in range(1, 99))
    with ScriptedTriton(
        answer=lambda question: answers.answered(question, next(turn_ids))
    ) as triton:
        yield triton


Chat = Callable[..., Result]


@pytest.fixture
def chat(
    triton: ScriptedTriton,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Chat:
    monkeypatch.chdir(tmp_path)

    def run(*words: str, typed: str = "", avatar: str = AVATAR) -> Result:
        source, sink = os.pipe()
        os.write(sink, typed.encode())
        os.close(sink)
        with os.fdopen(source) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            portrait = ("--avatar", avatar) if avatar else ()
            code = main(["chat", *words, *portrait, "--server", triton.address])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


# --- typed -------------------------------------------------------------------------------------


def test_typed_questions_are_answered_one_after_the_other(
    chat: Chat, triton: ScriptedTriton
) -> None:
    result = chat("--text", typed="How are you?\n\nAnd now?\n")

    assert result.code == 0
    assert triton.messages(wire.Ask) == [wire.Ask("How are you?"), wire.Ask("And now?")]
    assert result.out.splitlines() == [
        "you      How are you?",
        f"portrait {answers.REPLY}",
        "transcript 80 · first token 120 · first frame 300 ms",
        "you      And now?",
        f"portrait {answers.REPLY}",
        "transcript 80 · first token 120 · first frame 300 ms",
        f"--session {next(iter(triton.sessions))} goes on from here",
    ]


def test_the_answer_is_interrupted_and_the_conversation_ended_by_command(
    chat: Chat, triton: ScriptedTriton
) -> None:
    triton.answer = answers.interruptible

    result = chat("--text", typed="How are you?\n/interrupt\n/shout\n/quit\nNever asked.\n")

    assert result.code == 0
    assert triton.messages(wire.Interrupt) == [wire.Interrupt()]
    assert triton.messages(wire.Ask) == [wire.Ask("How are you?")]
    assert "interrupted by request after 0.2 s" in result.out
    assert "/shout is not known" in result.out


def test_a_report_is_one_document(chat: Chat, triton: ScriptedTriton) -> None:
    result = chat("--text", "--json", typed="How are you?\n")

    report = result.report
    assert report["session_id"] in triton.sessions
    assert (report["avatar"], report["video"]) == (AVATAR, None)
    assert [(turn["question"], turn["outcome"]) for turn in report["turns"]] == [
        ("How are you?", "answered")
    ]


def test_settings_and_an_earlier_session_are_part_of_the_beginning(
    chat: Chat, triton: ScriptedTriton
) -> None:
    triton.sessions.add("0123456789abcdef")
    options = ("--session", "0123456789abcdef", "--voice", "emma", "--echo-guard")

    chat("--text", *options)

    assert triton.messages(wire.Configure) == [
        wire.Configure(AVATAR, voice="emma", session_id="0123456789abcdef", echo_guard=True)
    ]


def test_a_lost_connection_is_told_and_the_conversation_goes_on(
    chat: Chat, triton: ScriptedTriton
) -> None:
    scripts = iter([answers.begun_then(Hangup())])

    def answer(question: str | bytes) -> Iterator[Step]:
        return next(scripts, lambda asked: answers.answered(asked, "turn-2"))(question)

    triton.answer = answer
    result = chat("--text", typed="How are you?\nStill there?\n")

    assert result.code == 0
    assert "connected again, the answer was lost" in result.out
    assert "Still there?" in result.out


def terminal_chat(triton: ScriptedTriton, folder: Path, *words: str) -> tuple[Any, int]:
    """The command as a person at a terminal runs it; the process and the terminal."""
    ours, theirs = pty.openpty()
    arguments = ["chat", "--text", "--avatar", AVATAR, "--server", triton.address, *words]
    program = f"import sys; from tritalk_client.cli import main; sys.exit(main({arguments!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    return process, ours


def test_what_a_person_types_during_an_answer_interrupts_it(
    triton: ScriptedTriton, tmp_path: Path
) -> None:
    scripts = iter([answers.interruptible])

    def answer(question: str | bytes) -> Iterator[Step]:
        return next(scripts, lambda asked: answers.answered(asked, "turn-2"))(question)

    triton.answer = answer
    process, terminal = terminal_chat(triton, tmp_path)
    try:
        os.write(terminal, b"How are you?\n")
        assert triton.wait_until(lambda: len(triton.messages(wire.Ask)) == 1)
        os.write(terminal, b"Stop. And now?\n")
        assert triton.wait_until(lambda: len(triton.messages(wire.Ask)) == 2)
        os.write(terminal, b"\x04")
        out, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        os.close(terminal)

    assert (process.returncode, err) == (0, "")
    assert "interrupted by request" in out
    assert f"portrait {answers.REPLY}" in out


def test_ctrl_c_finishes_the_recording_and_exits_with_130(
    triton: ScriptedTriton, tmp_path: Path
) -> None:
    triton.answer = lambda question: (
        step for step in spoken_answer(question) if not isinstance(step, wire.TurnCompleted)
    )
    process, terminal = terminal_chat(triton, tmp_path, "-o", "talk.mp4")
    try:
        os.write(terminal, b"How are you?\n")
        assert triton.wait_until(lambda: bool(triton.messages(wire.Ask)))
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        os.close(terminal)

    assert (process.returncode, err) == (130, "tritalk: stopped\n")
    assert "talk.mp4" in out
    assert watch((tmp_path / "talk.mp4").read_bytes()).video_end_s >= 1.0
    assert triton.wait_until(lambda: triton.open_streams == 0)
    assert len(triton.messages(wire.Close)) == 1


# --- by microphone -----------------------------------------------------------------------------


class Soundcard:
    """What `sounddevice` offers of a microphone, fed by a thread as PortAudio feeds it."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks
        self.open = False

    def RawInputStream(self, *, callback: Callable[..., None], **settings: Any) -> Soundcard:  # noqa: N802
        assert settings == {
            "samplerate": 16_000,
            "blocksize": 1600,
            "channels": 1,
            "dtype": "int16",
        }
        self._callback = callback
        return self

    def __enter__(self) -> None:
        self.open = True
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self.open = False
        self._thread.join(5)

    def _feed(self) -> None:
        for chunk in self._chunks:
            self._callback(chunk, 1600, None, None)
            time.sleep(0.01)
        while self.open:
            self._callback(b"\0" * 3200, 1600, None, None)
            time.sleep(0.1)


def test_a_microphone_is_listened_to_where_there_is_one(
    chat: Chat, triton: ScriptedTriton, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundcard = Soundcard([b"\1\0" * 1600] * 4)
    monkeypatch.setattr("tritalk_client.cli.chat.find_device", lambda: Device(soundcard))
    given_up = threading.Timer(1.5, lambda: signal.raise_signal(signal.SIGINT))
    given_up.start()

    result = chat()

    given_up.join(5)
    assert (result.code, result.err) == (130, "tritalk: stopped\n")
    assert "you      How are you?" in result.out
    assert f"portrait {answers.REPLY}" in result.out
    assert all(message.hands_free for message in triton.messages(wire.Audio))
    assert not soundcard.open


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (ImportError("sounddevice"), "pip install 'tritalk-client[microphone]'"),
        (OSError("PortAudio library not found"), "libportaudio2"),
    ],
)
def test_without_a_microphone_one_types_and_is_told_why(
    chat: Chat, monkeypatch: pytest.MonkeyPatch, failure: Exception, advice: str
) -> None:
    def missing(name: str) -> Any:
        raise failure

    monkeypatch.setattr("tritalk_client.cli.input.importlib.import_module", missing)

    result = chat(typed="How are you?\n")

    assert result.code == 0
    assert result.err.count("\n") == 1
    assert advice in result.err
    assert "you      How are you?" in result.out


def test_a_device_that_falls_silent_was_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritalk_client.cli.input._DEVICE_S", 0.05)

    class Dead(Soundcard):
        def _feed(self) -> None:
            pass

    with pytest.raises(OSError, match="silent"):
        next(Device(Dead([])).chunks())


def test_there_is_a_device_or_a_reason() -> None:
    device = find_device()

    assert (device.library is None) is bool(device.missing)


# --- by a script -------------------------------------------------------------------------------

SCRIPT = """\
avatar: astronaut
settings: {system_prompt: Be brief.}
quiet_s: 0.5
steps:
  - speak: question.wav
  - type: And now?
    after: answered
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "question.wav", np.full(6_400, 0.3), 16_000)
    (tmp_path / "script.yaml").write_text(SCRIPT)
    return "script.yaml"


def test_a_script_is_held_and_recorded_with_its_events(
    chat: Chat, triton: ScriptedTriton, script: str, tmp_path: Path
) -> None:
    triton.answer = spoken_answer

    result = chat("--replay", script, "-o", "talk.mp4", "--events", "events.jsonl", avatar="")

    assert result.code == 0, result.err
    assert triton.messages(wire.Configure) == [wire.Configure(AVATAR, system_prompt="Be brief.")]
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["type"] for line in lines]
    assert kinds[0] == "started"
    assert kinds.count("turn_completed") == 2
    assert kinds.count("cue") == 4
    assert "speak question.wav begins" in result.out
    film = watch((tmp_path / "talk.mp4").read_bytes())
    # Both answers are in it, and the user's voice from the beginning on.
    assert film.video_end_s > 3
    assert np.abs(film.samples[: film.sample_rate_hz // 4]).max() > 0.2


def test_the_command_line_has_the_last_word(
    chat: Chat, triton: ScriptedTriton, script: str
) -> None:
    result = chat("--replay", script, "--json", "--system-prompt", "Be long.", avatar="other")

    assert triton.messages(wire.Configure) == [wire.Configure("other", system_prompt="Be long.")]
    assert [turn["outcome"] for turn in result.report["turns"]] == ["answered", "answered"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--replay", "absent.yaml"), "absent.yaml"),
        (("--replay", "bad.yaml"), "bad.yaml, line 1"),
        (("--text", "--events", "events.jsonl"), "--replay"),
        (("--text", "-o", "absent/talk.mp4"), "folder"),
        (("--text", "--session", "mine"), "session_id"),
        (("--text", "--speed", "9"), "speed"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    chat: Chat, triton: ScriptedTriton, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "bad.yaml").write_text("steps: [1]")

    result = chat(*words)

    assert (result.code, result.out) == (2, "")
    assert reason in result.err
    assert result.err.count("\n") == 1
    assert triton.messages(wire.Ask) == []


def test_somebody_must_be_talked_to(chat: Chat) -> None:
    result = chat("--text", avatar="")

    assert (result.code, result.err.count("--avatar")) == (2, 1)


# --- what is seen ------------------------------------------------------------------------------


def seen(*events: Any, redrawn: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=redrawn, color_system=None)
    with ChatView(console, redrawn=redrawn) as view:
        for event in events:
            view.show(event)
            if redrawn and view._live is not None:
                view._live.refresh()
    return out.getvalue()


def test_a_partial_transcript_is_redrawn_until_it_is_final() -> None:
    partial = Transcript("How are y", False, 1.0, "en", stable="How are")
    final = Transcript("How are you?", True, 1.2, "en")

    drawn = seen(partial, final, TurnStarted("t", "How are you?"), redrawn=True)

    assert "How are y" in drawn
    assert drawn.count("How are you?") == 1


def test_partial_transcripts_do_not_fill_a_log() -> None:
    assert seen(Transcript("How are y", False, 1.0, "en", stable="How are")) == ""


def test_a_sound_that_is_no_question_is_told_as_such() -> None:
    said = seen(Transcript("Mm-hm.", True, 0.3, "en", ignored="back_channel"))

    assert said == "you      Mm-hm.  (back channel)\n"


def test_an_interruption_is_told_with_its_cause() -> None:
    assert seen(Interrupted("t", 1.23, "I am", "speech")) == (
        "interrupted by your voice after 1.2 s\n"
    )


def test_a_lost_question_is_told() -> None:
    said = seen(Reconnected(session_id="s", resumed=False, unanswered=1))

    assert "forgotten" in said
    assert "again" in said


def test_the_stages_of_a_turn_are_a_line() -> None:
    times = StageTimes(
        endpoint=250, transcript=260, first_token=330, first_audio=420, first_frame=510.4
    )

    assert stages(times) == (
        "endpoint 250 · transcript 260 · first token 330 · first audio 420 · first frame 510 ms"
    )


def test_lines_come_whole_however_they_are_written() -> None:
    source, sink = os.pipe()
    try:
        keyboard = Keyboard(source)
        os.write(sink, b"How are")
        assert keyboard.lines() == []
        os.write(sink, b" you?\nAnd")
        assert keyboard.lines() == ["How are you?"]
    finally:
        os.close(sink)
    assert keyboard.lines() == ["And"]
    assert keyboard.ended
    os.close(source)


def test_a_pause_alone_is_an_answer_that_is_waited_for(chat: Chat, triton: ScriptedTriton) -> None:
    triton.answer = answers.begun_then(
        Pause(0.5), wire.TurnCompleted("turn-1", "answered", "Fine.", 1.0, answers.TIMES)
    )

    result = chat("--text", "--json", typed="How are you?")

    assert [turn["outcome"] for turn in result.report["turns"]] == ["answered"]
