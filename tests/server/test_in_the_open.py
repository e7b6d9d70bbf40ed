"""A server that others reach: behind a proxy under a path, with names of its own, and with clients that never finish what they began."""

import json
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO

import pytest

from legato.logs.events import EventFormatter
from legato.server.connections import Caps, caps_for

from tests.server.process import ServerProcess

JSON = {"content-type": "application/json"}


class Proxy(ThreadingHTTPServer):
    """A reverse proxy: hands requests on, with the path as it is or without its prefix."""

    daemon_threads = True

    def __init__(self, port: int, prefix: str, *, strips: bool, host: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.target, self.prefix, self.strips, self.host = port, prefix, strips, host
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Proxy

    def go(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        headers |= {"x-forwarded-host": self.headers["host"], **({"host": self.server.host} if self.server.host else {})}
        upstream = HTTPConnection("127.0.0.1", self.server.target, timeout=20)
        path = self.path.removeprefix(self.server.prefix) if self.server.strips else self.path
        upstream.request(self.command, path, body or None, headers)
        answer = upstream.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    do_GET = do_POST = go

    def log_message(self, *_: object) -> None:
        return


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(
        method, path, b"{}" if method == "POST" else None, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.mark.parametrize("strips", [True, False])
def test_a_proxy_may_serve_it_under_a_path(start_server: Callable[..., ServerProcess], strips: bool) -> None:
    server = start_server(*([] if strips else ["--base-path", "/tools/flows"]))
    proxy = Proxy(server.port, "/tools/flows", strips=strips)

    for page in ("/", "/runs/amber-heron", "/deployments/a/b"):
        status, text = ask(proxy.server_port, "GET", f"/tools/flows{page}")
        assert status == 200, page
        assert "<html" in text
    assert ask(proxy.server_port, "GET", "/tools/flows/api/health")[0] == 200
    origin = f"http://127.0.0.1:{proxy.server_port}"
    assert ask(proxy.server_port, "POST", "/tools/flows/api/transitions", content_type="application/json", origin=origin)[0] == 200
    assert (
        ask(proxy.server_port, "POST", "/tools/flows/api/transitions", content_type="application/json", origin="http://evil.example")[0]
        == 403
    )
    proxy.shutdown()
    proxy.server_close()


def test_a_name_in_the_settings_is_answered_to_and_others_are_not(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server("--allowed-host", "flows.example.com", "--public-url", "https://people.example")

    statuses = [
        ask(server.port, "GET", "/api/health", host=host)[0] for host in ("flows.example.com", "people.example:443", "evil.example")
    ]

    assert statuses == [200, 200, 421]


def test_without_a_key_a_foreign_name_is_refused_too(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server("--host", "0.0.0.0", "--insecure-no-auth")

    for method in ("GET", "POST"):
        status, _ = ask(
            server.port, method, "/api/flow-runs", host="evil.example", origin="http://evil.example", content_type="application/json"
        )
        assert status == 421
    assert ask(server.port, "GET", "/api/health", host=socket.gethostname())[0] == 200


def test_a_wrong_key_is_told_apart_from_none(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server("--api-key", "secret")
    codes = {}
    for shown in ("", "Bearer wrong", "secret", "Basic secret", "bearer secret", "Bearer secret"):
        status, text = ask(server.port, "GET", "/api/flow-runs", **({"authorization": shown} if shown else {}))
        codes[shown] = (status, json.loads(text).get("code", ""))

    assert codes == {
        "": (401, "unauthorized"),
        "Bearer wrong": (401, "wrong_key"),
        "secret": (401, "wrong_key"),
        "Basic secret": (401, "wrong_key"),
        "bearer secret": (200, ""),
        "Bearer secret": (200, ""),
    }


UNFINISHED = {
    "nothing": b"",
    "half a head": b"GET /api/health HTTP/1.1\r\nHost: loc",
    "half a second head": b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/health HT",
    "half a body": b"POST /api/transitions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
}


def test_what_never_becomes_a_request_is_closed(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server("--head-timeout", "0.4", "--body-timeout", "0.8")

    for sent in UNFINISHED.values():
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(sent)
            while connection.recv(1 << 16):
                pass  # the answer to the whole one; then the end, or this test times out

    assert server.request("GET", "/api/health").status == 200


def test_caps_leave_files_for_the_rest() -> None:
    caps = caps_for(1024)

    assert 0 < caps.most_of_a_peer < caps.most < 1024
    assert caps_for(10).most == 16
    assert isinstance(caps, Caps)


def test_the_home_is_its_owners_alone(start_server: Callable[..., ServerProcess]) -> None:
    before = os.umask(0o002)
    try:
        server = start_server()
    finally:
        os.umask(before)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [server.home, *server.home.rglob("*")]}
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


def test_an_event_is_printed_with_its_time_and_all_its_fields() -> None:
    record = logging.makeLogRecord(
        {
            "name": "legato.x",
            "levelname": "ERROR",
            "msg": "request_failed",
            "request_id": "a1",
            "route": "GET /a b",
            "n": 3,
            "_private": "a library's own",
        }
    )

    text, data = EventFormatter().format(record), json.loads(EventFormatter(as_json=True).format(record))

    assert text.endswith('ERROR request_failed request_id=a1 route="GET /a b" n=3')
    assert {"event": "request_failed", "request_id": "a1", "route": "GET /a b", "n": 3, "level": "ERROR"}.items() <= data.items()
    assert data["at"].endswith("Z")


def test_an_event_is_one_line_whatever_its_fields_hold() -> None:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter())
    handler.handle(logging.makeLogRecord({"msg": "a\nb", "x": "1\n2\x1b[31m", "level": 1}))

    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_each_request_is_logged_where_that_was_asked_for(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server("--access-log", "--api-key", "secret")
    ask(server.port, "GET", "/api/health", x_forwarded_for="203.0.113.9")
    ask(server.port, "GET", "/api/flow-runs", authorization="Bearer wrong")
    assert server.process is not None
    server.process.terminate()
    _, log = server.process.communicate(timeout=20)

    assert "request method=GET path=/api/health status=200 client=203.0.113.9" in log
    assert "wrong_key client=127.0.0.1 path=/api/flow-runs" in log
