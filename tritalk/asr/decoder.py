"""The decoder: greedy search over the keys and values of encoded speech."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tritalk.asr.encoder import Values, ort_value
from tritalk.asr.greedy import Logits, Rules, without_loop
from tritalk.asr.model_config import WhisperModel
from tritalk.onnx_session import open_session


class Decoder:
    """Whisper's decoder.

    Args:
        path: The decoder's ONNX file, see `export.whisper.decoder`.
        model: The model's sizes and tokens.
        threads: Of each operator.
    """

    def __init__(self, path: Path, model: WhisperModel, *, threads: int) -> None:
        self._session = open_session(path, threads=threads)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._model = model
        self._rules = Rules(model)

    def __call__(
        self, cross: Values, *, languages: Sequence[str], limits: Sequence[int]
    ) -> list[list[int]]:
        """Find the likeliest words.

        Args:
            cross: What the encoder made of the clips.
            languages: Code of each clip's language.
            limits: Most tokens of each clip's transcript.

        Returns:
            The text tokens of each clip.
        """
        model = self._model
        transcripts = [_Transcript(limit, model.end) for limit in limits]
        rows = np.arange(len(limits))
        cross = dict(cross)
        past = self._nothing(len(limits))
        tokens = np.array(
            [
                [model.start, model.languages[code], model.transcribe, model.no_timestamps]
                for code in languages
            ],
            dtype=np.int64,
        )
        while True:
            logits, past = self._step(tokens, past, cross)
            picked = self._rules.pick(logits, first=tokens.shape[1] > 1)
            for row, token in zip(rows, picked, strict=True):
                transcripts[row].add(int(token))
            running = np.flatnonzero([not transcripts[row].finished for row in rows])
            if not running.size:
                return [transcript.tokens for transcript in transcripts]
            # Rows that have ended go on idly until dropping them saves more than it costs.
            if 2 * running.size <= rows.size:
                rows, picked = rows[running], picked[running]
                past, cross = _rows(past, running), _rows(cross, running)
            tokens = picked[:, None]

    def _nothing(self, batch: int) -> Values:
        model = self._model
        empty = np.zeros((batch, model.heads, 0, model.state // model.heads), dtype=np.float32)
        return {
            f"past_{kind}_{layer}": ort_value(empty)
            for kind in ("key", "value")
            for layer in range(model.text_layers)
        }

    def _step(
        self, tokens: npt.NDArray[np.int64], past: Values, cross: Values
    ) -> tuple[Logits, Values]:
        inputs = {"tokens": ort_value(tokens), **past, **cross}
        values = self._session.run_with_ort_values(self._outputs, inputs)
        results = dict(zip(self._outputs, values, strict=True))
        logits: Logits = results.pop("logits").numpy()
        return logits, {name.replace("present", "past"): value for name, value in results.items()}


class _Transcript:
    """The tokens of one clip until it ends: by itself, at its limit, or in a loop."""

    def __init__(self, limit: int, end: int) -> None:
        self.tokens: list[int] = []
        self.finished = False
        self._limit = limit
        self._end = end

    def add(self, token: int) -> None:
        if self.finished:
            return
        if token == self._end:
            self.finished = True
            return
        self.tokens.append(token)
        shortened = without_loop(self.tokens)
        if shortened is not None:
            self.tokens = list(shortened)
        self.finished = shortened is not None or len(self.tokens) >= self._limit


def _rows(values: Values, rows: npt.NDArray[np.intp]) -> Values:
    return {name: ort_value(value.numpy()[rows]) for name, value in values.items()}
