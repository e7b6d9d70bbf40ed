"""The names a server answers to, and where a page that changes things may come from. Pure.

A name that was not named here is refused, with a key and without: a page of another site can make a browser look up the site's own name as this
machine's address (DNS rebinding), and all that gives it away is the name it asks for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class HostNames(msgspec.Struct, frozen=True):
    """`hosts`: names, `*.example.com` for all below one. `is_reachable`: the server listens beyond this machine, so that any address may be its.

    `origins`: "scheme://host[:port]" of a page that may change things although it was reached under another name.
    """

    hosts: frozenset[str] = LOOPBACK_NAMES
    is_reachable: bool = False
    origins: frozenset[str] = frozenset()

    def welcomes(self, host: str) -> bool:
        """Whether this is a name of ours (a Host header, with or without its port)."""
        name = name_of(host)
        if name in self.hosts or any(name.endswith(one[1:]) for one in self.hosts if one.startswith("*.")):
            return True
        return self.is_reachable and is_address(name)

    def may_change(self, origin: str, host: str, forwarded: str = "") -> bool:
        """Whether a page of this origin is ours: of the host that was asked, or that a trusted proxy was asked, or of the public address."""
        asked = urlsplit(origin).netloc.lower()
        return bool(asked) and (asked == host.lower() or (bool(forwarded) and asked == forwarded.lower()) or origin.lower() in self.origins)


def names_for(
    *, bound: str, machine: str, allowed: Iterable[str] = (), public_url: str = "", is_any: bool = False, is_loopback: bool = True
) -> HostNames:
    """The names of a server that listens on `bound`, on a machine of this name."""
    hosts = set(LOOPBACK_NAMES) | {one.strip().lower() for one in allowed if one.strip()}
    if not is_any:
        hosts.add(name_of(bound))
    if not is_loopback:
        hosts |= {machine.lower(), machine.lower().partition(".")[0]}
    public = urlsplit(public_url)
    origins = frozenset({f"{public.scheme}://{public.netloc}".lower()}) if public.netloc else frozenset()
    if public.hostname:
        hosts.add(public.hostname.lower())
    return HostNames(frozenset(host for host in hosts if host), not is_loopback, origins)


def name_of(host: str) -> str:
    """The name in a Host header, without its port and brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name if not port or port.startswith(":") else host
    return host if host.count(":") > 1 else host.partition(":")[0]


def is_address(name: str) -> bool:
    """Whether this is an IP address and no name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_trusted(peer: str, proxies: Iterable[str]) -> bool:
    """Whether a connection comes from one of these addresses or networks, so that what it says about whom it speaks for is believed."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(one.strip(), strict=False) for one in proxies if one.strip())
