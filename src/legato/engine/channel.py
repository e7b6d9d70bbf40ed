"""Frames over a socket between a flow's process and one of its worker processes: a kind, and bytes that the kind says how to read.

Built for one thing: a task there and back with two system calls a side. Sending is atomic among threads; one thread receives.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

PARENT_RECORD = struct.Struct("<cqq")
"""What a flow's process and the warm parent of its workers say to each other, on a socket of their own.

Requests: (b"S", number, 0) with a socket: start; (b"K", pid, signal): send a signal to a worker. Events: (b"P", number, pid): started;
(b"X", pid, exit code): ended.
"""

_HEADER = struct.Struct("<QB")
_READ = 1 << 16
_LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
_WHOLE = 1 << 15
"""Frames up to this size are sent in one piece: copying them costs less than another system call."""


class Channel:
    """One end. Safe to close twice."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = bytearray()
        self._sending = threading.Lock()
        self.was_unread = False
        """Whether the other side ended without having read all it was sent. Linux says so; elsewhere it stays false."""

    def send(self, kind: int, payload: bytes) -> None:
        """Send one frame. Raises `OSError` when the other side is gone."""
        header = _HEADER.pack(len(payload), kind)
        with self._sending:
            if len(payload) <= _WHOLE:
                self.socket.sendall(header + payload)
            else:
                self.socket.sendall(header)
                self.socket.sendall(payload)

    def receive(self) -> tuple[int, bytes] | None:
        """The next frame; None when the other side has hung up, in the middle of a frame too."""
        header = self._take(_HEADER.size)
        if header is None:
            return None
        length, kind = _HEADER.unpack(header)
        payload = self._take(length)
        return None if payload is None else (kind, payload)

    def _take(self, size: int) -> bytes | None:
        buffer = self._buffer
        while len(buffer) < size:
            try:
                data = self.socket.recv(max(_READ, min(size - len(buffer), 1 << 20)))
            except ConnectionResetError:
                self.was_unread = True
                return None
            except OSError:
                return None
            if not data:
                return None
            buffer += data
        taken = bytes(buffer[:size])
        del buffer[:size]
        return taken

    @property
    def is_open(self) -> bool:
        """Whether the other side is still there, as far as can be seen without waiting."""
        try:
            return bool(self._buffer) or self.socket.recv(1, _LOOK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def hang_up(self) -> None:
        """Let both sides' receivers know that it is over."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.socket.close()
