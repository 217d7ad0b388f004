"""The command line: `tritalk`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tritalk_client.cli.arguments import parser
from tritalk_client.cli.commands import COMMANDS
from tritalk_client.cli.exit_codes import ExitCode, exit_code
from tritalk_client.errors import TritalkError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after `tritalk`, by default those of this process.

    Returns:
        The exit code, see `ExitCode`. An error is one line on stderr.
    """
    options = parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except TritalkError as error:
        return _fail(str(error), exit_code(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}", ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("stopped", ExitCode.STOPPED)


def _fail(message: str, code: ExitCode) -> ExitCode:
    print(f"tritalk: {' '.join(message.split())}", file=sys.stderr)
    return code
