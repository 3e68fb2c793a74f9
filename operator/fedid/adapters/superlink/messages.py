"""The messages of the Control API that are about nodes.

Field numbers are protobuf's promise: a later Flower adds fields, and those are skipped.

Source: flwr 1.41 `proto/control.proto` (RegisterNode, UnregisterNode, ListNodes), `proto/node.proto` (NodeInfo).
"""

from __future__ import annotations

from fedid.adapters.superlink.wire import MalformedMessageError, fields, length_delimited, varint_field
from fedid.domain.super_node import NodeRecord

__all__ = ["listed_nodes", "register_request", "registered_node", "unregister_request"]


def register_request(public_key: bytes, name: str) -> bytes:
    """Return a `RegisterNodeRequest`: public_key = 1, name = 3."""
    return length_delimited(1, public_key) + length_delimited(3, name.encode())


def registered_node(message: bytes) -> int:
    """Return the node id of a `RegisterNodeResponse`: node_id = 1.

    Raises:
        MalformedMessageError: There is none; a SuperLink answers 0 when it failed to make one.
    """
    node_id = _number(_last(message), 1)
    if not node_id:
        text = "no node id"
        raise MalformedMessageError(text)
    return node_id


def unregister_request(node_id: int) -> bytes:
    """Return an `UnregisterNodeRequest`: node_id = 1."""
    return varint_field(1, node_id)


def listed_nodes(message: bytes) -> tuple[NodeRecord, ...]:
    """Return the nodes of a `ListNodesResponse`: nodes_info = 1.

    Raises:
        MalformedMessageError: It is none.
    """
    return tuple(_node(value) for number, value in fields(message) if number == 1)


def _node(value: int | bytes) -> NodeRecord:
    """Return one `NodeInfo`: node_id = 1, owner_aid = 2, status = 4, public_key = 11, name = 13."""
    told = _last(_bytes(value))
    return NodeRecord(
        node_id=_number(told, 1),
        public_key=_bytes(told.get(11, b"")),
        status=_text(told, 4),
        name=_text(told, 13),
        owner=_text(told, 2),
    )


def _last(message: bytes) -> dict[int, int | bytes]:
    """Return the fields that are no list: of one that comes twice the last counts."""
    return dict(fields(message))


def _number(told: dict[int, int | bytes], number: int) -> int:
    value = told.get(number, 0)
    if not isinstance(value, int):
        text = f"field {number} is no number"
        raise MalformedMessageError(text)
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        text = "a number where bytes belong"
        raise MalformedMessageError(text)
    return value


def _text(told: dict[int, int | bytes], number: int) -> str:
    try:
        return _bytes(told.get(number, b"")).decode()
    except UnicodeDecodeError as error:
        text = f"field {number} is no text"
        raise MalformedMessageError(text) from error
