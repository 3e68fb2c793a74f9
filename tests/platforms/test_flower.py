"""Tests of the Flower platform: what a SuperNode and the command `flwr` mount, byte for byte."""

from __future__ import annotations

import tomllib
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedid.domain.conditions import Reason
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeKey
from fedid.errors import InvalidSpecError
from fedid.platforms import flower
from fedid.platforms.identity import ServedIdentity
from tests.platforms.samples import AUDIT, DEFAULT, trainer

GOLDEN = Path(__file__).parent / "golden" / "flower"
"""One folder per flavour: `options.yaml` as in the manifest, `mounted/` as a pod sees it."""
PATH = "spec.platform.flower"
KEY = NodeKey(
    Sensitive("-----BEGIN OPENSSH PRIVATE KEY-----\ngolden\n-----END OPENSSH PRIVATE KEY-----\n"),
    b"-----BEGIN PUBLIC KEY-----\ngolden\n-----END PUBLIC KEY-----\n",
    "ecdsa-sha2-nistp384 golden",
)


def super_node(**link: Any) -> dict[str, Any]:
    """Return the smallest block, with these fields of `superLink`."""
    return {"superNode": {"superLink": {"url": "https://superlink:8000", **link}}}


@pytest.mark.parametrize("flavour", sorted(path.name for path in GOLDEN.iterdir()))
def test_a_supernode_mounts_the_golden_files(flavour: str) -> None:
    """What lies in the Secret is byte for byte what the golden files hold, no key more and none less."""
    options = yaml.safe_load((GOLDEN / flavour / "options.yaml").read_text(encoding="utf-8"))
    identity = replace(trainer(default=DEFAULT, audit=AUDIT), node_key=KEY)
    rendered = flower.render(identity, flower.parse(options, PATH, "client"))
    mounted = {path.name: path.read_bytes() for path in (GOLDEN / flavour / "mounted").iterdir()}
    assert {key: value.reveal().encode() for key, value in rendered.items()} == mounted


def test_what_is_rendered_is_not_seen() -> None:
    """Every file is a credential, also one that holds none."""
    rendered = flower.render(replace(trainer(), node_key=KEY), flower.parse(super_node(), PATH, "client"))
    assert set(map(repr, rendered.values())) == {"[redacted]"}


def test_what_is_left_out() -> None:
    """No account, ten minutes of overlap, and no rotation by itself."""
    node = flower.parse(super_node(), PATH, "client").super_node
    assert node is not None
    assert (node.as_bot, node.every, node.overlap) == (False, None, timedelta(minutes=10))
    assert node.super_link.ca_bundle is None


def test_all_that_can_be_said() -> None:
    """An account, a schedule, an overlap."""
    block = super_node(account="Bot")
    block["superNode"]["rotation"] = {"every": "720h", "overlap": "1h"}
    node = flower.parse(block, PATH, "client").super_node
    assert node is not None
    assert (node.as_bot, node.every, node.overlap) == (True, timedelta(days=30), timedelta(hours=1))


@pytest.mark.parametrize(
    "url",
    [
        "http://superlink:8000", "http://localhost:8000", "https://superlink:8000/", "https://superlink/v1",
        "https://user@superlink", "https://superlink?x=1", "https://superlink#x", "https://SuperLink", "superlink:8000",
        "https://superlink:0", "https://superlink:99999", "https://", "https://a..b", "https://superlink:8000\n",
        "https://superlink:8000 --insecure",
    ],
)  # fmt: skip
def test_urls_that_are_none(url: str) -> None:
    """Neither another scheme nor anything that a program could read as more than host and port."""
    with pytest.raises(InvalidSpecError, match=r"superLink\.url"):
        flower.parse(super_node(url=url), PATH, "client")


@pytest.mark.parametrize("path", ["etc/flower", "/", "/etc/flower/", "/etc/../x", "/etc/a b", "/etc/$(x)", "/-\n"])
def test_mount_paths_that_are_none(path: str) -> None:
    """Nothing that a shell would take apart."""
    block = super_node()
    block["superNode"]["mountPath"] = path
    with pytest.raises(InvalidSpecError, match="mountPath"):
        flower.parse(block, PATH, "client")


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({}, "exactly one of superNode and cli"),
        ({**super_node(), "cli": {"superLink": {"url": "https://s"}}}, "exactly one of superNode and cli"),
        ({"cli": {}}, "superLink is missing"),
        ({"cli": {"superLink": {"url": "http://s"}}}, r"cli\.superLink\.url"),
        ({"cli": {"superLink": {"url": "https://s"}, "connection": 'a"b'}}, "connection"),
        ({"cli": {"superLink": {"url": "https://s"}, "federation": 'a"\n'}}, "federation"),
        ({"cli": {"superLink": {"url": "https://s"}, "mountPath": "x"}}, "mountPath"),
        ({"superNode": {}}, "superLink is missing"),
        ({"superNode": {"superLink": {}}}, "url is missing"),
        (super_node(account="bot"), "write None or Bot"),
        ({"superNode": {"superLink": {"url": "https://s"}, "rotation": {"every": "soon"}}}, r"rotation\.every"),
    ],
)
def test_what_is_wrong_is_named(block: dict[str, Any], told: str) -> None:
    """The message names the field."""
    with pytest.raises(InvalidSpecError, match=told):
        flower.parse(block, PATH, "client")


def test_a_server_is_no_supernode() -> None:
    """A SuperNode presents a key, so it is a client."""
    with pytest.raises(InvalidSpecError, match="role: client"):
        flower.parse(super_node(), PATH, "server")


@pytest.mark.parametrize("identity", [trainer(), ServedIdentity("https://keycloak/realms/fl")])
def test_without_a_key_nothing_is_rendered(identity: Any) -> None:
    """There is no Secret with half a SuperNode."""
    with pytest.raises(InvalidSpecError, match="no key"):
        flower.render(identity, flower.parse(super_node(), PATH, "client"))


def test_what_flwr_reads_is_what_was_meant() -> None:
    """The two files are well-formed TOML and YAML, and each value of the latter is base64 of what it stands for."""
    block = {"cli": {"superLink": {"url": "https://superlink:8000"}, "token": "audit"}}
    files = flower.render(trainer(default=DEFAULT, audit=AUDIT), flower.parse(block, PATH, "client"))
    config = tomllib.loads(files["config.toml"].reveal())
    assert config == {"superlink": {"default": "fedid", "fedid": {"address": "superlink:8000"}}}
    held = yaml.safe_load(files["credentials.yaml"].reveal())
    told = {key.removeprefix("flower.account-auth.superlink:8000."): b64decode(value) for key, value in held.items()}
    assert told["authn-type"] == b"oidc"
    assert told["oidc-access-token"].decode() == AUDIT.token.reveal()
    assert told["oidc-refresh-token"], "flwr asks for one to be there"


def test_a_token_that_the_bot_has_not() -> None:
    """The message says which ones it has."""
    block = {"cli": {"superLink": {"url": "https://superlink:8000"}, "token": "other"}}
    with pytest.raises(InvalidSpecError, match="tokens are: audit, default") as raised:
        flower.render(trainer(default=DEFAULT, audit=AUDIT), flower.parse(block, PATH, "client"))
    assert raised.value.reason == Reason.TOKEN_MISSING
