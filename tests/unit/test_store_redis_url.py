from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest

from tests.fakes import FakeFamily, metric_values
from tritalk import slo
from tritalk.metrics import Registry
from tritalk.settings import SettingsError
from tritalk.store import open_store
from tritalk.store.redis_url import place_of

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://cache", "redis://cache:6379/0"),
        ("redis://cache:6380/3", "redis://cache:6380/3"),
        ("redis://cache/?db=3", "redis://cache:6379/3"),
        (f"redis://:{SECRET}@cache", "redis://cache:6379/0"),
        (f"redis://talker:{SECRET}%2F%40@cache:6379/1", "redis://cache:6379/1"),
        (f"rediss://{SECRET}@10.0.0.7", "rediss://10.0.0.7:6379/0"),
        ("redis://[::1]:7000/2", "redis://[::1]:7000/2"),
        (f"unix://:{SECRET}@/run/redis.sock?db=4", "unix:///run/redis.sock (database 4)"),
    ],
)
def test_a_url_says_where_redis_is_without_the_password(url: str, place: str) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("cache:6379", "does not begin with redis://"),
        ("http://cache", "does not begin with redis://"),
        ("redis://", "names no host"),
        ("redis://:6379", "names no host"),
        ("redis://ca che", "names no host"),
        ("redis://a..b", "not a host's name"),
        ("redis://[::1", "cannot be read"),
        ("redis://cache:port", "cannot be read"),
        ("redis://cache:99999", "cannot be read"),
        ("redis://cache/first", "database is not a number"),
        ("redis://cache/-1", "database is not a number"),
        ("redis://cache/1?db=1", "names its database twice"),
        ("redis://cache?socket_timeout=30", "option that is not known"),
        ("redis://cache?decode_responses=yes", "option that is not known"),
        ("rediss://cache?ssl_ca_certs=/nowhere/ca.pem", "file of its option ssl_ca_certs"),
        ("unix://run/redis.sock", "does not begin with /"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_with_the_form_it_must_have(
    url: str, problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem) as error:
        place_of(url)
    assert "redis://[user:password@]host[:port][/database]" in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}/x@cache:6379/0",
        f"redis://:{SECRET}#x@cache:6379/0",
        f"redis://:{SECRET}?x@cache:6379/0",
        f"redis://:x?{SECRET}@cache:6379/0",
        f"redis://:x/{SECRET}@cache:6379/0",
        f"redis://:[{SECRET}@cache:6379/0",
        f"redis://:{SECRET}@:6379/0",
        f"redis://cache:{SECRET}",
        f"{SECRET}",
    ],
)
def test_a_password_that_breaks_the_url_is_not_printed(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        open_store(url, limits_bytes={}, registry=Registry(FakeFamily, slo.default()))

    printed = "".join(traceback.format_exception(error.value))
    assert SECRET not in str(error.value)
    source_lines = [line for line in printed.splitlines() if SECRET in line]
    assert not source_lines


def test_a_ca_of_ones_own_can_be_named(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("")

    assert place_of(f"rediss://cache?ssl_ca_certs={ca}") == "rediss://cache:6379/0"


def test_without_a_url_everything_stays_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    class Family(FakeFamily):
        series = {}

    caplog.set_level(logging.DEBUG)

    store = open_store(
        "", limits_bytes={"session": 10_000}, registry=Registry(Family, slo.default())
    )

    assert store.put("session:1", b"x", ttl_s=10)
    assert store.get("session:1") == b"x"
    assert metric_values(Family, "store_degraded") == [0]
    assert not caplog.records
