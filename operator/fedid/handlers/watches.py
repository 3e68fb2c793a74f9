"""All registrations in one place: what is watched, and whom a change wakes."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf

from fedid.app import Operator
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import (
    IDENTITY_APPROVAL,
    PLURALS,
    POD_IDENTITY,
    WATCHED,
)
from fedid.engine import Priority
from fedid.reconcile.directory import key_of
from fedid.reconcile.news import gone, learned

__all__ = ["kopf_registry", "kopf_settings"]

_PART_OF = "fedid.io/part-of"


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: watch only, with bounded requests and without writes of its own."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    # Endless, since a watch that gives up would leave the operator deaf.
    settings.networking.error_backoffs = _Backoffs()
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.label_selectors["secrets"] = _PART_OF
    # Else it ends the process some time after it gave up.
    settings.process.ultimate_exiting_timeout = None
    # kopf strips its own finalizer from every object of an operator without kopf handlers: keep it unlike ours.
    settings.persistence.finalizer = "kopf.fedid.io/unused"
    return settings


def kopf_registry(operator: Operator, home: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
    """Return the handlers: each hands what it was told over to `home`, the loop in which the operator works."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)  # type: ignore[untyped-decorator,unused-ignore]
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(
            server=operator.access.server,
            aiohttp_session=operator.access.open_session(),
            default_namespace=operator.settings.namespace,
        )

    for kind in WATCHED:
        _watch_kind(registry, operator, home, kind)

    @kopf.on.event("", "v1", "secrets", labels={_PART_OF: kopf.PRESENT}, registry=registry)
    async def secret_changed(event: kopf.RawEvent, **_: Any) -> None:
        home.call_soon_threadsafe(_secret_changed, operator, event["type"], event["object"])

    @kopf.on.event("", "v1", "namespaces", registry=registry)
    async def namespace_changed(event: kopf.RawEvent, **_: Any) -> None:
        home.call_soon_threadsafe(_namespace_changed, operator, event["type"], event["object"])

    return registry


def _watch_kind(
    registry: kopf.OperatorRegistry, operator: Operator, home: asyncio.AbstractEventLoop, kind: str
) -> None:
    @kopf.on.event("fedid.io", "v1alpha1", PLURALS[kind], id=kind, registry=registry)
    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        told = _approval_changed if kind == IDENTITY_APPROVAL else _object_changed
        home.call_soon_threadsafe(told, operator, event["type"], {**event["object"], "kind": kind})


def _object_changed(operator: Operator, change: str | None, body: dict[str, Any]) -> None:
    if change == "DELETED":
        gone(operator.world, body)
    else:
        learned(operator.world, body)


def _approval_changed(operator: Operator, change: str | None, body: dict[str, Any]) -> None:
    """Wake the identity that an approval names: nothing else follows from one, and it has no pass of its own."""
    directory = operator.world.directory
    if change == "DELETED":
        directory.remove(key_of(body), body["metadata"].get("uid"))
    elif not directory.put(body):
        return
    operator.approval_news(body)


def _secret_changed(operator: Operator, change: str | None, body: Any) -> None:
    metadata = body["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    directory = operator.world.directory
    if change != "DELETED" and directory.is_own_secret_write(namespace, name, metadata["resourceVersion"]):
        return
    if change == "DELETED":
        directory.forget_secret(namespace, name)
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("kind") == POD_IDENTITY:
            key = ObjectKey(POD_IDENTITY, namespace, reference["name"])
            if directory.get(key) is not None:
                operator.news(key, Priority.CHANGE if change is not None else Priority.DRIFT)


def _namespace_changed(operator: Operator, change: str | None, body: Any) -> None:
    directory = operator.world.directory
    body = {**body, "kind": "Namespace"}
    key = key_of(body)
    before = directory.namespace_labels(key.name)
    if change == "DELETED":
        directory.remove(key, body["metadata"].get("uid"))
    else:
        directory.put(body)
    if directory.namespace_labels(key.name) != before:
        for identity in directory.identities_in(key.name):
            operator.news(identity, Priority.CHANGE)


class _Backoffs:
    """Seconds between attempts of kopf's own requests: quick at first, then every ten, for ever."""

    def __iter__(self) -> Any:
        yield from (0.2, 0.5, 1, 2, 5)
        while True:
            yield 10
