"""The encoder: clips in, keys and values for the decoder's cross-attention out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime

from tritalk.asr.mel import HOP, SAMPLE_RATE_HZ, Mel, log_mel
from tritalk.asr.model_config import WhisperModel
from tritalk.audio import Samples
from tritalk.onnx_session import open_session

Values: TypeAlias = dict[str, Any]
"""ONNX Runtime's tensors (`OrtValue`) by their names in the graph."""

_TAIL_SAMPLES = SAMPLE_RATE_HZ // 5
"""Silence put behind a clip, so that its last word ends before the last frame does."""

_FRAMES_PER_POSITION = 2
_PADDING_RATIO = 1.5

_NEVER = -1e9
"""Added to a score, it takes all weight from a key."""


class Encoder:
    """Whisper's encoder at the length of the speech.

    Args:
        path: The encoder's ONNX file, see `export.whisper.encoder`.
        model: The model's sizes.
        threads: Of each operator.
    """

    def __init__(self, path: Path, model: WhisperModel, *, threads: int) -> None:
        self._session = open_session(path, threads=threads)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._model = model

    def __call__(self, clips: Sequence[Samples]) -> Values:
        """Encode clips.

        Args:
            clips: Samples at 16 kHz, each at most as long as the model's window.

        Returns:
            `cross_key_<i>` and `cross_value_<i>`, float32 `[clips, heads, keys, state / heads]`,
            and `cross_score_<i>`, float32 `[clips, 1, 1, keys]`.
        """
        groups = similar([len(clip) for clip in clips])
        parts = [self._encode([clips[index] for index in group]) for group in groups]
        if len(parts) == 1:
            return parts[0]
        order = np.argsort([index for group in groups for index in group])
        return {
            name: ort_value(_stacked([part[name].numpy() for part in parts], name)[order])
            for name in self._outputs
        }

    def _encode(self, clips: Sequence[Samples]) -> Values:
        spectrograms = [self._spectrogram(clip) for clip in clips]
        frames = [mel.shape[1] for mel in spectrograms]
        batch = np.zeros((len(clips), self._model.mels, max(frames)), dtype=np.float32)
        for row, mel in zip(batch, spectrograms, strict=True):
            row[:, : mel.shape[1]] = mel
        lengths = np.array(frames, dtype=np.int64) // _FRAMES_PER_POSITION
        inputs = {"mel": ort_value(batch), "lengths": ort_value(lengths)}
        results = self._session.run_with_ort_values(self._outputs, inputs)
        return dict(zip(self._outputs, results, strict=True))

    def _spectrogram(self, clip: Samples) -> Mel:
        position = HOP * _FRAMES_PER_POSITION
        positions = min(-(-(len(clip) + _TAIL_SAMPLES) // position), self._model.audio_context)
        return log_mel(np.pad(clip, (0, positions * position - len(clip))), mels=self._model.mels)


def _stacked(parts: Sequence[np.ndarray[Any, Any]], name: str) -> np.ndarray[Any, Any]:
    """Groups of clips as one, those of fewer keys filled up with keys that count for nothing."""
    # The keys are the last axis of what is added to their scores, the last but one elsewhere.
    axis, filling = (3, _NEVER) if name.startswith("cross_score") else (2, 0.0)
    most = max(part.shape[axis] for part in parts)
    return np.concatenate(
        [
            np.pad(
                part,
                [(0, most - part.shape[axis]) if index == axis else (0, 0) for index in range(4)],
                constant_values=filling,
            )
            for part in parts
        ]
    )


def ort_value(array: np.ndarray[Any, Any]) -> Any:
    """An array as a tensor of ONNX Runtime's."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def similar(lengths: Sequence[int], *, ratio: float = _PADDING_RATIO) -> list[list[int]]:
    """Group clips so that padding wastes little: the longest is at most `ratio` the shortest.

    Args:
        lengths: Of the clips, positive.
        ratio: Largest quotient of two lengths in a group.

    Returns:
        Groups of indices into `lengths`, each rising; every index is in exactly one.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and lengths[index] <= ratio * lengths[groups[-1][0]]:
            groups[-1].append(index)
        else:
            groups.append([index])
    return [sorted(group) for group in groups]
