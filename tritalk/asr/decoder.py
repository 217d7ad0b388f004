"""The decoder: greedy search over the keys and values of encoded speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tritalk.asr.encoder import Values, ort_value
from tritalk.asr.greedy import Logits, Rules, without_loop
from tritalk.asr.model_config import WhisperModel
from tritalk.onnx_session import open_session


@dataclass(frozen=True)
class Task:
    """What is asked of the decoder about one clip.

    Attributes:
        language: Code of the clip's language.
        limit: Most tokens of its transcript.
        settled: The tokens that the transcript begins with, whatever is heard.
        draft: The tokens that are expected to follow. They change nothing but the cost: as far as
            they are right, they are all looked at in one step.
    """

    language: str
    limit: int
    settled: tuple[int, ...] = ()
    draft: tuple[int, ...] = ()


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

    def __call__(self, cross: Values, tasks: Sequence[Task]) -> list[list[int]]:
        """Find the likeliest words.

        Args:
            cross: What the encoder made of the clips.
            tasks: One for each clip.

        Returns:
            The text tokens of each clip, the settled ones included.
        """
        transcripts = [_Transcript(task, self._model.end) for task in tasks]
        rows = np.arange(len(tasks))
        cross = dict(cross)
        picked, past, padding = self._begin(tasks, transcripts, cross)
        while True:
            running = np.flatnonzero([not transcripts[row].finished for row in rows])
            if not running.size:
                return [transcript.tokens for transcript in transcripts]
            # Rows that have ended go on idly until dropping them saves more than it costs.
            if 2 * running.size <= rows.size:
                rows, picked, padding = rows[running], picked[running], padding[running]
                past, cross = _rows(past, running), _rows(cross, running)
            logits, past = self._step(picked[:, None], padding, past, cross, scored=1)
            picked = self._rules.pick(logits[:, 0], first=False)
            for row, token in zip(rows, picked, strict=True):
                transcripts[row].add(int(token))

    def _begin(
        self, tasks: Sequence[Task], transcripts: Sequence[_Transcript], cross: Values
    ) -> tuple[_Tokens, Values, _Tokens]:
        """Read the prompts, and take from the drafts what is right.

        Returns:
            The next token of each row, the keys and values of those before it, and how many of
            these are padding.
        """
        prompts = [self._prompt(task) for task in tasks]
        longest = max(map(len, prompts))
        padding = np.array([longest - len(prompt) for prompt in prompts])
        tokens = np.full((len(prompts), longest), self._model.end, dtype=np.int64)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[longest - len(prompt) :] = prompt
        scored = 1 + max(len(task.draft) for task in tasks)
        logits, past = self._step(tokens, padding, self._nothing(len(tasks)), cross, scored=scored)
        picked = np.zeros(len(tasks), dtype=np.int64)
        wrong = np.zeros(len(tasks), dtype=np.int64)
        for row, (task, transcript) in enumerate(zip(tasks, transcripts, strict=True)):
            found = self._found(logits[row, scored - 1 - len(task.draft) :], task)
            right = 0
            while right < len(task.draft) and found[right] == task.draft[right]:
                right += 1
            for token in found[: right + 1]:
                transcript.add(int(token))
            picked[row], wrong[row] = found[right], len(task.draft) - right
        if wrong.any():
            padding, past = _without(past, padding, wrong)
        return picked, past, padding

    def _prompt(self, task: Task) -> list[int]:
        model = self._model
        language = model.languages[task.language]
        beginning = [model.start, language, model.transcribe, model.no_timestamps]
        return [*beginning, *task.settled, *task.draft]

    def _found(self, logits: Logits, task: Task) -> _Tokens:
        """The likeliest token after the settled ones, and after each of the draft."""
        found = self._rules.pick(logits, first=False)
        if not task.settled:
            found[:1] = self._rules.pick(logits[:1], first=True)
        return found

    def _nothing(self, batch: int) -> Values:
        model = self._model
        empty = np.zeros((batch, model.heads, 0, model.state // model.heads), dtype=np.float32)
        return {
            f"past_{kind}_{layer}": ort_value(empty)
            for kind in ("key", "value")
            for layer in range(model.text_layers)
        }

    def _step(
        self, tokens: _Tokens, padding: _Tokens, past: Values, cross: Values, *, scored: int
    ) -> tuple[Logits, Values]:
        inputs = {
            "tokens": ort_value(tokens),
            "padding": ort_value(padding),
            "scored": ort_value(np.array([scored])),
            **past,
            **cross,
        }
        values = self._session.run_with_ort_values(self._outputs, inputs)
        results = dict(zip(self._outputs, values, strict=True))
        logits: Logits = results.pop("logits").numpy()
        return logits, {name.replace("present", "past"): value for name, value in results.items()}


class _Transcript:
    """The tokens of one clip until it ends: by itself, at its limit, or in a loop."""

    def __init__(self, task: Task, end: int) -> None:
        self.tokens: list[int] = list(task.settled)
        self.finished = False
        self._settled = len(task.settled)
        self._limit = task.limit
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
            # What is settled stays, though it be a round of the loop.
            self.tokens = self.tokens[: max(len(shortened), self._settled)]
        self.finished = shortened is not None or len(self.tokens) >= self._limit


def _rows(values: Values, rows: npt.NDArray[np.intp]) -> Values:
    return {name: ort_value(value.numpy()[rows]) for name, value in values.items()}


def _without(past: Values, padding: _Tokens, wrong: _Tokens) -> tuple[_Tokens, Values]:
    """Drop the last tokens of each row, as many as are wrong, and fill up in front.

    Returns:
        The padding then, and the keys and values.
    """
    fewest = int(wrong.min())
    shifts = wrong - fewest

    def kept(value: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        shorter = value[:, :, : value.shape[2] - fewest].copy()
        for row in np.flatnonzero(shifts):
            shorter[row] = np.roll(shorter[row], shifts[row], axis=1)
        return shorter

    values = {name: ort_value(kept(value.numpy())) for name, value in past.items()}
    return padding + shifts, values


_Tokens = npt.NDArray[np.int64]
