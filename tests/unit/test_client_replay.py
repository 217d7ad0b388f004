"""Scripts of conversations: how they are read, and how they are held."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests import answers
from tests.scripted_triton import Pause, ScriptedTriton, Step
from tritalk.environment import repository_root
from tritalk_client import (
    ErrorCode,
    Media,
    StageTimes,
    Started,
    Talker,
    Timeouts,
    Transcript,
    TritalkError,
    TurnCompleted,
    TurnStarted,
    wire,
)
from tritalk_client.calls import Speech
from tritalk_client.director import CHUNK_S, Director, OpenMicrophone
from tritalk_client.replay import Cue, TimedEvent, replay
from tritalk_client.script import Script, parse_script, read_script

EXAMPLES = sorted((repository_root() / "client" / "examples").glob("*.yaml"))
PATIENCE = Timeouts(connect_s=10, call_s=10, turn_s=20, stall_s=20, close_s=10)


def synthesise(text: str, *, voice: str | None, speed: float | None) -> Speech:
    """Half a second of something that is not silence."""
    pcm = np.full(12_000, 3000, "<i2").tobytes()
    return Speech(pcm=pcm, sample_rate_hz=24_000, phonemes=())


def script(*steps: str, quiet_s: float = 0.3) -> Script:
    lines = "".join(f"  - {step}\n" for step in steps)
    return parse_script(f"quiet_s: {quiet_s}\nsteps:\n{lines}").voiced(synthesise)


# --- reading -----------------------------------------------------------------------------------


def test_a_script_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "no.wav", np.zeros(1600), 16_000)
    (tmp_path / "script.yaml").write_text(
        "avatar: portrait.png\n"
        "settings: {system_prompt: Be brief., interrupt_ms: 200}\n"
        "steps:\n"
        "  - text: How are you?\n"
        "    speed: 1.2\n"
        "  - speak: no.wav\n"
        "    after: first_media\n"
        "    delay_s: 0.8\n"
        "  - {type: 'And now?', after: turn_completed}\n"
        "  - interrupt: true\n"
        "  - pause_s: 1\n"
    )

    read = read_script(tmp_path / "script.yaml").voiced(synthesise)

    assert [step.action for step in read.steps] == [
        "say 'How are you?'",
        "speak no.wav",
        "type 'And now?'",
        "interrupt",
        "pause 1 s",
    ]
    assert (read.steps[1].after, read.steps[1].delay_s) == ("first_media", 0.8)
    assert read.settings == wire.Configure(system_prompt="Be brief.", interrupt_ms=200)
    assert {number: len(pcm) for number, pcm in read.voices.items()} == {0: 16_000, 1: 3_200}
    assert read.is_spoken


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_scripts(path: Path) -> None:
    assert len(read_script(path).steps) >= 2


def test_there_is_an_example_of_everything_that_people_do() -> None:
    assert {path.stem for path in EXAMPLES} == {
        "back_channel",
        "before_the_first_word",
        "mid_sentence",
        "overlap",
        "pauses",
        "two_in_a_row",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1"),
        ("steps: []", "line 1, steps"),
        ("steps:\n  - speak: absent.wav", "line 2, steps[0].speak: there is no file"),
        ("steps:\n  - type: Hi\n    after: later", "line 3, steps[0].after: Invalid enum"),
        ("steps:\n  - type: Hi\n  - type: Ho\n    loud: 1", "line 4, steps[1].loud: "),
        ("steps:\n  - type: Hi\n    delay_s: -1", "line 3, steps[0].delay_s"),
        ("steps:\n  - type: Hi\n    text: Ho", "line 2, steps[0]: a step has one of"),
        ("steps:\n  - after: previous", "got none"),
        ("steps:\n  - type: Hi\n    voice: emma", "voice and speed go with text"),
        ("settings:\n  voices: emma\nsteps:\n  - type: Hi", "line 2, settings.voices"),
        ("settings:\n  session_id: abcdefghijklmnop\nsteps:\n  - type: Hi", "line 2"),
        ("steps:\n  - type: [", "line 2"),
        ("steps: !!python/object:os.system {}", "line 1"),
    ],
)
def test_what_is_no_script_is_refused_with_its_line_and_key(text: str, words: str) -> None:
    with pytest.raises(TritalkError) as caught:
        parse_script(text)

    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert words in caught.value.message


# --- directing ---------------------------------------------------------------------------------


def started(turn_id: str = "t1") -> TurnStarted:
    return TurnStarted(turn_id, "How are you?")


def fragment(index: int) -> Media:
    return Media(
        turn_id="t1",
        index=index,
        start_s=0.0,
        duration_s=0.2,
        frames=5,
        spoken=True,
        stages_ms=StageTimes(),
        data=b"",
    )


def completed(outcome: str = "answered") -> TurnCompleted:
    return TurnCompleted("t1", outcome, "Fine.", 1.0, StageTimes())  # type: ignore[arg-type]


def test_a_step_follows_the_end_of_the_one_before() -> None:
    director = Director(script("type: One", "{type: Two, delay_s: 0.5}"))

    assert director.due(0.0) is not None
    assert director.due(0.1) is None
    director.ended(0, 1.0)
    assert director.due(1.4) is None
    assert director.due(1.5) is not None
    assert director.due(9.9) is None


def test_a_step_waits_for_what_comes_after_the_beginning_of_the_one_before() -> None:
    director = Director(script("type: One", "{type: Two, after: first_media, delay_s: 0.2}"))

    director.saw(fragment(0), 0.0)
    director.due(0.1)
    director.saw(fragment(1), 0.5)
    assert director.due(0.9) is None
    director.saw(fragment(0), 1.0)
    director.saw(fragment(0), 2.0)
    assert director.due(1.1) is None
    assert director.due(1.2) is not None


def test_an_interrupted_turn_is_completed_and_not_answered() -> None:
    for moment, expected in (("turn_completed", True), ("answered", False)):
        director = Director(script("type: One", f"{{type: Two, after: {moment}}}"))
        director.due(0.0)
        director.saw(completed("interrupted"), 1.0)
        assert (director.due(1.0) is not None) is expected
        director.saw(completed("answered"), 2.0)
    assert director.due(2.0) is not None


def test_what_does_not_come_is_not_waited_for_without_end() -> None:
    director = Director(script("type: One", "{type: Two, after: silence, within_s: 3}"))
    director.due(0.0)
    director.ended(0, 1.0)

    assert director.due(3.9) is None
    with pytest.raises(TritalkError, match=r"steps\[1\].*silence") as caught:
        director.due(4.1)
    assert caught.value.code is ErrorCode.TIMEOUT


def test_it_is_over_when_all_is_done_and_quiet() -> None:
    director = Director(script("type: One", quiet_s=2.0))
    assert not director.is_over(5.0)
    director.due(5.0)
    director.ended(0, 5.0)
    director.saw(Transcript("How", False, 0.1, "en"), 5.5)
    assert not director.is_over(9.0)
    # Not everything that sounds like speech has words.
    assert director.is_over(16.0)
    director.saw(Transcript("How are you?", True, 0.5, "en"), 6.0)
    assert not director.is_over(7.9)
    assert director.is_over(8.0)


def test_an_open_microphone_hears_silence_and_what_is_said() -> None:
    microphone = OpenMicrophone()
    microphone.say(3, b"\1\0" * 1000)
    microphone.say(4, b"\2\0" * 100)

    chunks = [microphone.take() for _ in range(3)]

    assert {len(chunk) for chunk, _ in chunks} == {round(CHUNK_S * 32_000)}
    assert [ended for _, ended in chunks] == [[], [3, 4], []]
    assert b"".join(chunk for chunk, _ in chunks) == (
        b"\1\0" * 1000 + b"\2\0" * 100 + b"\0\0" * 1300
    )
    assert microphone.next_s == pytest.approx(4 * CHUNK_S)


# --- holding the conversation ------------------------------------------------------------------


@pytest.fixture
def triton() -> Iterator[ScriptedTriton]:
    turn_ids = (f"turn-{number}" for number in range(1, 99))
    with ScriptedTriton(
        answer=lambda question: answers.answered(question, next(turn_ids))
    ) as triton:
        yield triton


def hold(triton: ScriptedTriton, held: Script) -> list[TimedEvent]:
    with (
        Talker(triton.address, timeouts=PATIENCE) as talker,
        talker.conversation("astronaut") as conversation,
    ):
        return replay(conversation, held)


def first(happened: list[TimedEvent], kind: type[object]) -> TimedEvent:
    return next(timed for timed in happened if isinstance(timed.event, kind))


def test_a_spoken_script_is_held_at_real_pace(triton: ScriptedTriton) -> None:
    happened = hold(triton, script("text: How are you?", "{text: 'And now?', after: answered}"))

    assert isinstance(happened[0].event, Started)
    cues = [
        (each.event.step, each.event.what, each.at_s)
        for each in happened
        if isinstance(each.event, Cue)
    ]  # noqa: E501
    assert [(step, what) for step, what, _ in cues] == [
        (0, "begins"),
        (0, "ends"),
        (1, "begins"),
        (1, "ends"),
    ]
    assert cues[1][2] - cues[0][2] == pytest.approx(0.5, abs=0.1)
    # The open microphone sent silence between them, without which no question would have ended.
    final = next(t for t in happened if isinstance(t.event, Transcript) and t.event.final)
    assert final.at_s - cues[1][2] > 0.25
    outcomes = [t.event.outcome for t in happened if isinstance(t.event, TurnCompleted)]
    assert outcomes == ["answered", "answered"]
    assert [timed.at_s for timed in happened] == sorted(timed.at_s for timed in happened)


def test_a_voice_interrupts_where_the_script_says(triton: ScriptedTriton) -> None:
    scripts = iter([answers.interruptible])

    def answer(question: str | bytes) -> Iterator[Step]:
        return next(scripts, lambda asked: answers.answered(asked, "turn-2"))(question)

    triton.answer = answer
    happened = hold(
        triton,
        script("text: How are you?", "{text: No!, after: first_media, delay_s: 0.4}"),
    )

    completed = [timed for timed in happened if isinstance(timed.event, TurnCompleted)]
    assert [timed.event.outcome for timed in completed] == ["interrupted", "answered"]  # type: ignore[union-attr]
    cue = next(t for t in happened if isinstance(t.event, Cue) and t.event.step == 1)
    assert cue.at_s - first(happened, Media).at_s == pytest.approx(0.4, abs=0.1)
    # The voice of the next question ends the answer, 0.3 s of speech after its beginning.
    assert 0.25 < completed[0].at_s - cue.at_s < 0.6


def test_a_typed_script_needs_no_microphone(triton: ScriptedTriton) -> None:
    triton.answer = answers.interruptible

    happened = hold(
        triton,
        script("type: How are you?", "{interrupt: true, after: first_media}", "pause_s: 0.2"),
    )

    assert triton.messages(wire.Audio) == []
    assert triton.messages(wire.Interrupt) == [wire.Interrupt()]
    assert first(happened, TurnCompleted).event.outcome == "interrupted"  # type: ignore[union-attr]


def test_a_script_that_waits_in_vain_is_a_typed_error(triton: ScriptedTriton) -> None:
    with pytest.raises(TritalkError) as caught:
        hold(triton, script("type: One", "{type: Two, after: interrupted, within_s: 0.3}"))

    assert caught.value.code is ErrorCode.TIMEOUT


def test_an_answer_is_waited_for_to_its_end(triton: ScriptedTriton) -> None:
    triton.answer = answers.begun_then(
        Pause(1.0), wire.TurnCompleted("turn-1", "answered", "Fine.", 1.0, answers.TIMES)
    )

    happened = hold(triton, script("type: How are you?", quiet_s=0.1))

    assert isinstance(happened[-1].event, TurnCompleted)


def test_a_script_without_its_voices_is_refused(triton: ScriptedTriton) -> None:
    with pytest.raises(TritalkError, match="voiced"):
        hold(triton, parse_script("steps:\n  - text: How are you?"))


def test_events_are_json(triton: ScriptedTriton) -> None:
    happened = hold(triton, script("type: How are you?"))

    lines = [timed.to_builtins() for timed in happened]
    assert [line["type"] for line in lines] == [
        "started",
        "cue",
        "cue",
        "turn_started",
        "reply_text",
        "media",
        "reply_text",
        "media",
        "turn_completed",
    ]
    assert lines[5]["bytes"] == len(answers.MEDIA[0])
    assert "data" not in lines[5]
