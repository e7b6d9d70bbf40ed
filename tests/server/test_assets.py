"""The web UI's files: what lies in the built folder is served, whatever else somebody asks for is not, however it is spelled."""

import socket
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from legato.server.assets import based, find_asset, read_assets

from tests.server.process import ServerProcess

PUBLIC = ("/", "/index.html", "/runs", "/runs/amber-heron", "/assets/", "/assets/app.js", "/api/health", "/api/ready", "/favicon.svg")
MARK = b"MARK-OF-A-FILE-OUTSIDE"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built UI, with a file beside it, a link out of it, and its own files marked."""
    place = tmp_path_factory.mktemp("built")
    (place / "outside.txt").write_bytes(MARK)
    folder = place / "ui"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<html><base href="/" /></html>')
    (folder / "assets" / "app.js").write_text("1")
    (folder / "assets" / "link.txt").symlink_to(place / "outside.txt")
    return folder


def spellings(target: str) -> list[str]:
    """Ways to ask a careless server for the absolute path `target`: each has opened some server once."""
    bare = target.lstrip("/")
    ups = ["..", "%2e%2e", ".%2e", "%2e.", "%252e%252e", "....", "..;", "%c0%ae%c0%ae", "..%00", "..\\"]
    slashes = ["/", "//", "%2f", "%252f", "\\", "%5c", "/./", "%2f%2f", "%c0%af"]
    prefixes = ["", "/assets", "/assets/app.js", "/runs", "/index.html", "/api/health", "/api/..", "."]
    climbing = [f"{prefix}{slash}{slash.join([up] * 12)}{slash}{bare}" for prefix in prefixes for up in ups for slash in slashes]
    direct = [f"{prefix}{slash}{form}" for prefix in prefixes for slash in slashes for form in (bare, target, quote(target, safe=""))]
    odd = [
        f"/%00{target}",
        f"{target}%00.js",
        f"/file:{target}",
        f"file://{target}",
        f"/{'a/' * 3000}..{target}",
        f"/{'x' * 50_000}",
        f"/~{target}",
    ]
    return climbing + direct + odd


def ask(port: int, target: str) -> tuple[int, bytes]:
    """The status and the whole answer to a request line sent as it stands: clients would tidy the path up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    return int(answer.split(b" ", 2)[1]), answer


def test_no_spelling_of_a_path_reaches_a_file_of_the_machine(server: ServerProcess) -> None:
    secret = server.home / "secret.txt"
    secret.write_bytes(MARK)
    outside = {str(secret): MARK, f"{server.home}/legato.db": b"SQLite format 3"}

    answers = [(target, mark, *ask(server.port, target)) for path, mark in outside.items() for target in spellings(path)]

    assert len(answers) > 1000
    assert [target for target, mark, _, answer in answers if mark in answer] == []
    assert [(target[:80], status) for target, _, status, _ in answers if status >= 500] == []


def test_every_public_path_bears_every_odd_character(server: ServerProcess) -> None:
    odd = [
        "%00",
        "%0a",
        "%0d%0a",
        "%ff",
        "%",
        "%zz",
        "%u002e",
        "\\",
        "\xe9",
        "%e2%80%ae",
        "//",
        "/..",
        "/.",
        "?",
        "??",
        "#",
        "/%2e%2e/",
        ";x=1",
        ":",
        "*",
    ]
    targets = [f"{path}{each}{end}" for path in PUBLIC for each in odd for end in ("", "/etc/passwd")]

    answers = [(target, *ask(server.port, target)) for target in targets]

    assert [(target, status) for target, status, _ in answers if status >= 500] == []
    assert [target for target, _, answer in answers if b"root:x:" in answer] == []


@given(st.text(st.sampled_from("/.\\%\x00aes~:;")) | st.text())
@example("//etc/passwd")
@example("/assets//etc/passwd")
@example("/assets/../../outside.txt")
@example("/assets/link.txt")
def test_a_path_is_looked_up_and_never_opened(built: Path, path: str) -> None:
    table = read_assets(built)

    found = find_asset(table, path)

    assert set(table) == {"/", "/index.html", "/assets/app.js"}
    assert found is None or found in table.values()
    assert found is None or found.body != MARK


@pytest.mark.parametrize("path", ["//etc/passwd", "//runs", "/runs/../x", "/assets/none.js", "/a\x00b", "/a\\b", "/.env"])
def test_what_is_no_address_of_the_ui_is_not_found(built: Path, path: str) -> None:
    assert find_asset(read_assets(built), path) is None


@pytest.mark.parametrize("path", ["/", "/runs", "/runs/amber-heron", "/deployments/a b/etl", "/flows/"])
def test_the_page_answers_for_the_addresses_of_the_ui(built: Path, path: str) -> None:
    table = read_assets(built)

    found = find_asset(table, path)

    assert found is table["/"]
    href = based(found.body, path).decode().partition('<base href="')[2].partition('"')[0]
    assert (
        urljoin(urljoin(f"https://flows.example.com/tools/x{path}", href), "assets/app.js")
        == "https://flows.example.com/tools/x/assets/app.js"
    )


@pytest.mark.parametrize("path", ["/health", "/healthz", "/ready", "/readyz/", "/metrics"])
def test_a_probe_on_a_wrong_path_is_not_told_that_all_is_well(built: Path, path: str) -> None:
    assert find_asset(read_assets(built), path) is None


def test_an_installation_without_a_built_ui_says_so(tmp_path: Path) -> None:
    page = read_assets(tmp_path / "none")["/"]

    assert b"make ui" in page.body
