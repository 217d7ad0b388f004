from __future__ import annotations

import io
from collections.abc import Sequence

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.media import boxes, watch
from tritalk.animate.encoder import (
    FRAMES_PER_SECOND,
    KEYFRAME_INTERVAL_FRAMES,
    SAMPLE_RATES_HZ,
    MediaEncoder,
)

SIZE = 32
AAC_FRAME = 1024


def picture(level: int) -> np.ndarray:
    planes = np.full((SIZE * 3 // 2, SIZE), 128, np.uint8)
    planes[:SIZE] = level
    return planes


def clicks(frames: int, at: Sequence[int], rate: int) -> np.ndarray:
    """Silence with a click at the beginning of some frames."""
    samples = np.zeros(frames * rate // FRAMES_PER_SECOND, np.float32)
    for frame in at:
        begin = frame * rate // FRAMES_PER_SECOND
        samples[begin : begin + 24] = 0.9 * (-1.0) ** np.arange(24)
    return samples


def encode(
    lengths: Sequence[int],
    *,
    rate: int = 24_000,
    samples: np.ndarray | None = None,
    flashes: Sequence[int] = (),
    finish: bool = True,
) -> list[bytes]:
    """Fragments of these numbers of frames, white in the frames of `flashes`."""
    encoder = MediaEncoder(SIZE, SIZE, rate)
    if samples is None:
        samples = np.zeros(sum(lengths) * rate // FRAMES_PER_SECOND, np.float32)
    encoder.add_audio(samples)
    fragments, frame = [], 0
    for length in lengths:
        for _ in range(length):
            encoder.add_frame(picture(235 if frame in flashes else 16))
            frame += 1
        last = finish and frame == sum(lengths)
        fragments.append(encoder.finish() if last else encoder.cut())
    encoder.close()
    return fragments


def onset_s(samples: np.ndarray, rate: int, near_s: float) -> float:
    """When a click begins that is looked for around a time."""
    begin = max(0, round((near_s - 0.1) * rate))
    around = np.abs(samples[begin : round((near_s + 0.1) * rate)])
    return (begin + int(np.argmax(around > around.max() / 2))) / rate


def test_the_first_fragment_brings_the_header_and_the_others_only_themselves() -> None:
    first, *others = encode([5, 10, 25])

    assert boxes(first) == ["ftyp", "moov", "moof", "mdat"]
    assert [boxes(other) for other in others] == [["moof", "mdat"]] * 2


@pytest.mark.parametrize("rate", SAMPLE_RATES_HZ)
def test_a_click_and_a_flash_are_at_the_same_time_with_the_edit_list(rate: int) -> None:
    at = [3, 30, 47]
    data = b"".join(encode([5, 5, 10, 25, 5], rate=rate, samples=clicks(50, at, rate), flashes=at))

    film = watch(data)

    flashes = [
        time for time, frame in zip(film.frame_times, film.frames, strict=True) if frame.min() > 200
    ]
    assert flashes == pytest.approx([frame / FRAMES_PER_SECOND for frame in at])
    heard = [onset_s(film.samples, film.sample_rate_hz, time) for time in flashes]
    assert heard == pytest.approx(flashes, abs=0.001)


@pytest.mark.parametrize("rate", SAMPLE_RATES_HZ)
def test_players_without_edit_lists_are_late_by_less_than_45_ms(rate: int) -> None:
    data = b"".join(encode([5, 45], rate=rate, samples=clicks(50, [30], rate)))

    film = watch(data, edit_list=False)

    lateness = onset_s(film.samples, film.sample_rate_hz, 1.2) - 1.2
    assert 0 < lateness < 0.045


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    rate=st.sampled_from(SAMPLE_RATES_HZ),
)
def test_sound_and_picture_end_together_exactly(lengths: list[int], rate: int) -> None:
    film = watch(b"".join(encode(lengths, rate=rate)))

    assert len(film.frames) == sum(lengths)
    assert film.video_end_s == pytest.approx(sum(lengths) / FRAMES_PER_SECOND)
    assert film.audio_end_s == pytest.approx(film.video_end_s, abs=1e-6)


@pytest.mark.parametrize("count", range(1, 6))
def test_a_file_cut_after_any_fragment_plays_to_its_end(count: int) -> None:
    lengths = [5, 5, 10, 25, 5]
    fragments = encode(lengths)

    film = watch(b"".join(fragments[:count]))

    assert len(film.frames) == sum(lengths[:count])
    assert abs(film.audio_end_s - film.video_end_s) <= AAC_FRAME / 24_000 / 2


def test_the_cuts_do_not_change_the_sound() -> None:
    samples = np.random.default_rng(3).normal(0, 0.1, 960 * 40).astype(np.float32)

    one = watch(b"".join(encode([40], samples=samples)))
    many = watch(b"".join(encode([1, 2, 3, 4, 5, 6, 7, 8, 4], samples=samples)))

    assert np.array_equal(one.samples, many.samples)


def test_sound_that_comes_frame_by_frame_is_the_same_sound() -> None:
    samples = np.random.default_rng(3).normal(0, 0.1, 960 * 20).astype(np.float32)
    encoder = MediaEncoder(SIZE, SIZE, 24_000)
    fragments = []
    for frame in range(20):
        encoder.add_audio(samples[frame * 960 : (frame + 1) * 960])
        encoder.add_frame(picture(16))
        fragments.append(encoder.finish() if frame == 19 else encoder.cut())
    encoder.close()

    film = watch(b"".join(fragments))

    whole = watch(b"".join(encode([20], samples=samples)))
    assert np.array_equal(film.samples, whole.samples)
    assert len(film.frames) == 20


def test_key_frames_begin_fragments_and_are_not_far_apart() -> None:
    lengths = [5, 5, 10, *[25] * 12]

    film = watch(b"".join(encode(lengths)))

    begins = np.cumsum([0, *lengths[:-1]]).tolist()
    assert film.keyframes[0] == 0
    assert set(film.keyframes) <= set(begins)
    gaps = np.diff(film.keyframes)
    assert (gaps >= KEYFRAME_INTERVAL_FRAMES).all()
    assert (gaps < KEYFRAME_INTERVAL_FRAMES + max(lengths)).all()


def test_an_abandoned_fragment_leaves_a_file_that_ends_before_it() -> None:
    encoder = MediaEncoder(SIZE, SIZE, 24_000)
    encoder.add_audio(np.zeros(24_000, np.float32))
    for _ in range(10):
        encoder.add_frame(picture(16))
    sent = encoder.cut()
    for _ in range(5):
        encoder.add_frame(picture(235))

    encoder.abandon()
    film = watch(sent + encoder.finish())
    encoder.close()

    assert len(film.frames) == 10
    assert max(frame.max() for frame in film.frames) < 50
    assert film.audio_end_s == pytest.approx(film.video_end_s, abs=AAC_FRAME / 24_000 / 2)


def test_sound_that_the_encoder_still_held_comes_with_an_end_without_frames() -> None:
    encoder = MediaEncoder(SIZE, SIZE, 24_000)
    encoder.add_audio(np.zeros(9_600, np.float32))
    for _ in range(10):
        encoder.add_frame(picture(16))
    sent = encoder.cut()
    assert watch(sent).audio_end_s < 0.4

    film = watch(sent + encoder.finish())
    encoder.close()

    assert film.audio_end_s == pytest.approx(0.4)


def test_colours_are_marked_as_bt709() -> None:
    with av.open(io.BytesIO(encode([5])[0])) as container:
        video = container.streams.video[0]
        next(container.decode(video))
        codec = video.codec_context
        marks = (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range)

    assert marks == (1, 1, 1, 1)


def test_a_still_picture_costs_next_to_nothing_after_its_key_frame() -> None:
    first, *others = encode([5, 25, 25])

    assert all(len(other) < 25 * 450 for other in others)
    assert len(first) < 8_000
