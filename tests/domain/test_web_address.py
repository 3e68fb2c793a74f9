"""Tests of addresses: a grant covers what plainly lies below it, and nothing that only looks so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.web_address import covers, web_address

GOOD = [
    "https://dai.example.org",
    "https://dai.example.org/",
    "https://dai.example.org:12345/oidc/callback",
    "https://dai/oidc/callback/",
    "http://localhost:8080/cb",
    "http://127.0.0.1/",
]
BAD = [
    "",
    "*",
    "https://*",
    "https://dai.example.org/*",
    "https://dai.example.org/a*b",
    "https://dai.example.org/%2e%2e/x",
    "https://dai.example.org/a%2fb",
    "https://dai.example.org/../x",
    "https://dai.example.org/./x",
    "https://dai.example.org//x",
    "https://dai.example.org/a\\b",
    "https://dai.example.org\\@evil.example/",
    "https://user@dai.example.org/",
    "https://dai.example.org@evil.example/",
    "https://dai.example.org/x#y",
    "https://dai.example.org/x?y=z",
    "https://dai.example.org/x\n",
    "https://dai.example.org /x",
    "https://DAI.example.org/",
    "https://dai.exämple.org/",
    "https://dai.example.org.",
    "https://dai..example.org/",
    "https://-dai.example.org/",
    "https://dai.example.org:0/",
    "https://dai.example.org:70000/",
    "https://dai.example.org:/",
    "https:///x",
    "https:dai.example.org",
    "//dai.example.org/",
    "/oidc/callback",
    "http://dai.example.org/",
    "http://localhost.evil.example/",
    "HTTPS://dai.example.org/",
    "javascript:alert(1)",
    "custom.app:/cb",
    "+",
]


@pytest.mark.parametrize("address", GOOD)
def test_plain_addresses_are_taken(address: str) -> None:
    """What a server has for an address is one."""
    assert web_address(address) is not None
    assert covers(address, address)


@pytest.mark.parametrize("address", BAD)
def test_crooked_addresses_are_none(address: str) -> None:
    """Whatever Keycloak or a browser might read otherwise is no address, and no prefix covers it."""
    assert web_address(address) is None
    for prefix in ("https://dai.example.org", "https://dai.example.org/*", "http://localhost", address):
        assert not covers(prefix, address)


@pytest.mark.parametrize(
    ("prefix", "address", "covered"),
    [
        ("https://dai.example.org", "https://dai.example.org/oidc/callback", True),
        ("https://dai.example.org/", "https://dai.example.org/oidc/callback", True),
        ("https://dai.example.org/*", "https://dai.example.org/oidc/callback", True),
        ("https://dai.example.org:443", "https://dai.example.org/x", True),
        ("https://dai.example.org/app", "https://dai.example.org/app", True),
        ("https://dai.example.org/app", "https://dai.example.org/app/x", True),
        ("https://dai.example.org/app/*", "https://dai.example.org/app/x", True),
        ("https://dai.example.org/app/", "https://dai.example.org/app", True),
        ("https://dai.example.org/app", "https://dai.example.org/application", False),
        ("https://dai.example.org/app*", "https://dai.example.org/app", False),
        ("https://dai.example.org/app", "https://dai.example.org/", False),
        ("https://dai.example.org", "https://dai.example.org.evil/", False),
        ("https://dai.example.org", "https://dai.example.org:8443/", False),
        ("https://dai.example.org", "https://x.dai.example.org/", False),
        ("https://localhost", "http://localhost/", False),
        ("*", "https://dai.example.org/", False),
        ("https://*", "https://dai.example.org/", False),
    ],
)
def test_a_prefix_counts_by_parts(prefix: str, address: str, covered: bool) -> None:  # noqa: FBT001
    """Scheme, host and port exactly, the path by whole segments."""
    assert covers(prefix, address) == covered


@given(st.text(alphabet="ab./:*@%\\#?[]-{}", max_size=24))
def test_nothing_that_is_put_behind_a_host_leaves_it(tail: str) -> None:
    """What is covered has this very host, whatever stands behind it."""
    if covers("https://a.example", f"https://a.example{tail}"):
        assert tail == "" or tail.startswith(("/", ":443"))
        assert not set(tail) & set("*@%\\#?[]{}")
