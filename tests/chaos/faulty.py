"""A proxy before a server that fails in the ways of the world: errors of all kinds, cut connections, half answers, silence.

It speaks HTTP/1.1 and keeps connections alive, as real ones do: one that closed each would test reconnects only.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STATUSES = (500, 401, 403, 413, 421, 429, 503)
ANSWERS = (*(str(status) for status in STATUSES), "html", "html with 200", "reset", "half", "silence")
"""What it answers: a problem of that status, a page of another proxy's, a cut connection, the first half of an answer, or nothing."""

SILENCE_S = 30.0


class FaultProxy(ThreadingHTTPServer):
    """Requests whose "METHOD path" matches the rule are answered wrongly until its time is over, and never reach the server."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = port
        self.hits = 0
        self.rule: tuple[str, str, float] | None = None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"

    def fault(self, pattern: str, answer: str, seconds: float) -> None:
        self.rule = (pattern, answer, time.monotonic() + seconds)

    def answer_to(self, request: str) -> str:
        if self.rule is None or time.monotonic() > self.rule[2] or not re.search(self.rule[0], request):
            return ""
        self.hits += 1
        return self.rule[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def go(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = self.server.answer_to(f"{self.command} {self.path}")
        if not fault:
            self._pass_on(body)
        elif fault == "reset":
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "silence":
            until = min(time.monotonic() + SILENCE_S, (self.server.rule or ("", "", 0.0))[2])
            threading.Event().wait(max(0.0, until - time.monotonic()))
            self.close_connection = True
        elif fault == "half":
            self._answer(200, "application/json", b'[{"kind": "acc', length=4000)
            self.close_connection = True
        elif fault.startswith("html"):
            self._answer(200 if "200" in fault else 500, "text/html", b"<html><body>Internal Server Error</body></html>")
        else:
            problem = {
                "title": "x",
                "status": int(fault),
                "detail": "the server failed on this request",
                "code": _CODES.get(fault, ""),
                "request_id": "r",
            }
            self._answer(int(fault), "application/problem+json", json.dumps(problem).encode())

    def _answer(self, status: int, kind: str, body: bytes, *, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _pass_on(self, body: bytes) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=150)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "content-length")}
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        finally:
            upstream.close()

    do_GET = do_POST = do_PUT = do_DELETE = go

    def log_message(self, *_: object) -> None:
        return

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()


_CODES = {"500": "internal", "401": "unauthorized", "503": "unavailable"}
