"""What follows from an object that changed, whoever tells of it: a watch, or the answer to a write of our own.

A person may change an object between our last look and our write of its status. The answer holds that change, and is
newer than what the watch has yet to tell of it: whoever only remembered the answer would never look at the change.
"""

from __future__ import annotations

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, POD_IDENTITY, Body, meta_of
from fedid.engine import Priority
from fedid.reconcile.directory import key_of
from fedid.reconcile.world import World

__all__ = ["gone", "learned"]

_OURS = frozenset({"resourceVersion", "managedFields", "finalizers"})
"""Metadata that we write; statuses are ours, too. A finalizer of ours that a hand took off has to come back, though."""
_HELD_FOR = ("oidcClient", "superNode")
"""What the status of a PodIdentity tells of that the finalizer is held for; other ones of it do without."""


def learned(world: World, body: Body) -> None:
    """Remember a version of an object, and ask for the passes that follow if it asks for something else than before.

    The echo of our own write may come before its answer, and must not cause a pass.
    """
    key = key_of(body)
    before = world.directory.get(key)
    if not world.directory.put(body):
        return  # the echo of our own write, or older
    if before is not None and _asks_the_same(before, body):
        return
    deleting = "deletionTimestamp" in body["metadata"]
    withdrawn = deleting or (body.get("spec") or {}).get("suspend") is True
    world.wake(key, Priority.DELETION if withdrawn else Priority.CHANGE)
    if before is None or deleting or _is_default(before) != _is_default(body):
        _wake_dependents(world, key)


def gone(world: World, body: Body) -> None:
    """Forget an object that is gone, and ask for the passes that follow."""
    key = key_of(body)
    world.directory.remove(key, body["metadata"].get("uid"))
    _wake_dependents(world, key)
    world.wake(key, Priority.CHANGE)


def _wake_dependents(world: World, key: ObjectKey) -> None:
    directory = world.directory
    for pod in directory.pods_of_bot(key):
        world.wake(pod, Priority.DELETION)
    if key.kind in {BOT_CLIENT, FEDERATION_USER, POD_IDENTITY}:
        # Federations that wait to go: one identity fewer may need them.
        for body in directory.federations():
            if "deletionTimestamp" in body["metadata"]:
                world.wake(key_of(body), Priority.CHANGE)
    if key.kind == FEDERATION:
        for other in directory.federations():  # another default may have come or gone
            if key_of(other) != key:
                world.wake(key_of(other), Priority.CHANGE)
        for identity in directory.identities_of(key.name):
            world.wake(identity, Priority.DRIFT)


def _is_default(body: Body) -> bool:
    """Tell whether it is a Federation that claims those who name none; another claim changes the others' as well."""
    return body["kind"] == FEDERATION and bool((body.get("spec") or {}).get("default"))


def _asks_the_same(before: Body, after: Body) -> bool:
    """Tell whether nothing that a person asks with differs."""
    if before.get("spec") != after.get("spec") or _is_let_go_by_hand(before, after):
        return False
    return _asked_in(before["metadata"]) == _asked_in(after["metadata"])


def _is_let_go_by_hand(before: Body, after: Body) -> bool:
    """Tell whether a hand took the finalizer off an object that stays: it could go without its end being proven.

    We take it off one that stays only in the course of a withdrawal, or once its status tells of nothing any more.
    """
    left, status = meta_of(after), after.get("status") or {}
    if not meta_of(before).has_finalizer or left.has_finalizer or left.deleting or status.get("revocation"):
        return False
    return after["kind"] != POD_IDENTITY or any(status.get(name) for name in _HELD_FOR)


def _asked_in(metadata: Body) -> dict[str, object]:
    return {name: value for name, value in metadata.items() if name not in _OURS}
