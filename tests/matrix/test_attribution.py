"""Requests at a SuperLink are told apart by the node that they are about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fedid.adapters.superlink.messages import register_request, unregister_request
from fedid.domain.naming import ObjectKey
from fedid.domain.super_node import NodeRecord, NodeStatus, node_name
from tests.matrix.attribution import Attribution, Call
from tests.testbed.faults import Spoken


@dataclass
class Lists:
    """A SuperLink that says what it has, and counts how often it was asked."""

    has: dict[int, str] = field(default_factory=dict)
    """Name of a PodIdentity in `here` by id."""
    asked: int = 0

    def nodes(self) -> tuple[NodeRecord, ...]:
        """Return all of them."""
        self.asked += 1
        return tuple(NodeRecord(i, b"", NodeStatus.ONLINE, of("here", name)) for i, name in self.has.items())


def of(namespace: str, name: str) -> str:
    """Return the name under which a PodIdentity's node is registered."""
    return node_name(ObjectKey("PodIdentity", namespace, name), "installation/uid")


def attribution(link: Any) -> Attribution:
    """Return one that knows two objects."""
    return Attribution(None, "here", {"one", "two"}, link)  # type: ignore[arg-type]


def call(at: Attribution, what: str, message: bytes) -> Call | None:
    """Return what a request is taken for."""
    return at.of("superlink", Spoken("POST", f"/v1/control/{what}", {}, message, b""))


def test_a_registration_is_of_whom_it_names() -> None:
    """Of this namespace, and of none but the known."""
    at = attribution(Lists())
    told = call(at, "register-node", register_request(b"key", of("here", "one")))
    assert told == Call("one", "POST control/register-node", effect=True)
    assert call(at, "register-node", register_request(b"key", of("there", "one"))) is None
    assert call(at, "register-node", register_request(b"key", of("here", "three"))) is None


def test_an_end_is_of_whom_the_superlink_lists_it_for() -> None:
    """It is asked once for all of them."""
    at = attribution(link := Lists({7: "two", 8: "one", 9: "three"}))
    named = [getattr(call(at, "unregister-node", unregister_request(i)), "name", None) for i in (8, 7, 9)]
    assert (named, link.asked) == (["one", "two", None], 1)
    link.has[10] = "two"
    assert call(at, "unregister-node", unregister_request(10)) == Call("two", "POST control/unregister-node", True)


def test_a_listing_is_about_nobody() -> None:
    """All of them are in it."""
    assert call(attribution(Lists()), "list-nodes", b"") is None
