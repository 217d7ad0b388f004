"""What the exit code of `tritalk` means."""

from __future__ import annotations

from enum import IntEnum

from tritalk_client.errors import ErrorCode, TritalkError


class ExitCode(IntEnum):
    """Exit codes of `tritalk`."""

    OK = 0
    SERVER_ERROR = 1
    """The server failed; trying again is unlikely to help."""
    BAD_INPUT = 2
    """The command line, a file or the request must change."""
    UNAVAILABLE = 3
    """No server, a model that is not ready, a busy or stalled server, a deadline: try again."""
    STOPPED = 130
    """Ctrl-C."""


_SERVER_ERRORS = frozenset({ErrorCode.INTERNAL, ErrorCode.CANCELLED})


def exit_code(error: TritalkError) -> ExitCode:
    """The exit code of an error."""
    if error.retryable:
        return ExitCode.UNAVAILABLE
    if error.code in _SERVER_ERRORS:
        return ExitCode.SERVER_ERROR
    return ExitCode.BAD_INPUT
