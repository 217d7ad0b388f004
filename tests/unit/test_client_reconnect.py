from __future__ import annotations

from tritalk_client.reconnect import Attempts, Reconnect


def test_the_waits_between_attempts_grow_up_to_a_limit() -> None:
    attempts = Attempts(Reconnect(tries=5, first_wait_s=0.2, longest_wait_s=0.5), lost_s=100.0)

    assert [attempts.wait_s(100.0) for _ in range(6)] == [0.0, 0.2, 0.4, 0.5, 0.5, None]


def test_no_attempt_begins_after_the_deadline() -> None:
    attempts = Attempts(Reconnect(tries=5, first_wait_s=1.0, deadline_s=10.0), lost_s=100.0)

    assert attempts.wait_s(100.0) == 0.0
    assert attempts.wait_s(108.9) == 1.0
    assert attempts.wait_s(108.9) is None
