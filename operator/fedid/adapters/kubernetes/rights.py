"""What the operator asks of the API server, as rights: the chart's roles give exactly these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from fedid.adapters.kubernetes.addresses import WORKLOADS
from fedid.adapters.kubernetes.installation import CONFIG_MAP
from fedid.adapters.kubernetes.lease import LEASE
from fedid.domain.resources import IDENTITY_APPROVAL, KINDS, PLURALS, REVOCATION_RECEIPT

__all__ = ["Right", "needed_rights"]

_GROUP = "fedid.io"
_COORDINATION = "coordination.k8s.io"
_TENANT = {
    "secrets": ("get", "list", "watch", "create", "update", "delete"),
    "pods": ("list", "patch"),
    "events": ("create",),
}
"""In each namespace that is served."""
_APPS = {**dict.fromkeys(WORKLOADS.values(), ("get", "patch")), "replicasets": ("get",)}
"""There too: to restart what reads its credential at its start only."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource."""

    verb: str
    resource: str
    """Plural; a subresource after a slash."""
    group: str = ""
    namespace: str = ""
    """Empty: in the whole cluster."""
    name: str = ""
    """Empty: any."""

    def __str__(self) -> str:
        """Return `<verb> <resource>[.<group>][ <name>][ in namespace <namespace>]`."""
        name = f" {self.name}" if self.name else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}{name}{where}"


def needed_rights(
    namespace: str, watch_namespaces: Iterable[str], access_secrets: Iterable[str] = ()
) -> tuple[Right, ...]:
    """Return every right that the operator uses.

    Args:
        namespace: Its own.
        watch_namespaces: That it serves; empty: all.
        access_secrets: Names of the Secrets of its own namespace that Federations name.
    """
    watched = tuple(watch_namespaces)
    tenants = chain.from_iterable(_tenant_rights(one) for one in watched or ("",))
    # Events about a Federation, which lies in no namespace, are written to `default`.
    events = (Right("create", "events", namespace="default"),) if watched else ()
    own = _own_namespace(namespace, access_secrets)
    return tuple(dict.fromkeys((*_our_kinds(), *own, *tenants, *events)))


def _our_kinds() -> Iterable[Right]:
    for kind in KINDS:
        yield from (Right(verb, PLURALS[kind], _GROUP) for verb in ("get", "list", "watch", "patch"))
        yield Right("patch", f"{PLURALS[kind]}/status", _GROUP)
    yield from (Right(verb, PLURALS[IDENTITY_APPROVAL], _GROUP) for verb in ("get", "list", "watch"))
    # Listed to delete the oldest; nothing is decided by them, so they are not watched.
    yield from (Right(verb, PLURALS[REVOCATION_RECEIPT], _GROUP) for verb in ("create", "list", "delete"))
    yield from (Right(verb, "namespaces") for verb in ("get", "list", "watch"))


def _own_namespace(namespace: str, access_secrets: Iterable[str]) -> Iterable[Right]:
    yield Right("create", "configmaps", namespace=namespace)
    yield from (Right(verb, "configmaps", namespace=namespace, name=CONFIG_MAP) for verb in ("get", "patch"))
    yield Right("create", "leases", _COORDINATION, namespace)
    yield from (Right(verb, "leases", _COORDINATION, namespace, LEASE) for verb in ("get", "patch"))
    yield from (Right("get", "secrets", namespace=namespace, name=name) for name in access_secrets)


def _tenant_rights(namespace: str) -> Iterable[Right]:
    for group, rules in (("", _TENANT), ("apps", _APPS)):
        yield from (Right(verb, resource, group, namespace) for resource, verbs in rules.items() for verb in verbs)
