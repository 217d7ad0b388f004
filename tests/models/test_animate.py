"""The served `animate` model: pieces of speech up, one video down."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest

from tests import pictures
from tests.media import Film, boxes, watch
from tests.served import Stream, new_sequence_id
from tritalk.audio import to_pcm
from tritalk.server import Server
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

pytestmark = pytest.mark.needs("animate", "avatar", "wav2lip")

RATE = 24_000


@pytest.fixture
def stream(server: Server) -> Iterator[Stream]:
    with Stream(server.grpc_url) as stream:
        yield stream


@pytest.fixture(scope="module")
def avatar(server: Server) -> wire.AvatarInfo:
    with Stream(server.grpc_url) as stream:
        request = stream.send(
            "avatar",
            {
                "COMMAND": wire.encode(wire.AvatarRegister()),
                "IMAGE": pictures.file_of(pictures.astronaut()),
            },
        )
        (answer,) = stream.answers(request)
    return wire.decode(answer["AVATAR"], wire.AvatarInfo)


def speech(frames: float, *, seed: int = 0) -> bytes:
    """Noise in syllables, loud and soft four times a second."""
    time = np.arange(round(frames * RATE / 25)) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.2, len(time))
    return to_pcm((noise * (np.sin(2 * np.pi * 4 * time) > 0)).astype(np.float32))


def start_of(avatar_id: str, pcm: bytes) -> dict[str, bytes | int]:
    return {
        "AUDIO": pcm,
        "SAMPLE_RATE": RATE,
        "OPTIONS": wire.encode(wire.AnimateOptions(avatar_id=avatar_id)),
    }


def receive(stream: Stream, request: str) -> tuple[bytes, list[wire.Fragment]]:
    data, fragments = b"", []
    for answer in stream.answers(request):
        data += answer["MEDIA"]
        fragments.append(wire.decode(answer["FRAGMENT"], wire.Fragment))
    return data, fragments


def mouth_motion(film: Film, face: wire.FaceBox) -> float:
    """How much the lower face changes from frame to frame, in grey levels."""
    rows = slice(face.y + face.height * 3 // 5, face.y + face.height)
    mouths = np.stack(film.frames)[:, rows, face.x : face.x + face.width].astype(float)
    return float(np.abs(np.diff(mouths, axis=0)).mean())


def test_one_request_gives_one_playable_film_of_the_portrait(
    stream: Stream, avatar: wire.AvatarInfo
) -> None:
    request = stream.send(
        "animate",
        start_of(avatar.avatar_id, speech(50)),
        sequence_id=new_sequence_id(),
        start=True,
        end=True,
    )

    data, fragments = receive(stream, request)

    assert boxes(data)[:4] == ["ftyp", "moov", "moof", "mdat"]
    assert [fragment.index for fragment in fragments] == list(range(len(fragments)))
    assert fragments[0].frames <= 5
    film = watch(data)
    assert len(film.frames) == sum(fragment.frames for fragment in fragments) == 50
    assert film.frames[0].shape == (avatar.height, avatar.width, 3)
    assert film.audio_end_s == pytest.approx(film.video_end_s) == pytest.approx(2.0)


def test_lips_move_with_the_voice_rest_without_it_and_nothing_else_moves(
    stream: Stream, avatar: wire.AvatarInfo
) -> None:
    def film_of(pcm: bytes) -> Film:
        request = stream.send(
            "animate",
            start_of(avatar.avatar_id, pcm),
            sequence_id=new_sequence_id(),
            start=True,
            end=True,
        )
        return watch(receive(stream, request)[0])

    spoken, silent = film_of(speech(40)), film_of(bytes(len(speech(40))))

    assert mouth_motion(spoken, avatar.face) > 5 * mouth_motion(silent, avatar.face)
    below_the_face = avatar.face.y + avatar.face.height * 3 // 2
    background = np.stack(spoken.frames)[:, below_the_face:].astype(int)
    assert np.abs(np.diff(background, axis=0)).max() <= 2


def test_pieces_of_a_sequence_are_answered_each_by_its_own_media(
    stream: Stream, avatar: wire.AvatarInfo
) -> None:
    sequence = new_sequence_id()
    requests = [
        stream.send(
            "animate", start_of(avatar.avatar_id, speech(12.5)), sequence_id=sequence, start=True
        ),
        stream.send("animate", {"AUDIO": speech(8.3, seed=1)}, sequence_id=sequence),
        stream.send("animate", {"CANCEL": False}, sequence_id=sequence, end=True),
    ]

    answers = [receive(stream, request) for request in requests]

    frames = [sum(fragment.frames for fragment in fragments) for _, fragments in answers]
    assert frames == [12, 8, 1]
    film = watch(b"".join(data for data, _ in answers))
    assert len(film.frames) == 21
    assert film.audio_end_s == pytest.approx(film.video_end_s)


def test_a_paced_film_comes_no_faster_than_it_is_played(
    stream: Stream, avatar: wire.AvatarInfo
) -> None:
    lead_s = 0.5
    options = wire.AnimateOptions(avatar_id=avatar.avatar_id, lead_s=lead_s)
    request = stream.send(
        "animate",
        start_of(avatar.avatar_id, speech(50)) | {"OPTIONS": wire.encode(options)},
        sequence_id=new_sequence_id(),
        start=True,
        end=True,
    )

    sent_s, began, ahead_s = 0.0, 0.0, []
    for answer in stream.answers(request):
        began = began or time.monotonic()
        fragment = wire.decode(answer["FRAGMENT"], wire.Fragment)
        sent_s += fragment.duration_s
        ahead_s.append(sent_s - (time.monotonic() - began))

    assert sent_s == pytest.approx(2.0)
    # A fragment that was late on its way makes the next one look early.
    assert max(ahead_s) < lead_s + 0.2


def test_a_paced_film_is_cancelled_at_once(stream: Stream, avatar: wire.AvatarInfo) -> None:
    sequence = new_sequence_id()
    options = wire.AnimateOptions(avatar_id=avatar.avatar_id, lead_s=1.0)
    request = stream.send(
        "animate",
        start_of(avatar.avatar_id, speech(500)) | {"OPTIONS": wire.encode(options)},
        sequence_id=sequence,
        start=True,
    )
    answers = stream.answers(request)
    data = next(answers)["MEDIA"] + next(answers)["MEDIA"]

    cancelled_at = time.monotonic()
    cancel = stream.send("animate", {"CANCEL": True}, sequence_id=sequence, end=True)
    data += b"".join(answer["MEDIA"] for answer in answers)
    took_s = time.monotonic() - cancelled_at
    data += receive(stream, cancel)[0]

    film = watch(data)
    assert 5 <= len(film.frames) <= 50
    assert abs(film.audio_end_s - film.video_end_s) < 0.022
    assert took_s < 0.5


def test_sequences_at_the_same_time_each_get_their_own_film(
    server: Server, avatar: wire.AvatarInfo
) -> None:
    streams = [Stream(server.grpc_url).__enter__() for _ in range(3)]
    try:
        requests = [
            stream.send(
                "animate",
                start_of(avatar.avatar_id, speech(20 + 5 * index, seed=index)),
                sequence_id=new_sequence_id(),
                start=True,
                end=True,
            )
            for index, stream in enumerate(streams)
        ]
        films = [
            watch(receive(stream, request)[0])
            for stream, request in zip(streams, requests, strict=True)
        ]
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)

    assert [len(film.frames) for film in films] == [20, 25, 30]


def test_a_cancel_ends_the_sequence_at_a_fragment(stream: Stream, avatar: wire.AvatarInfo) -> None:
    sequence = new_sequence_id()
    spoken = stream.send(
        "animate", start_of(avatar.avatar_id, speech(1500)), sequence_id=sequence, start=True
    )
    media = stream.answers(spoken)
    data = next(media)["MEDIA"]

    cancel = stream.send("animate", {"CANCEL": True}, sequence_id=sequence, end=True)

    data += b"".join(answer["MEDIA"] for answer in media)
    data += receive(stream, cancel)[0]
    film = watch(data)
    assert len(film.frames) < 1500
    assert abs(film.audio_end_s - film.video_end_s) < 0.022


def test_pieces_that_wait_are_told_of_a_cancel(stream: Stream, avatar: wire.AvatarInfo) -> None:
    sequence = new_sequence_id()
    spoken = stream.send(
        "animate", start_of(avatar.avatar_id, speech(1500)), sequence_id=sequence, start=True
    )
    waiting = stream.send("animate", {"AUDIO": speech(50)}, sequence_id=sequence)
    # Until a piece is in work, a cancel reaches it while it waits, too.
    media = stream.answers(spoken)
    next(media)

    cancel = stream.send("animate", {"CANCEL": True}, sequence_id=sequence, end=True)

    assert all(answer["MEDIA"] for answer in media)
    receive(stream, cancel)
    with pytest.raises(TritalkError) as caught:
        receive(stream, waiting)
    assert caught.value.code is ErrorCode.CANCELLED


def test_a_cancel_reaches_a_sequence_whose_end_is_in_work(
    stream: Stream, avatar: wire.AvatarInfo
) -> None:
    sequence = new_sequence_id()
    request = stream.send(
        "animate",
        start_of(avatar.avatar_id, speech(1500)),
        sequence_id=sequence,
        start=True,
        end=True,
    )
    media = stream.answers(request)
    frames = wire.decode(next(media)["FRAGMENT"], wire.Fragment).frames

    cancel = stream.send("animate", {"CANCEL": True}, sequence_id=sequence, start=True, end=True)

    frames += sum(wire.decode(answer["FRAGMENT"], wire.Fragment).frames for answer in media)
    receive(stream, cancel)
    assert frames < 1500


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"AUDIO": b"odd"}, ErrorCode.BAD_AUDIO, "even number"),
        ({"AUDIO": b""}, ErrorCode.BAD_AUDIO, "AUDIO"),
        ({"SAMPLE_RATE": 11_025}, ErrorCode.BAD_AUDIO, "24000"),
        ({"AUDIO": bytes(2 * RATE * 601)}, ErrorCode.TOO_LARGE, "600 s"),
        (
            {"OPTIONS": b'{"avatar_id":"feedfeedfeedfeed"}'},
            ErrorCode.UNKNOWN_AVATAR,
            "feedfeedfeedfeed",
        ),
        ({"OPTIONS": b'{"avatar_id":"a","mood":1}'}, ErrorCode.BAD_REQUEST, "mood"),
        ({"OPTIONS": b"\xff"}, ErrorCode.BAD_REQUEST, ""),
        ({"TIMING": bytes(1_000_001)}, ErrorCode.TOO_LARGE, "TIMING"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason_and_the_next_request_works(
    stream: Stream,
    avatar: wire.AvatarInfo,
    change: dict[str, bytes | int],
    code: ErrorCode,
    words: str,
) -> None:
    good = start_of(avatar.avatar_id, speech(5))
    request = stream.send(
        "animate", {**good, **change}, sequence_id=new_sequence_id(), start=True, end=True
    )

    with pytest.raises(TritalkError) as caught:
        receive(stream, request)

    assert caught.value.code is code
    assert caught.value.stage == "animate"
    assert words in caught.value.message
    again = stream.send("animate", good, sequence_id=new_sequence_id(), start=True, end=True)
    assert len(watch(receive(stream, again)[0]).frames) == 5


def test_a_sequence_that_was_cancelled_takes_no_more_speech(
    stream: Stream, avatar: wire.AvatarInfo
) -> None:
    sequence = new_sequence_id()
    for inputs, start in (
        (start_of(avatar.avatar_id, speech(5)), True),
        ({"CANCEL": True}, False),
    ):
        receive(stream, stream.send("animate", inputs, sequence_id=sequence, start=start))

    request = stream.send("animate", {"AUDIO": speech(5)}, sequence_id=sequence, end=True)

    with pytest.raises(TritalkError) as caught:
        receive(stream, request)
    assert "START" in caught.value.message


def test_its_metrics_are_served(server: Server, stream: Stream, avatar: wire.AvatarInfo) -> None:
    request = stream.send(
        "animate",
        start_of(avatar.avatar_id, speech(10)),
        sequence_id=new_sequence_id(),
        start=True,
        end=True,
    )
    receive(stream, request)

    with urllib.request.urlopen(server.metrics_url, timeout=10) as response:
        text = response.read().decode()

    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(lines["video_resolution_height"]) == avatar.height
    assert float(lines["face_animation_fps_actual_count"]) >= 2
    assert float(lines["mel_spectrogram_extraction_time_ms_count"]) >= 2
    assert float(lines['model_load_time_seconds{model="animate"}']) > 0
    assert float(lines['process_resident_memory_bytes{module="animate"}']) > 0
