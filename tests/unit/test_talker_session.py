from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.conversations import (
    CHUNK,
    Conversation,
    Conversations,
    completed,
    eventually,
    kinds,
    unhurried,
)
from tests.fakes import FakeStages, RecordingReply, metric_values
from tritalk.talker.settings import TalkerSettings
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError


@pytest.fixture
def stages() -> FakeStages:
    return FakeStages()


@pytest.fixture
def conversation(stages: FakeStages) -> Iterator[Conversation]:
    conversation = Conversation(stages, unhurried())
    yield conversation
    conversation.close()


@pytest.fixture
def converse(stages: FakeStages) -> Iterator[Conversations]:
    with Conversations(stages) as converse:
        yield converse


def test_a_spoken_question_is_transcribed_and_answered_in_voice_and_picture(
    conversation: Conversation,
) -> None:
    conversation.open()
    chunks = [conversation.send(wire.Audio(), CHUNK) for _ in range(3)]

    reply = conversation.send(wire.Audio(end_of_speech=True), CHUNK)

    end = completed(reply)
    assert [chunk.wait_closed() for chunk in chunks] == [[], [], []]
    assert kinds(reply.events)[:2] == ["Transcript", "TurnStarted"]
    transcript = reply.events[0]
    assert isinstance(transcript, wire.Transcript)
    assert (transcript.text, transcript.audio_s) == ("How are you?", 0.4)
    assert end.outcome == "answered"
    assert end.reply == "I am fine. Thank you for asking. And you?"
    assert conversation.stages.clauses == ["I am fine.", "Thank you for asking.", "And you?"]
    assert reply.media == b"".join(b"fragment-%d." % index for index in range(7))


def test_media_carries_the_clause_that_begins_in_it(conversation: Conversation) -> None:
    conversation.open()

    reply = conversation.send(wire.Ask("How are you?"))
    reply.wait_closed()

    media = [event for event in reply.events if isinstance(event, wire.Media)]
    assert [event.text for event in media if event.text] == conversation.stages.clauses
    assert [event.index for event in media] == list(range(7))


def test_the_first_media_leaves_before_the_last_word(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.token_delay_s = 0.05
    conversation.open()

    reply = conversation.send(wire.Ask("How are you?"))

    times = completed(reply).stages_ms
    assert times.first_frame is not None
    assert times.last_token is not None
    assert times.first_frame < times.last_token
    order = kinds(reply.events)
    assert order.index("Media") < len(order) - 1 - order[::-1].index("ReplyText")


def test_the_history_reaches_the_next_prompt(conversation: Conversation) -> None:
    conversation.open()
    conversation.send(wire.Ask("Who are you?")).wait_closed()

    conversation.send(wire.Ask("Why?")).wait_closed()

    prompt = conversation.stages.prompts[1]
    assert [message.role for message in prompt] == ["system", "user", "assistant", "user"]
    assert [message.content for message in prompt[1:]] == [
        "Who are you?",
        "I am fine. Thank you for asking. And you?",
        "Why?",
    ]


def test_a_script_is_spoken_as_it_is_without_the_language_model(
    conversation: Conversation,
) -> None:
    conversation.open()

    end = completed(conversation.send(wire.Say("Good morning. Please sit down.")))

    assert end.outcome == "answered"
    assert end.stages_ms.first_token is None
    assert conversation.stages.prompts == []
    assert conversation.stages.clauses == ["Good morning.", "Please sit down."]


def test_an_interruption_ends_the_turn_and_frees_every_stage(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.token_delay_s = 0.05
    stages.answer = ("Once upon a time. ", *["And then. "] * 100)
    conversation.open()
    reply = conversation.send(wire.Ask("Tell me a story."))
    reply.wait_for(wire.Media)

    conversation.send(wire.Interrupt())

    end = completed(reply)
    assert end.outcome == "interrupted"
    interrupted = reply.events[-2]
    assert isinstance(interrupted, wire.Interrupted)
    assert interrupted.text.startswith("Once upon a time.")
    assert interrupted.heard_s == end.media_s > 0
    eventually(lambda: stages.cancelled_generations == [end.turn_id])
    eventually(lambda: len(stages.cancelled_animations) >= 1)
    assert metric_values(conversation.family, "turns_total", outcome="interrupted") == [1]
    assert len(metric_values(conversation.family, "turn_interrupt_latency_ms")) == 1


def test_an_interruption_before_the_first_word_leaves_only_the_question_in_the_history(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.token_delay_s = 0.2
    conversation.open()
    reply = conversation.send(wire.Ask("Tell me a story."))
    reply.wait_for(wire.TurnStarted)

    conversation.send(wire.Interrupt())

    assert completed(reply).outcome == "interrupted"
    stages.token_delay_s = 0.0
    conversation.send(wire.Ask("Go on.")).wait_closed()
    contents = [message.content for message in stages.prompts[1][1:]]
    assert contents == ["Tell me a story. Go on."]


def test_a_new_question_interrupts_the_answer_to_the_old_one(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.token_delay_s = 0.05
    conversation.open()
    first = conversation.send(wire.Ask("One?"))
    first.wait_for(wire.TurnStarted)

    second = conversation.send(wire.Ask("Two?"))

    assert completed(first).outcome == "interrupted"
    assert completed(second).outcome == "answered"


def test_a_client_that_goes_away_ends_its_turn(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.token_delay_s = 0.05
    stages.answer = ("And then. ",) * 100
    conversation.open()
    reply = conversation.send(wire.Ask("One?"))
    reply.wait_for(wire.TurnStarted)

    reply.gone = True

    assert completed(reply).outcome == "interrupted"
    eventually(lambda: stages.cancelled_generations != [])


@pytest.mark.parametrize("stage", ["llm", "tts", "animate"])
def test_a_stage_that_fails_ends_the_turn_and_not_the_conversation(
    conversation: Conversation, stages: FakeStages, stage: str
) -> None:
    stages.errors[stage] = TritalkError(ErrorCode.INTERNAL, "broken", stage=stage)
    conversation.open()

    reply = conversation.send(wire.Ask("How are you?"))

    assert completed(reply).outcome == "failed"
    failure = next(event for event in reply.events if isinstance(event, wire.Failure))
    assert (failure.stage, failure.code, failure.message) == (stage, "internal", "broken")
    stages.errors.clear()
    assert completed(conversation.send(wire.Ask("And now?"))).outcome == "answered"


@pytest.mark.parametrize("stage", ["llm", "tts", "animate"])
def test_a_stage_that_hangs_is_given_up_at_its_deadline(
    converse: Conversations, stages: FakeStages, stage: str
) -> None:
    stages.hang.add(stage)
    conversation = converse(unhurried(llm_timeout_s=0.3, tts_timeout_s=0.3, animate_timeout_s=0.3))
    conversation.open()

    reply = conversation.send(wire.Ask("How are you?"))

    assert completed(reply).outcome == "failed"
    failure = next(event for event in reply.events if isinstance(event, wire.Failure))
    assert (failure.stage, failure.code, failure.retryable) == (stage, "timeout", True)


def test_the_next_clause_is_handed_over_while_the_one_before_is_drawn(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.fragments_per_clause = 20
    stages.fragment_delay_s = 0.02
    conversation.open()

    reply = conversation.send(wire.Ask("How are you?"))

    assert completed(reply).outcome == "answered"
    # The second piece was waiting before the last fragment of the first had come.
    assert stages.waiting_pieces > 0
    media = [event for event in reply.events if isinstance(event, wire.Media)]
    assert [event.index for event in media] == list(range(61))


def test_half_a_sentence_at_the_token_limit_is_not_spoken(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.answer = ("Dogs are loyal. ", "They love\n", "to play and")
    stages.finish_reason = "length"
    conversation.open()

    end = completed(conversation.send(wire.Ask("What of dogs?")))

    assert stages.clauses == ["Dogs are loyal.", "They love"]
    assert end.reply == "Dogs are loyal. They love"


@pytest.mark.parametrize(
    "answer", [("Dogs are loyal. ", "They play."), ("Dogs are so loyal that",)]
)
def test_a_whole_or_only_sentence_at_the_token_limit_is_spoken(
    conversation: Conversation, stages: FakeStages, answer: tuple[str, ...]
) -> None:
    stages.answer = answer
    stages.finish_reason = "length"
    conversation.open()

    end = completed(conversation.send(wire.Ask("What of dogs?")))

    assert end.reply == "".join(answer)
    assert " ".join(stages.clauses) == end.reply


def test_a_clause_without_anything_to_say_is_passed_over(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.answer = ("Look at this:\n", "```python\n", "It prints a line.\n", "```\n")
    stages.unspeakable = {"```python", "```"}
    conversation.open()

    end = completed(conversation.send(wire.Ask("How?")))

    assert end.outcome == "answered"
    assert stages.clauses == ["Look at this:", "It prints a line."]


def test_a_script_without_anything_to_say_is_the_callers_fault(
    conversation: Conversation,
) -> None:
    conversation.open()

    reply = conversation.send(wire.Say("?! " * 2000))

    assert completed(reply).outcome == "failed"
    failure = next(event for event in reply.events if isinstance(event, wire.Failure))
    assert failure.code is ErrorCode.NOTHING_TO_SAY


def test_a_fault_in_the_programme_is_an_error_and_not_a_silence(
    conversation: Conversation, stages: FakeStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    stages.faulty = {"tts"}
    conversation.open()

    reply = conversation.send(wire.Ask("How are you?"))

    assert completed(reply).outcome == "failed"
    failure = next(event for event in reply.events if isinstance(event, wire.Failure))
    assert (failure.code, failure.stage) == (ErrorCode.INTERNAL, "talker")


def test_the_prompt_has_what_was_heard_of_an_answer_that_the_question_cut_off(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.token_delay_s = 0.02
    stages.answer = ("Once upon a time. ", *["And then. "] * 100)
    conversation.open()
    conversation.send(wire.Ask("Tell me a story.")).wait_for(wire.Media)

    conversation.send(wire.Ask("What did you say?"))

    eventually(lambda: len(stages.prompts) == 2)
    contents = [message.content for message in stages.prompts[1]]
    assert contents[1] == "Tell me a story."
    assert contents[2].startswith("Once upon a time.")
    assert contents[3] == "What did you say?"


def test_a_question_that_failed_leaves_no_trace_in_the_history(
    conversation: Conversation, stages: FakeStages
) -> None:
    conversation.open()
    stages.errors["llm"] = TritalkError(ErrorCode.TOO_LARGE, "too long", stage="llm")
    conversation.send(wire.Ask("x" * 7000)).wait_closed()
    stages.errors.clear()

    conversation.send(wire.Ask("Who are you?")).wait_closed()

    assert [message.role for message in stages.prompts[-1]] == ["system", "user"]


def test_a_request_that_comes_after_the_end_is_refused_not_forgotten(
    conversation: Conversation,
) -> None:
    opening = conversation.send(wire.Configure(avatar_id="nobody"), start=True)
    late: list[TritalkError | None] = []
    for _ in range(50):
        try:
            reply = conversation.send(wire.Ask("Anyone?"))
        except TritalkError as error:
            late.append(error)
        else:
            reply.wait_closed()
            late.append(reply.error)

    opening.wait_closed()
    assert {error.code for error in late if error is not None} == {ErrorCode.BAD_REQUEST}
    assert None not in late


def test_the_end_of_a_sequence_ends_its_conversation(conversation: Conversation) -> None:
    reply = RecordingReply()

    conversation.sessions.submit(
        9, wire.Configure(avatar_id="ada"), b"", reply, start=True, end=True
    )

    reply.wait_closed()
    assert reply.error is None
    conversation.sessions.close()
    assert metric_values(conversation.family, "active_sessions") == [0]


def test_one_conversation_too_many_is_told_so(converse: Conversations) -> None:
    conversation = converse(TalkerSettings(max_sessions=2))
    conversation.open(to=1)
    conversation.open(to=2)

    with pytest.raises(TritalkError) as caught:
        conversation.send(wire.Configure(avatar_id="ada"), start=True, to=3)

    assert (caught.value.code, caught.value.retryable) == (ErrorCode.BUSY, True)


def test_audio_that_comes_faster_than_it_is_heard_is_bounded(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.deaf = True
    conversation.open()
    second = bytes(32_000)
    refused: set[ErrorCode] = set()
    replies: list[RecordingReply] = []
    for _ in range(70):
        try:
            replies.append(conversation.send(wire.Audio(), second))
        except TritalkError as error:
            refused.add(error.code)
    conversation.send(wire.Interrupt()).wait_closed()

    refused |= {reply.error.code for reply in replies if reply.error is not None}
    assert refused == {ErrorCode.BUSY}
    assert len(stages.ears[0].pcm) <= 60 * 32_000


def test_an_answer_without_words_is_a_failure(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.answer = ("...", " !")
    conversation.open()

    reply = conversation.send(wire.Ask("How are you?"))

    assert completed(reply).outcome == "failed"


def test_a_question_that_is_not_understood_fails_its_turn_at_once(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.errors["asr"] = TritalkError(ErrorCode.NO_SPEECH, "nobody spoke", stage="asr")
    conversation.open()

    first = conversation.send(wire.Audio(), CHUNK)
    first.wait_for(wire.TurnCompleted)
    rest = conversation.send(wire.Audio(end_of_speech=True), CHUNK)

    assert completed(first).outcome == "failed"
    assert kinds(first.events) == ["TurnStarted", "Failure", "TurnCompleted"]
    assert rest.wait_closed() == []
    stages.errors.clear()
    again = conversation.send(wire.Audio(end_of_speech=True), CHUNK)
    assert completed(again).outcome == "answered"


def test_a_conversation_needs_an_avatar_that_exists(conversation: Conversation) -> None:
    without = conversation.send(wire.Configure(), start=True)
    unknown = conversation.send(wire.Configure(avatar_id="nobody"), start=True)

    without.wait_closed()
    unknown.wait_closed()
    assert without.error is not None
    assert without.error.code is ErrorCode.BAD_REQUEST
    assert unknown.error is not None
    assert unknown.error.code is ErrorCode.UNKNOWN_AVATAR


def test_a_request_to_no_conversation_is_refused(conversation: Conversation) -> None:
    with pytest.raises(TritalkError, match="START") as caught:
        conversation.send(wire.Ask("Anyone?"), to=99)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_settings_change_in_mid_conversation_and_the_rest_stays(
    conversation: Conversation,
) -> None:
    conversation.open()

    reply = conversation.send(wire.Configure(system_prompt="Be brief.", language="de"))

    started = reply.wait_closed()[0]
    assert isinstance(started, wire.Started)
    assert (started.avatar_id, started.voice, started.language) == ("ada", "default", "de")
    conversation.send(wire.Ask("Hm?")).wait_closed()
    assert conversation.stages.prompts[0][0].content == "Be brief."


def test_examples_come_before_the_history_until_the_client_has_a_prompt_of_its_own(
    converse: Conversations, stages: FakeStages
) -> None:
    conversation = converse(unhurried(examples='[["Hello!", "Good day."]]'))
    conversation.open()
    conversation.send(wire.Ask("Who are you?")).wait_closed()
    conversation.send(wire.Configure(system_prompt="Be brief.")).wait_closed()
    conversation.send(wire.Ask("Why?")).wait_closed()

    first, second = ([message.content for message in prompt] for prompt in stages.prompts)
    assert first[1:] == ["Hello!", "Good day.", "Who are you?"]
    assert second[:2] == ["Be brief.", "Who are you?"]


def test_conversations_do_not_wait_for_each_other(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.meeting = threading.Barrier(5)
    for number in range(1, 6):
        conversation.open(to=number)

    replies = [conversation.send(wire.Ask("Hi?"), to=number) for number in range(1, 6)]

    # Each animation waits until all five are under way, which never is when one blocks another.
    assert [completed(reply).outcome for reply in replies] == ["answered"] * 5


def test_closing_ends_the_conversation_and_its_turn(
    conversation: Conversation, stages: FakeStages
) -> None:
    stages.token_delay_s = 0.05
    conversation.open()
    turn = conversation.send(wire.Ask("Tell me a story."))
    turn.wait_for(wire.TurnStarted)

    conversation.send(wire.Close()).wait_closed()

    assert completed(turn).outcome == "interrupted"
    with pytest.raises(TritalkError):
        conversation.send(wire.Ask("Still there?"))
    assert metric_values(conversation.family, "active_sessions") == [0]


def test_the_metrics_of_a_turn_add_up(conversation: Conversation) -> None:
    conversation.open()
    conversation.send(wire.Audio(end_of_speech=True), CHUNK).wait_closed()

    shares = {
        stage: metric_values(conversation.family, "turn_latency_ms", stage=stage)
        for stage in ("asr", "llm", "tts", "animate", "total")
    }
    assert all(len(values) == 1 for values in shares.values())
    total = shares.pop("total")[0]
    assert total == pytest.approx(sum(values[0] for values in shares.values()))
    assert metric_values(conversation.family, "turns_total", outcome="answered") == [1]
