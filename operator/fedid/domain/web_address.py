"""Web addresses of servers, read strictly: what is not plainly what it says is no address at all.

A browser is sent to a redirect URI together with an authorization code, so what a grant covers is compared by its
parts and never as text: `https://dai.example.org.evil/` begins with `https://dai.example.org` and is somewhere else.

Source: RFC 3986 section 3; RFC 6749 section 3.1.2; RFC 9700 section 2.1 (exact redirect URIs).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["WebAddress", "covers", "web_address"]

LOOPBACK: Final = ("localhost", "127.0.0.1")
"""Hosts for which `http` will do: nobody is on that way."""
_PORTS: Final = {"https": 443, "http": 80}
_LAST_PORT: Final = 65535
_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()+,;=:-]*)*)"
)
"""No user, no query, no fragment; nothing escaped, no backslash, no `*`: Keycloak would take that for a wildcard."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """One address, in parts."""

    scheme: str
    host: str
    port: int
    segments: tuple[str, ...]
    """Of the path; an empty last one stands for a final slash."""


def web_address(text: str) -> WebAddress | None:
    """Return the address in parts, None if it is none that may be used.

    It is absolute, `https` or, for the machine itself, `http`, with small letters in its host; its path is plain.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    scheme, host = match["scheme"], match["host"]
    port = int(match["port"]) if match["port"] else _PORTS[scheme]
    segments = tuple(match["path"].split("/")[1:])
    crooked = {".", ".."} & set(segments) or "" in segments[:-1]
    if crooked or port > _LAST_PORT or (scheme == "http" and host not in LOOPBACK):
        return None
    return WebAddress(scheme, host, port, segments)


def covers(prefix: str, address: str) -> bool:
    """Tell whether an address is the prefix or lies below it: same scheme, host and port, path by whole segments.

    Args:
        prefix: An address; a trailing `/*` says no more than the prefix without it.
        address: What is asked for.
    """
    above, asked = web_address(prefix.removesuffix("*") if prefix.endswith("/*") else prefix), web_address(address)
    if above is None or asked is None:
        return False
    folders = above.segments[:-1] if above.segments[-1:] == ("",) else above.segments
    same_server = (above.scheme, above.host, above.port) == (asked.scheme, asked.host, asked.port)
    return same_server and asked.segments[: len(folders)] == folders
