"""The served `narrate` ensemble: a script up, a video down."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests import pictures
from tests.media import watch
from tests.served import Stream, new_sequence_id
from tritalk import audio
from tritalk.server import Server
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

pytestmark = pytest.mark.needs("narrate", "tts", "animate", "avatar", "wav2lip")

SCRIPT = "Welcome to the harbour. The boats leave at noon, and the light is beautiful today."


@pytest.fixture
def stream(server: Server) -> Iterator[Stream]:
    with Stream(server.grpc_url) as stream:
        yield stream


@pytest.fixture(scope="module")
def options(server: Server) -> bytes:
    with Stream(server.grpc_url) as stream:
        request = stream.send(
            "avatar",
            {
                "COMMAND": wire.encode(wire.AvatarRegister()),
                "IMAGE": pictures.file_of(pictures.astronaut()),
            },
        )
        (answer,) = stream.answers(request)
    avatar_id = wire.decode(answer["AVATAR"], wire.AvatarInfo).avatar_id
    return wire.encode(wire.AnimateOptions(avatar_id=avatar_id))


def narrate(stream: Stream, sequence_id: int = 0, **inputs: bytes | str | float) -> str:
    return stream.send(
        "narrate",
        inputs,
        sequence_id=sequence_id or new_sequence_id(),
        start=True,
        end=True,
    )


def test_a_script_becomes_a_film_that_speaks_it(stream: Stream, options: bytes) -> None:
    media = list(stream.answers(narrate(stream, TEXT=SCRIPT, OPTIONS=options)))

    (speech,) = stream.answers(stream.send("tts", {"TEXT": SCRIPT}))
    spoken = audio.from_pcm(speech["AUDIO"])
    film = watch(b"".join(answer["MEDIA"] for answer in media))
    fragments = [wire.decode(answer["FRAGMENT"], wire.Fragment) for answer in media]
    assert len(film.frames) == sum(fragment.frames for fragment in fragments)
    assert len(film.frames) == -(-len(spoken) * 25 // speech["SAMPLE_RATE"])
    assert film.audio_end_s == pytest.approx(film.video_end_s)
    assert film.sample_rate_hz == speech["SAMPLE_RATE"]
    heard = film.samples[: len(spoken)]
    assert np.corrcoef(heard, spoken)[0, 1] > 0.97


def test_voice_and_speed_may_be_given(stream: Stream, options: bytes) -> None:
    def length(**inputs: float) -> int:
        media = stream.answers(narrate(stream, TEXT=SCRIPT, OPTIONS=options, VOICE="", **inputs))
        fragments = [wire.decode(answer["FRAGMENT"], wire.Fragment) for answer in media]
        return sum(fragment.frames for fragment in fragments)

    assert length(SPEED=2.0) < 0.7 * length(SPEED=1.0)


def test_an_unknown_avatar_is_named(stream: Stream) -> None:
    unknown = wire.encode(wire.AnimateOptions(avatar_id="feedfeedfeedfeed"))

    with pytest.raises(TritalkError) as caught:
        list(stream.answers(narrate(stream, TEXT=SCRIPT, OPTIONS=unknown)))

    assert caught.value.code is ErrorCode.UNKNOWN_AVATAR
    assert caught.value.stage == "animate"


def test_a_text_without_words_is_refused_and_the_next_narration_works(
    stream: Stream, options: bytes
) -> None:
    with pytest.raises(TritalkError):
        list(stream.answers(narrate(stream, TEXT="", OPTIONS=options)))

    assert list(stream.answers(narrate(stream, TEXT="Good.", OPTIONS=options)))


def test_a_narration_can_be_stopped_by_its_sequence_id(stream: Stream, options: bytes) -> None:
    sequence = new_sequence_id()
    script = " ".join([SCRIPT] * 15)
    media = stream.answers(narrate(stream, sequence, TEXT=script, OPTIONS=options))
    data = next(media)["MEDIA"]

    cancel = stream.send("animate", {"CANCEL": True}, sequence_id=sequence, start=True, end=True)

    data += b"".join(answer["MEDIA"] for answer in media)
    data += b"".join(answer["MEDIA"] for answer in stream.answers(cancel))
    film = watch(data)
    assert film.video_end_s < 30
    assert abs(film.audio_end_s - film.video_end_s) < 0.022
