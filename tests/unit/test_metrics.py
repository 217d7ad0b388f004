from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.fakes import FakeFamily, metric_values
from tritalk import metrics, slo
from tritalk.metrics import ProcessMonitor, Registry


@pytest.fixture
def family() -> type[FakeFamily]:
    class Family(FakeFamily):
        series = {}

    return Family


def test_a_time_series_is_made_once_and_kept(family: type[FakeFamily]) -> None:
    registry = Registry(family, slo.default())

    registry(metrics.TURNS, "answered").increment(1)
    registry(metrics.TURNS, "answered").increment(1)
    registry(metrics.TURNS, "failed").increment(1)

    assert metric_values(family, "turns_total", outcome="answered") == [2]
    assert metric_values(family, "turns_total", outcome="failed") == [1]


def test_the_labels_must_be_those_that_were_declared(family: type[FakeFamily]) -> None:
    with pytest.raises(TypeError, match="outcome"):
        Registry(family, slo.default())(metrics.TURNS)


def test_the_monitor_reports_this_process_until_it_is_stopped(family: type[FakeFamily]) -> None:
    monitor = ProcessMonitor(Registry(family, slo.default()), "asr", interval_s=0.01)
    deadline = time.monotonic() + 10
    while not metric_values(family, "process_resident_memory_bytes", module="asr"):
        assert time.monotonic() < deadline
        time.sleep(0.01)

    monitor.stop()

    reported = metric_values(family, "process_resident_memory_bytes", module="asr")[0]
    assert reported == pytest.approx(psutil.Process(os.getpid()).memory_info().rss, rel=0.5)
    assert not monitor._thread.is_alive()


def test_threads_update_one_at_a_time(family: type[FakeFamily]) -> None:
    # given a family whose updates must not overlap, as Triton's must not
    inside = threading.Lock()
    overlaps: list[str] = []

    class Touchy:
        def observe(self, value: float) -> None:
            if not inside.acquire(blocking=False):
                overlaps.append("overlap")
                return
            time.sleep(0.001)
            inside.release()

        set = increment = observe

    class TouchyFamily(family):  # type: ignore[misc, valid-type]
        def Metric(self, **_options: object) -> Touchy:  # noqa: N802
            return Touchy()

    registry = metrics.Registry(TouchyFamily, slo.default())
    series = [registry(metrics.LLM_TIMEOUTS), registry(metrics.TTS_RTF)]

    # when many threads update several series
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: series[n % 2].observe(n), range(64)))

    # then no two of them were inside at once
    assert not overlaps


def test_a_closed_registry_keeps_nothing_of_tritons_alive(family: type[FakeFamily]) -> None:
    # given series that their users hold on to, and everything of Triton's behind them
    alive: weakref.WeakSet[object] = weakref.WeakSet()

    class Series:
        def __init__(self) -> None:
            alive.add(self)
            self.updates: list[float] = []

        def observe(self, value: float) -> None:
            self.updates.append(value)

        set = increment = observe

    class WatchedFamily(family):  # type: ignore[misc, valid-type]
        def __init__(self, **options: object) -> None:
            super().__init__(**options)
            alive.add(self)

        def Metric(self, **_options: object) -> Series:  # noqa: N802
            return Series()

    registry = Registry(WatchedFamily, slo.default())
    held = [registry(metrics.TTS_RTF), registry(metrics.TURNS, "answered")]
    for series in held:
        series.increment(1)
    assert len(alive) == 4

    # when the registry is closed, twice
    registry.close()
    registry.close()
    gc.collect()

    # then nothing of Triton's is left, although the users still hold their series
    assert len(held) == 2
    assert not alive


def test_updates_after_the_end_go_nowhere(family: type[FakeFamily]) -> None:
    registry = Registry(family, slo.default())
    turns = registry(metrics.TURNS, "answered")
    turns.increment(1)
    registry.close()

    turns.increment(1)
    registry(metrics.TURNS, "answered").increment(1)
    registry(metrics.TTS_RTF).observe(0.1)

    assert metric_values(family, "turns_total", outcome="answered") == [1]
    assert metric_values(family, "rtf_ratio") == []
