"""A supervised tritonserver: `python -m tritalk.server`, or `Server` in a program."""

from tritalk.server.errors import ServerError
from tritalk.server.options import Ports, ServerOptions
from tritalk.server.server import Server

__all__ = ["Ports", "Server", "ServerError", "ServerOptions"]
