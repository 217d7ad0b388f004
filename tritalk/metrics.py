"""Every metric of tritalk, declared once: name, kind, help, labels; buckets come from slo.yaml.

The metrics live on Triton's own /metrics. A model creates its `Registry` with the family class of
Triton's Python backend; outside Triton (tests, in-process benchmarks) any class of the same shape
serves.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import psutil

from tritalk.slo import Slo

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Metric:
    """The declaration of one metric family."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


ASR_LATENCY = Metric(
    "asr_end_to_end_latency_ms",
    "histogram",
    "Milliseconds from the last audio chunk of an utterance to its final transcript",
)
ASR_PARTIAL_LATENCY = Metric(
    "asr_partial_latency_ms",
    "histogram",
    "Milliseconds from the last audio chunk that a partial transcript covers to the transcript",
)
AUDIO_BUFFER = Metric(
    "audio_buffer_duration_seconds", "gauge", "Seconds of audio held for utterances not yet ended"
)
MODEL_LOAD = Metric(
    "model_load_time_seconds", "gauge", "Seconds that a model took to load", ("model",)
)
LLM_DURATION = Metric(
    "llm_inference_duration_seconds",
    "histogram",
    "Seconds from a language model request to its first token, and to its last",
    ("phase", "model"),
)
LLM_TIMEOUTS = Metric(
    "llm_consecutive_timeouts",
    "gauge",
    "Language model requests in a row that ran into their deadline",
)
KV_CACHE = Metric("kv_cache_size_tokens", "gauge", "Tokens whose keys and values are kept")
GPU_MEMORY = Metric(
    "gpu_memory_used_bytes", "gauge", "GPU memory allocated by a module's process", ("module",)
)
PROCESS_MEMORY = Metric(
    "process_resident_memory_bytes", "gauge", "Resident memory of a module's process", ("module",)
)
TTS_DURATION = Metric("tts_synthesis_duration_seconds", "histogram", "Seconds to synthesise a text")
TTS_RTF = Metric("rtf_ratio", "histogram", "Seconds of synthesis per second of speech")
OUTPUT_SAMPLE_RATE = Metric(
    "output_audio_sample_rate", "gauge", "Sample rate of the synthesised speech in hertz"
)
ANIMATION_FPS = Metric(
    "face_animation_fps_actual", "histogram", "Frames animated and encoded per second of work"
)
VIDEO_HEIGHT = Metric("video_resolution_height", "gauge", "Lines of the video last produced")
MEL_TIME = Metric(
    "mel_spectrogram_extraction_time_ms",
    "histogram",
    "Milliseconds to compute the mel spectrogram of a speech segment",
)
CPU_USAGE = Metric(
    "system_cpu_usage_percent", "gauge", "CPU use of the whole machine, 100 is all cores"
)
TURN_LATENCY = Metric(
    "turn_latency_ms",
    "histogram",
    "Milliseconds that each stage adds until the first spoken frame; total is their sum",
    ("stage",),
)
TURN_INTERRUPT = Metric(
    "turn_interrupt_latency_ms",
    "histogram",
    "Milliseconds from an interruption to the end of the media",
)
ACTIVE_SESSIONS = Metric("active_sessions", "gauge", "Conversations that are open")
SPECULATIONS = Metric(
    "speculations_total",
    "counter",
    "Answers begun before the end of the question was certain, by what became of them",
    ("outcome",),
)
ANSWER_CACHE_HITS = Metric(
    "answer_cache_hits_total", "counter", "Questions answered from the cache of answers"
)
ANSWER_CACHE_MISSES = Metric(
    "answer_cache_misses_total", "counter", "Questions that the cache of answers could not answer"
)
STORE_DEGRADED = Metric(
    "store_degraded",
    "gauge",
    "Whether sessions and cached answers are kept in memory since Redis cannot be reached",
)
TURNS = Metric("turns_total", "counter", "Turns by their outcome", ("outcome",))


class Instrument(Protocol):
    """One time series, as Triton's Python backend offers it."""

    def increment(self, value: float) -> None:
        """Add to a counter or a gauge."""

    def set(self, value: float) -> None:
        """Set a gauge."""

    def observe(self, value: float) -> None:
        """Add an observation to a histogram."""


class Registry:
    """Creates the metric families of a model and hands out their time series.

    Args:
        family_class: `pb_utils.MetricFamily`, or a class of the same shape.
        slo: The objectives; they hold the histogram buckets.
    """

    def __init__(self, family_class: Any, slo: Slo) -> None:
        self._family_class = family_class
        self._slo = slo
        self._lock = threading.Lock()
        # Triton drops a family whose object is gone, so every one is kept here.
        self._families: dict[str, Any] = {}
        self._series: dict[tuple[str, tuple[str, ...]], _OneAtATime] = {}
        self._closed = False

    def __call__(self, metric: Metric, *values: str) -> Instrument:
        """The time series of a metric with these label values, made at first use.

        After `close()` it is one that goes nowhere.
        """
        if len(values) != len(metric.labels):
            raise TypeError(f"{metric.name} takes the labels {metric.labels}, got {values}")
        with self._lock:
            key = (metric.name, values)
            if key not in self._series:
                self._series[key] = self._create(metric, values)
            return self._series[key]

    def close(self) -> None:
        """Drop every time series and family; updates from here on do nothing.

        A model calls it in `finalize()`: the process that outlives the shared memory of its metrics
        crashes when it drops them.
        """
        with self._lock:
            self._closed = True
            # Triton refuses to delete a family that still has a series.
            for series in self._series.values():
                series.drop()
            self._series.clear()
            self._families.clear()

    def _create(self, metric: Metric, values: tuple[str, ...]) -> _OneAtATime:
        if self._closed:
            return _OneAtATime(None, self._lock)
        if metric.name not in self._families:
            self._families[metric.name] = self._family_class(
                name=metric.name,
                description=metric.help,
                kind=getattr(self._family_class, metric.kind.upper()),
            )
        options: dict[str, Any] = {"labels": dict(zip(metric.labels, values, strict=True))}
        if metric.kind == "histogram":
            options["buckets"] = list(self._slo.buckets[metric.name])
        return _OneAtATime(self._families[metric.name].Metric(**options), self._lock)


class _OneAtATime:
    """A time series whose updates wait for one another, and do nothing once it is dropped.

    Triton 24.10 crashes, the whole server with all its models, when threads of one Python model
    update metrics at the same time.

    Args:
        series: Triton's object, which nothing else may hold; None is a series dropped already.
        lock: The lock of all series of a registry.
    """

    def __init__(self, series: Instrument | None, lock: threading.Lock) -> None:
        self._series = series
        self._lock = lock

    def drop(self) -> None:
        """Let go of Triton's object; the caller holds the lock."""
        self._series = None

    def increment(self, value: float) -> None:
        with self._lock:
            if self._series is not None:
                self._series.increment(value)

    def set(self, value: float) -> None:
        with self._lock:
            if self._series is not None:
                self._series.set(value)

    def observe(self, value: float) -> None:
        with self._lock:
            if self._series is not None:
                self._series.observe(value)


class ProcessMonitor:
    """Keeps a module's memory gauge fresh until it is stopped.

    Args:
        registry: Where the gauges live.
        module: The label of this process: the model's name.
        machine: Whether this process also reports the CPU use of the machine.
        interval_s: Seconds between two readings.
    """

    def __init__(
        self, registry: Registry, module: str, *, machine: bool = False, interval_s: float = 5.0
    ) -> None:
        self._memory = registry(PROCESS_MEMORY, module)
        self._cpu = registry(CPU_USAGE) if machine else None
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process-monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the readings."""
        self._stopped.set()
        self._thread.join(timeout=self._interval_s)

    def _run(self) -> None:
        process = psutil.Process()
        while True:
            self._memory.set(process.memory_info().rss)
            if self._cpu is not None:
                self._cpu.set(psutil.cpu_percent())
            if self._stopped.wait(self._interval_s):
                return
