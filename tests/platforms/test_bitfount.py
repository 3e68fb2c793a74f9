"""Tests of the Bitfount platform: what its SDK would make of what it reads."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError
from fedid.platforms.identity import CopiedEntry, CopySource, Identity
from fedid.platforms.table import copy_source, renderer
from tests.platforms.samples import API_KEYS, KEY_PAIR, copied, server, trainer

SOURCE = {"credentialsFrom": {"vaultPath": "bitfount/site-a"}}
API = {"flavour": "ApiKey", "username": "ana", **SOURCE}
PAIR = {"flavour": "ModellerKey", **SOURCE}


def mounted(options: dict[str, Any], identity: Identity) -> dict[str, str]:
    """Return what a pod sees."""
    return {key: value.reveal() for key, value in renderer("bitfount", options, "client")(identity).items()}


def test_an_overlap_is_the_newer_key_while_both_are_good() -> None:
    """Pods get the key in use; the one before it is known by its id, for a person to end."""
    plain, both = copied(API_KEYS), copied(API_KEYS, {"api_key_id": "a6f0\n", "api_key": "former"})
    assert mounted(API, plain) == mounted(API, both)
    assert both.copied is not None
    assert plain.copied is not None
    assert both.copied.ids("api_key_id") == ("b7a1", "a6f0")
    assert plain.copied.ids("api_key_id") == ("b7a1",)
    assert CopiedEntry({}).ids("api_key_id") == ()


def test_where_it_is_copied_from() -> None:
    """The mount is the Federation's where none is named; other platforms copy nothing."""
    field = "spec.platform.bitfount.credentialsFrom"
    api = CopySource(field, "bitfount/site-a", None, "api_key_id", "the Bitfount Hub")
    assert copy_source("bitfount", API, "client") == api
    there = {**PAIR, "credentialsFrom": {"vaultPath": "a/b", "vaultMount": "keys"}}
    assert copy_source("bitfount", there, "client") == CopySource(field, "a/b", "keys", "key_id", "the Bitfount Hub")
    assert copy_source("generic", {"files": {}}, "client") is None
    with pytest.raises(InvalidSpecError, match="is no platform; write one of "):
        copy_source("bitcount", API, "client")


@pytest.mark.parametrize("username", ["a", "a1", "a-b_c", "x" * 39, "0"])
def test_a_name_that_the_hub_has_is_taken(username: str) -> None:
    """As the SDK's own expression takes it."""
    assert mounted({**API, "username": username}, copied(API_KEYS))["BITFOUNT_USERNAME"] == username


@pytest.mark.parametrize("username", ["", "A", "a--b", "-a", "a-", "a_", "x" * 40, "a b", "a\n", "ü", "\u0661"])
def test_a_name_that_the_hub_cannot_have_is_refused(username: str) -> None:
    """As the SDK's own expression refuses it; digits are those of ASCII."""
    with pytest.raises(InvalidSpecError, match="write the owner of the API key as the Hub does"):
        mounted({**API, "username": username}, copied(API_KEYS))


@pytest.mark.parametrize(
    ("identity", "options", "told"),
    [
        (trainer(), API, "nothing was read from there"),
        (server(), API, "nothing was read from there"),
        (copied({}), API, "api_key_id in the entry that credentialsFrom names must be 1 to 1024 printable"),
        (copied({"api_key_id": "a"}), API, "api_key in the entry"),
        (copied({**API_KEYS, "api_key": "a b"}), API, "api_key in the entry"),
        (copied({**API_KEYS, "api_key": "a\nBITFOUNT_USERNAME=eve"}), API, "api_key in the entry"),
        (
            copied(API_KEYS, {"api_key_id": "b7a1"}),
            API,
            "previous_api_key_id in the entry that credentialsFrom names is",
        ),
        (copied({**KEY_PAIR, "key_id": ""}), PAIR, "key_id in the entry"),
        (copied({**KEY_PAIR, "private_key": "MIIE"}), PAIR, "private_key in the entry"),
        (copied({**KEY_PAIR, "private_key": KEY_PAIR["public_key"]}), PAIR, "private_key in the entry"),
        (copied({**KEY_PAIR, "public_key": KEY_PAIR["private_key"]}), PAIR, "public_key in the entry"),
        (copied({**KEY_PAIR, "public_key": "ssh-ed25519 AAAA"}), PAIR, "one line `ssh-rsa ...`, as the SDK writes it"),
        (copied({**KEY_PAIR, "public_key": "ssh-rsa AAAA\nssh-rsa AAAA"}), PAIR, "one line `ssh-rsa ...`"),
        (
            copied({**KEY_PAIR, "private_key": KEY_PAIR["private_key"].replace("BEGIN", "BEGIN ENCRYPTED")}),
            PAIR,
            "not encrypted",
        ),
    ],
)
def test_an_entry_that_the_sdk_could_not_read_is_refused_unseen(
    identity: Identity, options: dict[str, Any], told: str
) -> None:
    """The message names the key of the entry, and shows nothing of it."""
    with pytest.raises(InvalidSpecError) as caught:
        mounted(options, identity)
    assert told in caught.value.message
    assert "eve" not in caught.value.message
    assert "MII" not in caught.value.message


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (SOURCE, "spec.platform.bitfount.flavour is missing"),
        ({**API, "flavour": "Token"}, "write ApiKey or ModellerKey"),
        ({"flavour": "ApiKey", "username": "ana"}, "spec.platform.bitfount.credentialsFrom is missing"),
        ({**API, "credentialsFrom": {}}, "credentialsFrom.vaultPath is missing"),
        ({"flavour": "ApiKey", **SOURCE}, "username is ''; write the owner"),
        ({**API, "podName": "Images"}, "podName is 'Images'; write lower-case"),
        ({**API, "podName": "x" * 67}, "longer than 70 characters; choose a shorter podName"),
        ({**PAIR, "username": "ana"}, "username is for flavour: ApiKey"),
        ({**PAIR, "podName": "images"}, "podName is for flavour: ApiKey"),
    ],
)
def test_a_wrong_option_says_what_to_write(options: dict[str, Any], told: str) -> None:
    """Also where an older schema let it through."""
    with pytest.raises(InvalidSpecError) as caught:
        renderer("bitfount", options, "client")
    assert told in caught.value.message


def test_a_server_is_refused() -> None:
    """Nothing of Bitfount is checked here."""
    with pytest.raises(InvalidSpecError, match="is for role: client"):
        renderer("bitfount", API, "server")


def test_what_was_copied_is_not_seen() -> None:
    """Neither in the entry nor in what is made of it."""
    assert "former" not in repr(copied(API_KEYS, {"api_key": "former"}))
    assert repr(CopiedEntry({"api_key": Sensitive("x")})) == "CopiedEntry(values={'api_key': [redacted]}, previous={})"
