"""Which Redis a URL means; what is wrong with it is said without its password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from tritalk.settings import SettingsError

_DEFAULT_PORT = 6379
# Others of redis-py's would change time-outs, retries and the kind of the answers.
_OPTIONS = {
    "redis": frozenset({"db"}),
    "rediss": frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}),
    "unix": frozenset({"db"}),
}
_FORM = (
    "write redis://[user:password@]host[:port][/database], rediss://… for TLS "
    "(?ssl_ca_certs=FILE names a CA of your own), or unix:///path/to/socket[?db=0]; in a user or a "
    "password, write / ? # @ : % as %2F %3F %23 %40 %3A %25"
)


def place_of(url: str) -> str:
    """Check the URL of a Redis server and say where that is, without user, password and options.

    Raises:
        SettingsError: It is not one; the message never holds a part of it, since any part may be
            one of a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORT
    except ValueError:
        # Its message would quote what was taken for a port, and so perhaps a password.
        raise _wrong("its host or port cannot be read") from None
    if parts.scheme not in _OPTIONS:
        raise _wrong("it does not begin with redis://, rediss:// or unix://")
    options = parse_qs(parts.query, keep_blank_values=True)
    if not _OPTIONS[parts.scheme].issuperset(options) or parts.fragment:
        raise _wrong("it has an option that is not known")
    for name, values in options.items():
        if name != "db" and not Path(values[0]).is_file():
            raise _wrong(f"the file of its option {name} does not exist")
    if parts.scheme == "unix":
        return f"unix://{_socket(parts)} (database {_database(options.get('db', ['0'])[0])})"
    in_path = parts.path.strip("/")
    if in_path and "db" in options:
        raise _wrong("it names its database twice")
    database = _database(in_path or options.get("db", ["0"])[0])
    host = _host(parts)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}/{database}"


def _host(parts: SplitResult) -> str:
    host = unquote(parts.hostname or "")
    try:
        host.encode("idna")
    except UnicodeError:
        raise _wrong("its host is not a host's name") from None
    if not host or any(character.isspace() for character in host):
        raise _wrong("it names no host")
    return host


def _socket(parts: SplitResult) -> str:
    path = unquote(parts.path)
    if not path.startswith("/") or parts.hostname:
        raise _wrong("the path of its socket does not begin with /")
    return path


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise _wrong("its database is not a number")
    return int(text)


def _wrong(problem: str) -> SettingsError:
    return SettingsError(f"the URL of Redis cannot be used: {problem}; {_FORM}")
