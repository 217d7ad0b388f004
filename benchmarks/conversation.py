"""Conversations at the speed of speech: how soon they are answered, interrupted, how many at once.

`python -m benchmarks.bench --only conversation` serves the model repository and lets people talk
to it: recorded human questions, an open microphone each. What is compared with the floor is
measured in the same run, in turns, since the machine may be shared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import psutil
from rich.console import Console

from benchmarks.floor import Floor, Steps
from benchmarks.measures import Measure, reporter
from benchmarks.people import Person, Recording, Seen
from benchmarks.scrape import mean_between, quantile_between, scrape
from export import assets
from tritalk import slo
from tritalk.server import Server, ServerOptions
from tritalk_client import Media, Talker, TurnCompleted
from tritalk_client.wire import AvatarInfo

TURNS = 6
_INTERRUPT_S = 0.3
_THINK_S = 0.6
_STORY = "Tell me a long story about a dog and a boat on the sea."
_STAGES = ("llm", "tts", "animate", "wav2lip")
_FREE_AFTER_S = 0.2
_WATCH_S = 0.6


@dataclass(frozen=True)
class Crowd:
    """What several people saw who talked at the same time."""

    turns: Sequence[Sequence[Seen]]
    failures: Sequence[str]

    @property
    def all_turns(self) -> list[Seen]:
        """The turns of all of them."""
        return [seen for turns in self.turns for seen in turns]

    @property
    def first_spoken_ms(self) -> list[float]:
        """Of each turn that was answered, from the end of speech to the first spoken fragment."""
        return [ms for seen in self.all_turns if (ms := seen.first_spoken_ms) is not None]

    def people_within(self, first_spoken_ms: float) -> int:
        """How many people had every one of their turns answered within so many milliseconds."""
        return sum(
            all((seen.first_spoken_ms or float("inf")) <= first_spoken_ms for seen in turns)
            for turns in self.turns
        )

    @property
    def unfairness(self) -> float:
        """The mean wait of the person who waited longest, against the mean of all."""
        means = [
            statistics.mean(waits)
            for turns in self.turns
            if (waits := [ms for seen in turns if (ms := seen.first_spoken_ms) is not None])
        ]
        return max(means) / statistics.mean(means) if len(means) > 1 else float("inf")

    @property
    def stalled_ratio(self) -> float:
        """Seconds in which a player stood still, of the seconds of media."""
        media_s = sum(seen.media_s for seen in self.all_turns)
        return sum(seen.stalled_s for seen in self.all_turns) / media_s


def talk(
    talker: Talker, avatar: AvatarInfo, recordings: Sequence[Recording], *, people: int, turns: int
) -> Crowd:
    """Let people ask questions at the same time, each at the speed of speech."""
    failures: list[str] = []

    def one(number: int) -> list[Seen]:
        # They do not begin in the same moment, as people do not.
        time.sleep(number * 0.7)
        seen = []
        with Person(talker, avatar) as person:
            for turn in range(turns):
                seen.append(person.ask(recordings[(number + turn) % len(recordings)]))
                time.sleep(_THINK_S)
            failures.extend(person.failures)
        return seen

    with ThreadPoolExecutor(people) as pool:
        return Crowd(list(pool.map(one, range(people))), failures)


def barge_in(
    talker: Talker, avatar: AvatarInfo, recordings: Sequence[Recording], *, times: int
) -> list[Seen]:
    """Interrupt answers by speaking into them."""
    found = []
    with Person(talker, avatar) as person:
        for number in range(times):
            person.type(_STORY)
            recording = recordings[number % len(recordings)]
            found.append(person.barge_in(recording, after_s=1.0, threshold_s=_INTERRUPT_S))
            # What was said into it is a question, too.
            for event in person.events():
                if isinstance(event, TurnCompleted):
                    break
            time.sleep(_THINK_S)
    return found


def cpu_after_interruption(
    server: Server, talker: Talker, avatar: AvatarInfo, *, times: int
) -> list[float]:
    """Shares of a core that the cancelled stages use from 200 ms after interruptions on."""
    stubs = [
        process
        for process in server.processes()
        if any(f"/{stage}/" in part for part in process.cmdline() for stage in _STAGES)
    ]
    assert len(stubs) == len(_STAGES), "not every stage has a process of its own"
    shares = []
    with Person(talker, avatar) as person:
        for _ in range(times):
            person.type(_STORY)
            interrupted = False
            for event in person.events():
                if isinstance(event, Media) and not interrupted:
                    person.interrupt()
                    interrupted = True
                if isinstance(event, TurnCompleted):
                    break
            time.sleep(_FREE_AFTER_S)
            before = _cpu_s(stubs)
            time.sleep(_WATCH_S)
            shares.append((_cpu_s(stubs) - before) / _WATCH_S)
    return shares


def cached_answers(talker: Talker, avatar: AvatarInfo, *, times: int) -> list[float]:
    """Milliseconds from a question that was asked before to the first fragment, at the server."""
    question = "What is the largest animal in the sea?"
    waits = []
    for _ in range(times + 1):
        with talker.conversation(avatar) as conversation:
            conversation.ask(text=question)
            for event in conversation:
                if isinstance(event, Media) and event.spoken:
                    waits.append(event.stages_ms.first_frame or float("inf"))
                    break
                if isinstance(event, TurnCompleted):
                    break
            if len(waits) == 1:
                # The first is not there yet; it is kept when it has been played.
                conversation.turn().result()
    return waits[1:]


def idle_cost(server: Server, talker: Talker, avatar: AvatarInfo, *, sessions: int) -> float:
    """Share of a core that open conversations cost in which nobody says anything."""
    watched_s = 5.0
    processes = server.processes()

    def rest() -> float:
        before = _cpu_s(processes)
        time.sleep(watched_s)
        return (_cpu_s(processes) - before) / watched_s

    time.sleep(1.0)
    empty = rest()
    conversations = [talker.conversation(avatar) for _ in range(sessions)]
    try:
        for conversation in conversations:
            conversation.open()
        time.sleep(3.0)
        return rest() - empty
    finally:
        for conversation in conversations:
            conversation.close()


def measure(console: Console) -> dict[str, Measure]:
    """Serve, talk, and return the measures by their names."""
    spoken = assets.recordings("harvard-phrases")
    recordings = [phrase for said in spoken.values() for phrase in Recording.phrases(said.path)]
    options = ServerOptions(http_port=0, grpc_port=0, metrics_port=0)
    found: dict[str, Measure] = {}
    with Server(options) as server, Talker(server.grpc_url) as talker:
        avatar = talker.register_avatar(assets.path("astronaut"))
        say = reporter(console, found)
        talk(talker, avatar, recordings, people=1, turns=2)

        floor_s, alone = _against_floor(talker, avatar, recordings)
        waits = alone.first_spoken_ms
        p50 = statistics.median(waits)
        say(
            turn_overhead_ratio=Measure(p50, "ms", baseline=1000 * floor_s, goal=1.3),
            turn_first_frame_p50_ms=Measure(
                statistics.median(
                    (seen.first_spoken_ms or float("inf")) - seen.endpoint_ms
                    for seen in alone.all_turns
                ),
                "ms",
                goal=700,
            ),
        )

        interruptions = barge_in(talker, avatar, recordings, times=8)
        ends_ms = [
            1000 * (seen.interrupted_s - seen.asked_s) if seen.interrupted_s else float("inf")
            for seen in interruptions
        ]
        say(barge_in_p95_ms=Measure(float(np.quantile(ends_ms, 0.95)), "ms", goal=100))
        shares = cpu_after_interruption(server, talker, avatar, times=4)
        say(cancelled_cpu_share=Measure(statistics.median(shares), "cores", goal=0.1))
        say(
            idle_sessions_cpu=Measure(
                idle_cost(server, talker, avatar, sessions=16), "cores", goal=0.01
            )
        )

        hits_ms = cached_answers(talker, avatar, times=10)
        say(cached_answer_p95_ms=Measure(float(np.quantile(hits_ms, 0.95)), "ms", goal=50))

        before = scrape(server.metrics_url)
        four = talk(talker, avatar, recordings, people=4, turns=4)
        after = scrape(server.metrics_url)
        partial_ms = quantile_between(before, after, "asr_partial_latency_ms", 0.95)
        objective_ms = slo.default().objectives["turn_latency"].at_most or 0.0
        say(
            partial_p95_ms=Measure(partial_ms or float("inf"), "ms", goal=300),
            sessions_within_objectives=Measure(
                four.people_within(objective_ms), "sessions", goal=4, at_least=True
            ),
            four_sessions_p95_ms=Measure(
                float(np.quantile(four.first_spoken_ms, 0.95)), "ms", goal=objective_ms
            ),
            four_sessions_fps=Measure(
                mean_between(before, after, "face_animation_fps_actual") or 0.0,
                "frames/s of work",
                goal=slo.default().objectives["animation_fps"].at_least,
                at_least=True,
            ),
            four_sessions_stalled=Measure(four.stalled_ratio, "of media", goal=0.02),
            four_sessions_failures=Measure(len(four.failures), "failures", goal=0),
        )
        eight = talk(talker, avatar, recordings, people=8, turns=3)
        bad = len(eight.failures) + sum(seen.outcome != "answered" for seen in eight.all_turns)
        say(
            eight_sessions_failures=Measure(bad, "turns", goal=0),
            eight_sessions_unfairness=Measure(eight.unfairness, "worst / mean", goal=1.5),
            eight_sessions_p50_ms=Measure(statistics.median(eight.first_spoken_ms), "ms"),
        )
    return found


def _against_floor(
    talker: Talker, avatar: AvatarInfo, recordings: Sequence[Recording]
) -> tuple[float, Crowd]:
    """Seconds of the floor, silence included, and turns served in between."""
    floor = Floor(avatar.avatar_id)
    try:
        # Each engine's first use, and the language model's reading of its part.
        floor.first_fragment(recordings[0].pcm)
        steps: list[Steps] = []
        turns: list[Sequence[Seen]] = []
        failures: list[str] = []
        for number in range(TURNS // 2):
            some = [recordings[(number + shift) % len(recordings)] for shift in range(2)]
            steps += [floor.first_fragment(recording.pcm) for recording in some]
            crowd = talk(talker, avatar, some, people=1, turns=2)
            turns += crowd.turns
            failures += crowd.failures
    finally:
        floor.close()
    steps_s = statistics.median(step.total for step in steps)
    return floor.end_silence_s + steps_s, Crowd(turns, failures)


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    return sum(
        times.user + times.system for times in (process.cpu_times() for process in processes)
    )
