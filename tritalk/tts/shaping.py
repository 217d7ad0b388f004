"""Speech as it leaves: silence around it cut to measure, and always as loud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tritalk.audio import Samples
from tritalk.tts.engine import SILENCE, Phone, Spoken
from tritalk_client.wire import PhonemeTiming

_FRAME_S = 0.005
_AUDIBLE_DB = -50.0
"""Level of the softest frame that is speech, against the loudest."""

_SOUNDING_DB = -30.0
"""The same for a frame that counts towards the loudness."""

_PEAK = 10 ** (-1 / 20)
_MAX_GAIN = 10 ** (12 / 20)
_FADE_S = 0.005


def trim(spoken: Spoken, sample_rate_hz: int, *, lead_s: float, tail_s: float) -> Spoken:
    """Cut or lengthen the silence before and behind speech.

    Args:
        spoken: The phrase.
        sample_rate_hz: Its sample rate.
        lead_s: Silence before the first sound, at the most.
        tail_s: Silence behind the last sound, exactly.
    """
    levels = _levels(spoken.samples, sample_rate_hz)
    audible = np.flatnonzero(levels > _ratio(_AUDIBLE_DB) * levels.max(initial=0.0))
    if not audible.size:
        return spoken
    frame = round(_FRAME_S * sample_rate_hz)
    begin = max(0, int(audible[0]) * frame - round(lead_s * sample_rate_hz))
    end = (int(audible[-1]) + 1) * frame + round(tail_s * sample_rate_hz)
    samples = spoken.samples[begin:end].copy()
    _fade(samples, round(_FADE_S * sample_rate_hz))
    missing = end - begin - len(samples)
    samples = np.concatenate([samples, np.zeros(missing, np.float32)])
    phones = _window(spoken.phones, begin / sample_rate_hz, end / sample_rate_hz)
    return Spoken(samples, phones)


def level(samples: Samples, sample_rate_hz: int, target_dbfs: float) -> Samples:
    """Bring speech to a loudness, without clipping.

    Args:
        samples: The speech.
        sample_rate_hz: Its sample rate.
        target_dbfs: Root mean square of the sounding part, against full scale.
    """
    levels = _levels(samples, sample_rate_hz)
    loudest = levels.max(initial=0.0)
    if not loudest:
        return samples
    sounding = levels[levels > _ratio(_SOUNDING_DB) * loudest]
    loudness = float(np.sqrt(np.mean(sounding**2)))
    peak = float(np.abs(samples).max())
    gain = min(_ratio(target_dbfs) / loudness, _MAX_GAIN, _PEAK / peak)
    return samples * np.float32(gain)


def timing(phrases: Sequence[Spoken]) -> list[PhonemeTiming]:
    """When each phoneme of phrases spoken one after the other is heard."""
    found = []
    at_s = 0.0
    for phrase in phrases:
        for phone in phrase.phones:
            # Rounded ends, not rounded lengths: errors must not add up.
            start_s, at_s = round(at_s, 6), at_s + phone.duration_s
            found.append(PhonemeTiming(phone.symbol, start_s, round(at_s - start_s, 6)))
    return found


def _window(phones: Sequence[Phone], begin_s: float, end_s: float) -> list[Phone]:
    """The phones between two times, filled up with silence."""
    found: list[Phone] = []
    at_s = 0.0
    for phone in phones:
        start_s, at_s = at_s, at_s + phone.duration_s
        inside_s = min(at_s, end_s) - max(start_s, begin_s)
        if inside_s > 1e-9:
            found.append(Phone(phone.symbol, inside_s))
    missing_s = end_s - max(at_s, begin_s)
    if phones and missing_s > 1e-9:
        if found and found[-1].symbol == SILENCE:
            missing_s += found.pop().duration_s
        found.append(Phone(SILENCE, missing_s))
    return found


def _levels(samples: Samples, sample_rate_hz: int) -> Samples:
    """Root mean square of each whole frame, float32 `[frames]`."""
    frame = round(_FRAME_S * sample_rate_hz)
    whole = samples[: len(samples) // frame * frame].reshape(-1, frame)
    levels: Samples = np.sqrt(np.mean(whole**2, axis=1, dtype=np.float32))
    return levels


def _fade(samples: Samples, length: int) -> None:
    """Let a cut begin and end without a click, in place."""
    length = min(length, len(samples) // 2)
    ramp = np.linspace(0.0, 1.0, length, endpoint=False, dtype=np.float32)
    samples[:length] *= ramp
    samples[len(samples) - length :] *= ramp[::-1]


def _ratio(db: float) -> float:
    return float(10 ** (db / 20))
