"""Which names a server answers to, and which pages may change things: as a table, without a server."""

import pytest

from legato.server.host_names import is_trusted, name_of, names_for

LOOPBACK = names_for(bound="127.0.0.1", machine="box.lan")
ANYWHERE = names_for(bound="0.0.0.0", machine="Box.lan", is_any=True, is_loopback=False, allowed=["Flows.example.com", "*.internal"])


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:4200", "127.0.0.1:1", "[::1]:4200", "[::1]", "::1"])
def test_the_loopbacks_names_are_always_welcome(host: str) -> None:
    assert LOOPBACK.welcomes(host)
    assert ANYWHERE.welcomes(host)


@pytest.mark.parametrize(
    "host", ["", ":4200", "evil.example", "evil.example:4200", "127.0.0.1.evil.example", "localhost.evil.example", "internal", "xinternal"]
)
def test_a_name_that_was_not_named_is_not(host: str) -> None:
    assert not LOOPBACK.welcomes(host)
    assert not ANYWHERE.welcomes(host)


@pytest.mark.parametrize("host", ["192.168.1.7:4200", "[2001:db8::7]:4200", "box.lan", "BOX:4200", "flows.example.com", "a.b.internal:80"])
def test_beyond_loopback_addresses_the_machines_name_and_listed_names_are_welcome(host: str) -> None:
    assert ANYWHERE.welcomes(host)
    assert not LOOPBACK.welcomes(host)


def test_a_page_may_change_things_where_it_was_asked_for() -> None:
    names = names_for(bound="127.0.0.1", machine="box", public_url="https://flows.example.com/tools")

    assert names.may_change("http://127.0.0.1:4200", "127.0.0.1:4200")
    assert names.may_change("https://flows.example.com", "127.0.0.1:4200")
    assert names.may_change("https://other.example", "127.0.0.1:4200", forwarded="other.example")
    assert not names.may_change("http://flows.example.com", "127.0.0.1:4200")
    assert not names.may_change("https://evil.example", "127.0.0.1:4200")
    assert not names.may_change("https://evil.example", "127.0.0.1:4200", forwarded="flows.example.com")
    assert not names.may_change("null", "127.0.0.1:4200")
    assert not names.may_change("", "")


def test_only_proxies_that_were_named_are_believed() -> None:
    assert is_trusted("10.1.2.3", ("10.0.0.0/8",))
    assert is_trusted("::1", ("127.0.0.0/8", "::1"))
    assert not is_trusted("11.1.2.3", ("10.0.0.0/8", ""))
    assert not is_trusted("", ("127.0.0.0/8",))
    assert not is_trusted("box", ("127.0.0.0/8",))


@pytest.mark.parametrize(("host", "name"), [("a:1", "a"), ("[::1]:2", "::1"), ("::1", "::1"), (" A ", "a"), ("", "")])
def test_a_host_header_holds_a_name(host: str, name: str) -> None:
    assert name_of(host) == name
