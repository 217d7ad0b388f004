from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError
from tritalk_client.events import Failure, Media
from tritalk_client.question import Script, Spoken, Typed
from tritalk_client.session import Session
from tritalk_client.timeouts import Timeouts

SECOND = b"\0\0" * 16_000


@pytest.fixture
def session() -> Session:
    return Session("host:1", Timeouts(), wire.Configure("astronaut"))


def message(request: Any) -> wire.Request:
    return wire.decode_request(deserialize_bytes_tensor(request.raw_input_contents[0])[0])


def response(event: bytes, media: bytes = b"", request_id: str = "") -> Any:
    reply = service_pb2.ModelInferResponse(id=request_id)
    for name, data in (("EVENT", event), ("MEDIA", media)):
        reply.outputs.add(name=name, datatype="BYTES", shape=[1, 1])
        raw = serialize_byte_tensor(np.array([data], dtype=np.object_)).item()
        reply.raw_output_contents.append(raw)
    return service_pb2.ModelStreamInferResponse(infer_response=reply)


def opened(session: Session) -> Session:
    session.receive(response(wire.encode(wire.Started("astronaut", "heart", "en"))), now_s=0)
    return session


def test_a_recording_leaves_at_once(session: Session) -> None:
    outgoing = session.pose(Spoken(SECOND), now_s=5.0)

    assert [each.due_s for each in outgoing] == [5.0] * 10
    assert session.asked_s == 5.0


def test_a_paced_recording_leaves_as_a_microphone_would_hear_it(session: Session) -> None:
    outgoing = session.pose(Spoken(SECOND, pace=True), now_s=5.0)

    assert [each.due_s for each in outgoing] == pytest.approx([5 + 0.1 * n for n in range(1, 11)])
    assert session.asked_s == pytest.approx(6.0)


def test_paced_recordings_follow_each_other(session: Session) -> None:
    session.pose(Spoken(SECOND, pace=True), now_s=5.0)
    second = session.pose(Spoken(SECOND, pace=True), now_s=5.2)

    assert second[0].due_s == pytest.approx(6.1)


def test_only_the_last_chunk_ends_the_speech(session: Session) -> None:
    outgoing = session.pose(Spoken(SECOND[:7000]), now_s=0)

    messages = [message(each.request) for each in outgoing]
    assert messages == [wire.Audio(end_of_speech=last) for last in (False, False, True)]


def test_all_chunks_of_a_question_share_its_id_and_questions_differ(session: Session) -> None:
    first = [each.request.id for each in session.pose(Spoken(SECOND), now_s=0)]
    live = [
        each for end in (False, True) for each in session.audio(SECOND[:3200], 0, end_of_speech=end)
    ]
    typed = session.pose(Typed("Hello?"), now_s=0)

    assert len(set(first)) == 1
    assert live[0].request.id == live[1].request.id
    assert len({first[0], live[0].request.id, typed[0].request.id}) == 3


def test_words_are_asked_or_said(session: Session) -> None:
    [asked] = session.pose(Typed("Who are you?"), now_s=0)
    [said] = session.pose(Script("I am here."), now_s=0)

    assert message(asked.request) == wire.Ask("Who are you?")
    assert message(said.request) == wire.Say("I am here.")


def test_media_carries_its_bytes(session: Session) -> None:
    times = wire.StageTimes(first_frame=12.0)
    media = wire.Media("turn-1", 0, 0.0, 0.2, 5, True, times, "Hello.")

    event = opened(session).receive(response(wire.encode(media), b"bytes"), now_s=1)

    assert isinstance(event, Media)
    assert (event.data, event.text, event.stages_ms) == (b"bytes", "Hello.", times)
    match event:
        case Media(data=data):
            assert data == b"bytes"


def test_a_response_without_an_event_is_no_event(session: Session) -> None:
    assert opened(session).receive(response(b""), now_s=1) is None


def test_an_event_that_is_not_known_asks_for_another_client(session: Session) -> None:
    with pytest.raises(TritalkError, match="version") as caught:
        opened(session).receive(response(b'{"type":"applause"}'), now_s=1)

    assert caught.value.code is ErrorCode.INTERNAL


def test_a_refusal_before_the_conversation_is_open_is_raised(session: Session) -> None:
    error = TritalkError(ErrorCode.UNKNOWN_VOICE, "no such voice", stage="tts")

    with pytest.raises(TritalkError) as caught:
        session.receive(
            service_pb2.ModelStreamInferResponse(error_message=error.to_wire()), now_s=1
        )

    assert (caught.value.code, caught.value.stage) == (ErrorCode.UNKNOWN_VOICE, "tts")


def test_a_refusal_in_an_open_conversation_is_an_event(session: Session) -> None:
    error = TritalkError(ErrorCode.BUSY, "later", stage="llm")

    event = opened(session).receive(
        service_pb2.ModelStreamInferResponse(error_message=error.to_wire()), now_s=1
    )

    assert event == Failure("llm", ErrorCode.BUSY, "later", True)


def test_an_open_microphone_is_no_question(session: Session) -> None:
    [outgoing] = opened(session).audio(SECOND[:3200], 5.0, hands_free=True)

    assert message(outgoing.request) == wire.Audio(hands_free=True)
    assert session.watch.settled
    assert session.watch.expects_turns(6.0)


def test_what_is_opened_again_is_another_sequence_of_the_same_session(session: Session) -> None:
    session.open(0.0)
    first = session.sequence_id
    session_id = "0123456789abcdef"
    started = wire.Started("astronaut", "heart", "en", session_id)
    session.receive(response(wire.encode(started)), now_s=0)
    change = session.configure(wire.Configure(voice="emma"), 1.0)
    session.pose(Typed("Hello?"), 1.0)

    # A change that was not confirmed is made again, a question that was not begun asked again.
    messages = [message(each.request) for each in session.open(2.0)]

    assert change.request.id
    assert session.sequence_id != first
    assert messages == [
        wire.Configure("astronaut", session_id=session_id),
        wire.Configure(voice="emma"),
        wire.Ask("Hello?"),
    ]
