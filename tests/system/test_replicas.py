"""A session outlives the server it was held on, where there is a Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scrape import scrape
from export import assets
from tests.redis_server import RedisServer
from tritalk import environment
from tritalk.server import Server, ServerOptions
from tritalk_client import Talker

# All that a turn takes whose words are given.
MODELS = ("asr", "avatar", "tts", "wav2lip", "animate", "talker")
WORDS = "The boats leave at noon."


def replica() -> Server:
    return Server(ServerOptions(models=MODELS, http_port=0, grpc_port=0, metrics_port=0))


def test_a_session_is_gone_on_with_on_another_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given two servers that share a Redis with a password, and their portraits
    monkeypatch.setenv(environment.STATE_VARIABLE, str(tmp_path / "state"))
    with RedisServer(tmp_path, password="correct horse") as redis:
        monkeypatch.setenv(environment.REDIS_VARIABLE, redis.url)

        # when a conversation is held on the one, which then is gone
        with replica() as server, Talker(server.grpc_url) as talker:
            avatar = talker.register_avatar(assets.path("astronaut"))
            with talker.conversation(avatar, speed=1.5, language="de") as conversation:
                conversation.say(WORDS)
                assert conversation.turn().result().outcome == "answered"
                session_id = conversation.session_id
            assert scrape(server.metrics_url).value("store_degraded") == 0

        # then it goes on with on the other: what was said, and how
        with replica() as server, Talker(server.grpc_url) as talker:
            with talker.conversation(avatar, session_id=session_id) as conversation:
                started = conversation.started
                assert (started.session_id, started.resumed) == (session_id, True)
                assert (started.history, started.language) == (1, "de")

                # and goes on in memory when Redis is gone, too
                redis.stop()
                conversation.say(WORDS)
                assert conversation.turn().result().outcome == "answered"
            assert scrape(server.metrics_url).value("store_degraded") == 1
