"""The main job on real input: a spoken question in, a talking portrait out.

`python -m benchmarks.demo` starts the server and asks two recorded human questions: a cold turn,
and a warm one whose words no cache has seen. It writes `out/answer.mp4` and `out/demo.json`, and
prints how long each stage took against the objectives of slo.yaml.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import media, results
from benchmarks.scrape import Scrape, mean_between, scrape
from export import assets
from export.errors import WeightsError
from tritalk import slo
from tritalk.server import Server, ServerError, ServerOptions
from tritalk_client import Answer, Talker
from tritalk_client.errors import TritalkError

COLD_RECORDING = "F1_harvard_phrases.wav"
RECORDING = "M1_harvard_phrases.wav"

_WORDS = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.RemovePunctuation(),
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure of both turns, and the objective it is held against."""

    name: str
    unit: str
    cold: float | None
    warm: float | None
    objective: str = ""
    limit: str = ""
    ok: bool | None = None


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word errors per word of the reference, without case and punctuation."""
    return float(
        jiwer.wer(reference, hypothesis, reference_transform=_WORDS, hypothesis_transform=_WORDS)
    )


def stage_rows(cold: Answer, warm: Answer) -> list[Row]:
    """The stages on the critical path, as the server stamped them."""

    def between(answer: Answer, stage: str, before: str | None) -> float | None:
        at_ms = getattr(answer.stages_ms, stage)
        since_ms = getattr(answer.stages_ms, before) if before else 0.0
        return None if at_ms is None or since_ms is None else at_ms - since_ms

    rows = []
    for name, stage, before, objective, scale in (
        ("question to transcript", "transcript", None, "asr_latency", 1.0),
        ("transcript to first token", "first_token", "transcript", "llm_first_token", 1e3),
        ("first token to first clause", "first_clause", "first_token", "", 1.0),
        ("first clause to first audio", "first_audio", "first_clause", "", 1.0),
        ("first audio to first frame", "first_frame", "first_audio", "", 1.0),
        ("question to first spoken frame", "first_frame", None, "turn_latency", 1.0),
        ("question to last token", "last_token", None, "", 1.0),
        ("question to last frame", "total", None, "", 1.0),
    ):
        values = [between(answer, stage, before) for answer in (cold, warm)]
        rows.append(_row(name, "ms", values[0], values[1], objective, scale))
    return rows


def rate_rows(scrapes: Sequence[Scrape]) -> list[Row]:
    """What Triton's own metrics say of both turns; `scrapes` are before, between and after."""
    rows = []
    for name, metric, objective in (
        ("speech synthesis, real-time factor", "rtf_ratio", "tts_real_time_factor"),
        ("animation, frames per second", "face_animation_fps_actual", "animation_fps"),
    ):
        cold, warm = (
            mean_between(before, after, metric)
            for before, after in zip(scrapes[:-1], scrapes[1:], strict=True)
        )
        rows.append(_row(name, "", cold, warm, objective, 1.0))
    return rows


def _row(
    name: str, unit: str, cold: float | None, warm: float | None, objective: str, scale: float
) -> Row:
    """A row; `scale` converts the objective's unit to the row's."""
    if not objective:
        return Row(name, unit, cold, warm)
    promise = slo.default().objectives[objective]
    sign, bound = ("≤", promise.at_most) if promise.at_most is not None else ("≥", promise.at_least)
    assert bound is not None
    ok = None if warm is None else promise.met_by(warm / scale)
    return Row(name, unit, cold, warm, objective, f"{sign} {bound * scale:g}", ok)


def print_rows(console: Console, rows: Sequence[Row]) -> None:
    """Print the table of stages."""
    table = Table(title="Stages of a turn", title_justify="left")
    table.add_column("stage")
    for column in ("cold", "warm", "objective"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in rows:
        verdict = {None: "", True: "[green]ok[/]", False: "[red]missed[/]"}[row.ok]
        figures = ["–" if value is None else f"{value:.4g}" for value in (row.cold, row.warm)]
        unit = f" {row.unit}" if row.unit else ""
        table.add_row(row.name, *(f"{figure}{unit}" for figure in figures), row.limit, verdict)
    console.print(table)


def check_answer(talker: Talker, answer: Answer, path: Path) -> dict[str, Any]:
    """Look at the finished file with other eyes: its lengths, and its speech recognised again."""
    video = media.read(path)
    heard = talker.transcribe(video.samples, sample_rate_hz=video.sample_rate_hz)
    height, width = video.frames.shape[1:3]
    return {
        "reply_transcribed": heard.text,
        "reply_wer": round(word_error_rate(answer.reply, heard.text), 4),
        "video": str(path.relative_to(path.parents[1])),
        "video_size": [width, height],
        "video_s": round(video.video_s, 3),
        "audio_s": round(video.audio_s, 3),
        "fps": video.fps,
    }


def run(
    console: Console, portrait: Path, cold_recording: Path, recording: Path, text: str
) -> dict[str, Any]:
    """Start the server, run a cold and a warm turn, and return the results.

    Args:
        console: Where progress and the table go.
        portrait: An image of a face.
        cold_recording: The spoken question of the first turn.
        recording: The spoken question of the second turn, which is reported.
        text: What is said in it.
    """
    began_s = time.monotonic()
    console.print("Starting Triton …")
    options = ServerOptions(http_port=0, grpc_port=0, metrics_port=0)
    with Server(options) as server, Talker(server.grpc_url) as talker:
        startup_s = time.monotonic() - began_s
        console.print(f"Every model answers after {startup_s:.1f} s.")
        avatar = talker.register_avatar(portrait)
        scrapes = [scrape(server.metrics_url)]
        answers = []
        for name, question in (("cold", cold_recording), ("warm", recording)):
            console.print(f"Asking, {name}: {question.name}")
            answers.append(talker.ask(question, avatar=avatar).result())
            scrapes.append(scrape(server.metrics_url))
        cold, warm = answers
        path = warm.save(results.output_dir() / "answer.mp4")
        rows = stage_rows(cold, warm) + rate_rows(scrapes)
        checks = check_answer(talker, warm, path)
        memory_mib = {
            module: round(size / 2**20)
            for module, size in sorted(
                scrapes[-1].by_label("process_resident_memory_bytes", "module").items()
            )
        }
    transcript = warm.transcript.text if warm.transcript else ""
    console.print(f"Heard:    {transcript}")
    console.print(f"Answered: {warm.reply}")
    print_rows(console, rows)
    return {
        "transcript": transcript,
        "transcript_wer": round(word_error_rate(text, transcript), 4),
        "reply": warm.reply,
        "first_spoken_frame_ms": warm.stages_ms.first_frame,
        "first_spoken_frame_at_client_ms": warm.arrivals.first_spoken,
        "stages_ms": msgspec.to_builtins(warm.stages_ms),
        "cold_stages_ms": msgspec.to_builtins(cold.stages_ms),
        "objectives": [asdict(row) for row in rows if row.objective],
        "startup_s": round(startup_s, 2),
        "memory_mib": memory_mib,
        **checks,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code is 1 when the server or a stage failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument("--portrait", type=Path, help="another portrait")
    parser.add_argument("--question", type=Path, help="another recording")
    parser.add_argument("--text", help="what is said in the other recording")
    parsed = parser.parse_args(arguments)
    if (parsed.question is None) != (parsed.text is None):
        parser.error("--question and --text go together")
    console = Console(stderr=True)
    try:
        portrait = parsed.portrait or assets.path("astronaut")
        spoken = assets.recordings("harvard-phrases")
        if parsed.question is None:
            recording, text = spoken[RECORDING].path, spoken[RECORDING].text
        else:
            recording, text = parsed.question, parsed.text
        found = run(console, portrait, spoken[COLD_RECORDING].path, recording, text)
    except (TritalkError, ServerError, WeightsError) as error:
        console.print(f"[red]{error}[/]")
        return 1
    written = results.write("demo", found)
    console.print(
        f"Word errors: question {found['transcript_wer']:.1%}, "
        f"reply {found['reply_wer']:.1%} (its speech, recognised again)"
    )
    console.print(f"Wrote {found['video']} and {written.name}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
