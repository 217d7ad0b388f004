"""What is written of tritonserver's log, and what it says of a failure."""

from __future__ import annotations

import io

from tritalk.server.log import ServerLog, brief

NO_GPU = 'E1122 14:01:56.446920 18239 server.cc:241] "CudaDriverHelper has not been initialized."'
WARNING = 'W1122 14:01:57.000000 18239 model.cc:1] "slow"'
FAILED = (
    "E1122 14:01:56.934897 18239 model_lifecycle.cc:642] \"failed to load 'asr' version 1: "
    "Internal: ValueError: parameter beams: must be\\n1 or more\\n\\nAt:\\n  "
    '/models/asr/1/model.py(3): initialize\\n"'
)


def test_lines_of_the_start_are_held_back_until_it_is_done() -> None:
    written = io.StringIO()
    log = ServerLog(forward=written)

    log.read(f"{line}\n" for line in (NO_GPU, WARNING))
    before = written.getvalue()
    log.release()
    log.add(FAILED)

    assert before == ""
    assert written.getvalue().splitlines() == [WARNING, FAILED]


def test_everything_is_written_at_once_when_it_is_asked_for() -> None:
    written = io.StringIO()
    log = ServerLog(forward=written, everything=True)

    log.read(f"{line}\n" for line in (NO_GPU, WARNING))

    assert written.getvalue().splitlines() == [NO_GPU, WARNING]


def test_lines_are_kept_whether_written_or_not() -> None:
    log = ServerLog()
    log.read(f"{line}\n" for line in (NO_GPU, WARNING))

    assert log.lines() == (NO_GPU, WARNING)


def test_only_the_last_lines_are_kept() -> None:
    log = ServerLog()
    for number in range(5000):
        log.add(f"line {number}")

    assert len(log.lines()) == 2000
    assert log.lines()[-1] == "line 4999"


def test_errors_are_those_that_matter() -> None:
    log = ServerLog()
    for line in (NO_GPU, WARNING, FAILED):
        log.add(line)

    assert len(log.errors()) == 1
    assert log.error_about("asr") == (
        "failed to load 'asr' version 1: Internal: ValueError: parameter beams: must be 1 or more"
    )
    assert log.error_about("tts") is None


def test_an_error_is_told_without_traceback_and_wrapping() -> None:
    reason = "Internal: ValueError: parameter beams\n\nAt:\n  /models/asr/1/model.py(3): x\n"

    assert brief(reason) == "ValueError: parameter beams"
