from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.fakes import FakeFamily, metric_values
from tests.stores import FakeClock
from tritalk import environment, slo
from tritalk.metrics import Registry
from tritalk.store.memory import MemoryByKind
from tritalk.talker.answers import AnswerCache, StoredAnswer, StoredPiece
from tritalk.talker.manner import Manner
from tritalk.talker.settings import TalkerSettings
from tritalk_client import wire

HOUR_S = 3600.0
MANNER = replace(Manner.default(TalkerSettings()), avatar_id="anna")
ANSWER = StoredAnswer(
    reply="We open at nine. See you!",
    pieces=(
        StoredPiece(wire.Fragment(0, 0.0, 0.2, 5, 4800, True), b"\x00moov", "We open at nine."),
        StoredPiece(wire.Fragment(1, 0.2, 0.4, 10, 9600, True), b"\x00moof", ""),
        StoredPiece(wire.Fragment(2, 0.6, 0.4, 10, 9600, True), b"\x00moof2", "See you!"),
    ),
)


class Setting:
    """A cache, and what it counts."""

    def __init__(self, *, max_answer_bytes: int = 100_000) -> None:
        class Family(FakeFamily):
            series = {}

        self._family = Family
        self.clock = FakeClock()
        self.store = MemoryByKind({"answer": 1_000_000, "session": 1_000_000}, self.clock)
        self.cache = AnswerCache(
            self.store,
            ttl_s=HOUR_S,
            max_answer_bytes=max_answer_bytes,
            registry=Registry(Family, slo.default()),
        )

    def counted(self) -> tuple[float, float]:
        """Hits and misses."""
        hits = metric_values(self._family, "answer_cache_hits_total")
        misses = metric_values(self._family, "answer_cache_misses_total")
        return (sum(hits), sum(misses))


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_an_answer_is_found_with_its_media_when_the_same_is_asked_again(setting: Setting) -> None:
    cache = setting.cache
    assert cache.find(cache.key("When do you open?", MANNER)) is None

    assert cache.put(cache.key("When do you open?", MANNER), ANSWER)

    assert cache.find(cache.key("when do you  OPEN", MANNER)) == ANSWER
    assert cache.find(cache.key("When do you close?", MANNER)) is None
    assert setting.counted() == (1, 2)


def test_an_answer_is_kept_for_its_time(setting: Setting) -> None:
    cache = setting.cache
    key = cache.key("When do you open?", MANNER)
    cache.put(key, ANSWER)
    setting.clock.advance(HOUR_S - 1)
    assert cache.find(key) == ANSWER

    # being asked for does not make it younger
    setting.clock.advance(1)

    assert cache.find(key) is None


@pytest.mark.parametrize(
    "other",
    [
        {"avatar_id": "ben"},
        {"voice": "f1"},
        {"language": "zh"},
        {"speed": 1.5},
        {"system_prompt": "You are a pirate."},
        {"examples": (("Hello!", "Ahoy!"),)},
        {"sampling": wire.Sampling(temperature=1.0)},
        {"sampling": wire.Sampling(max_new_tokens=3)},
    ],
    ids=str,
)
def test_whatever_changes_an_answer_makes_it_another(other: dict[str, object]) -> None:
    assert AnswerCache.key("Why?", MANNER) != AnswerCache.key("Why?", replace(MANNER, **other))


def test_what_was_said_before_makes_it_another() -> None:
    # given a question whose answer depends on the conversation
    bob = [wire.ChatMessage("user", "I am Bob."), wire.ChatMessage("assistant", "Hello, Bob.")]
    eve = [wire.ChatMessage("user", "I am Eve."), wire.ChatMessage("assistant", "Hello, Eve.")]

    keys = {AnswerCache.key("Who am I?", MANNER, history) for history in ([], bob, eve)}

    assert len(keys) == 3


def test_what_only_changes_how_an_answer_is_listened_to_does_not_count() -> None:
    patient = replace(MANNER, lead_s=3.0, interrupt_ms=900, end_silence_ms=900, echo_guard=True)

    assert AnswerCache.key("Why?", patient) == AnswerCache.key("Why?", MANNER)


def test_a_key_is_the_same_in_every_process() -> None:
    # given another process, where Python's own hashes are others
    program = (
        "from tests.unit.test_talker_answers import MANNER, AnswerCache\n"
        "print(AnswerCache.key('Why?', MANNER))"
    )
    other = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=environment.repository_root(),
        env=environment.inherited() | {"PYTHONHASHSEED": "7"},
    )

    assert other.stdout.strip() == AnswerCache.key("Why?", MANNER)


def test_all_answers_to_a_question_are_forgotten_together(setting: Setting) -> None:
    cache = setting.cache
    for manner in (MANNER, replace(MANNER, voice="f1")):
        cache.put(cache.key("When do you open?", manner), ANSWER)
        cache.put(cache.key("Where are you?", manner), ANSWER)

    assert cache.forget("when do you open") == 2

    assert cache.find(cache.key("When do you open?", MANNER)) is None
    assert cache.find(cache.key("Where are you?", MANNER)) == ANSWER
    assert cache.forget("Who are you?") == 0


def test_all_answers_are_forgotten_and_nothing_else(setting: Setting) -> None:
    cache = setting.cache
    setting.store.put("session:1", b"x", ttl_s=60)
    cache.put(cache.key("When do you open?", MANNER), ANSWER)
    cache.put(cache.key("Where are you?", MANNER), ANSWER)

    assert cache.forget() == 2

    assert setting.store.get("session:1") == b"x"


def test_an_answer_that_is_too_large_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    setting = Setting(max_answer_bytes=1000)
    key = setting.cache.key("Tell me a story.", MANNER)
    piece = StoredPiece(wire.Fragment(0, 0.0, 0.2, 5, 4800, True), b"x" * 600, "Once")

    assert not setting.cache.put(key, StoredAnswer("Once", (piece, piece)))

    assert setting.cache.find(key) is None
    assert len(caplog.records) == 1


def test_a_damaged_answer_is_a_miss_and_is_gone(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    cache = setting.cache
    key = cache.key("When do you open?", MANNER)
    cache.put(key, ANSWER)
    whole = setting.store.get(key)
    assert whole is not None
    setting.store.put(key, whole[:-5], ttl_s=60)

    assert cache.find(key) is None

    assert setting.store.get(key) is None
    assert setting.counted() == (0, 1)
    assert "StoredAnswer" in caplog.records[0].message
