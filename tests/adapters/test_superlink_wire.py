"""Protobuf's wire format as far as we speak it, held against bytes that flwr 1.41 itself wrote."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.adapters.superlink.messages import listed_nodes, register_request, registered_node, unregister_request
from fedid.adapters.superlink.wire import MalformedMessageError, fields, length_delimited, varint_field
from fedid.domain.super_node import NodeRecord

UINT64 = 2**64 - 1
REGISTER = bytes.fromhex("0a036b65791a046e616d65")
"""RegisterNodeRequest(public_key=b"key", name="name").SerializeToString()"""
REGISTERED = bytes.fromhex("08fb82aaae90908644")
"""RegisterNodeResponse(node_id=38307539259654523)."""
UNREGISTER = bytes.fromhex("08ffffffffffffffffff01")
"""UnregisterNodeRequest(node_id=2**64 - 1)."""
LISTED = bytes.fromhex(
    "0a6c08ffffffffffffffffff01120a616e206163636f756e741a03616e6122066f6e6c696e652a19323032362d31312d32325431343a35343a"
    "35362b30303a303049000000000000f83f510000000000003e405a0a2d2d2d2d2d424547494e62046f736c6f6a07736974652dc3a40a130807"
    "220c756e726567697374657265645a0178120432303236"
)
"""ListNodesResponse of two NodeInfo, the first with every field of 1.41 that a node can have."""


def test_requests() -> None:
    """What we write is what Flower writes."""
    assert register_request(b"key", "name") == REGISTER
    assert unregister_request(UINT64) == UNREGISTER
    assert unregister_request(38307539259654523) == REGISTERED


def test_a_node_id() -> None:
    """All 64 bits of it arrive; 0 is what a SuperLink answers when it failed."""
    assert registered_node(REGISTERED) == 38307539259654523
    assert registered_node(UNREGISTER) == UINT64
    for nothing in (b"", b"\x08\x00", b"\x12\x01x"):
        with pytest.raises(MalformedMessageError):
            registered_node(nothing)


def _node(**extra: bytes) -> bytes:
    told = {
        "node_id": varint_field(1, UINT64),
        "owner_aid": length_delimited(2, b"an account"),
        "owner_name": length_delimited(3, b"ana"),
        "status": length_delimited(4, b"online"),
        "online_until": b"\x49" + b"\0" * 8,
        "public_key": length_delimited(11, b"-----BEGIN"),
        "name": length_delimited(13, "site-ä".encode()),
        "later": length_delimited(99, b"what a later Flower adds") + b"\xa5\x06" + b"\0" * 4,
    }
    return b"".join((told | extra).values())


def test_a_listing() -> None:
    """What we need is found among what we do not."""
    assert listed_nodes(LISTED) == (
        NodeRecord(UINT64, b"-----BEGIN", "online", "site-ä", "an account"),
        NodeRecord(7, b"x", "unregistered"),
    )


def test_a_listing_of_a_later_flower() -> None:
    """What a later version adds is skipped, and what an earlier one lacks is empty."""
    listing = length_delimited(1, _node()) + length_delimited(2, b"now") + length_delimited(1, varint_field(1, 7))
    assert listed_nodes(listing) == (
        NodeRecord(UINT64, b"-----BEGIN", "online", "site-ä", "an account"),
        NodeRecord(7, b"", ""),
    )
    assert listed_nodes(b"") == ()


@pytest.mark.parametrize(
    "message",
    [
        length_delimited(1, _node())[:-1],
        varint_field(1, 5),
        length_delimited(1, _node(node_id=length_delimited(1, b"five"))),
        length_delimited(1, _node(status=varint_field(4, 5))),
        length_delimited(1, _node(name=length_delimited(13, b"\xff"))),
        b"<html>",
        b"\x0b",
        b"\x08" + b"\xff" * 11,
        b"\x08",
    ],
)
def test_what_is_no_listing(message: bytes) -> None:
    """Nothing half-read passes for a listing: what it leaves out would be taken for unregistered."""
    with pytest.raises(MalformedMessageError):
        listed_nodes(message)


@given(st.integers(1, 2**29 - 1), st.integers(1, UINT64), st.binary(min_size=1, max_size=300))
def test_what_is_written_is_read(number: int, value: int, text: bytes) -> None:
    """For every field number, number and content."""
    assert list(fields(varint_field(number, value) + length_delimited(number, text))) == [
        (number, value),
        (number, text),
    ]


@given(st.binary(max_size=200))
def test_any_bytes(message: bytes) -> None:
    """Whatever a stranger sends is read or refused, and nothing else is raised."""
    with suppress(MalformedMessageError):
        listed_nodes(message)
