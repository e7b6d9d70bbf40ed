"""TCP ports for servers that tests start."""

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listened on a moment ago. Somebody may take it before you do: be ready to try again."""
    with socket.socket() as s:
        s.bind((host, 0))
        port: int = s.getsockname()[1]
        return port
