"""What the watches have told so far: the newest body of every custom resource, and the labels of namespaces."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from fedid.domain.approval import identity_in
from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.pod_identity import SERVER
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, IDENTITY_APPROVAL, KINDS, POD_IDENTITY, Body
from fedid.reconcile.exposure import Exposure

__all__ = ["Directory", "key_of"]

_NAMESPACE = "Namespace"
_T = TypeVar("_T")


def key_of(body: Body) -> ObjectKey:
    """Return which object a body is of."""
    metadata = body["metadata"]
    return ObjectKey(body["kind"], metadata.get("namespace") or "", metadata["name"])


class Directory:
    """The operator's memory of the cluster, fed by watches, listings and the answers to our own writes."""

    def __init__(self) -> None:
        """Start empty."""
        self._bodies: dict[ObjectKey, Body] = {}
        self._pods_by_bot: defaultdict[ObjectKey, set[ObjectKey]] = defaultdict(set)
        self._servers: set[ObjectKey] = set()
        self._super_nodes: set[ObjectKey] = set()
        self._approvals: defaultdict[str, set[ObjectKey]] = defaultdict(set)
        """By the uid of the identity that they name."""
        self._by_namespace: defaultdict[str, set[ObjectKey]] = defaultdict(set)
        """Identities, by namespace."""
        self._secret_versions: dict[tuple[str, str], str] = {}
        # Kept as bodies come and go: to count ten thousand at each scrape would hold up the loop for 20 ms.
        self._readiness: Counter[tuple[str, str, str]] = Counter()
        self.exposure = Exposure()
        """The worst that the statuses tell."""

    def put(self, body: Body) -> bool:
        """Remember a body; False if what is known is as new or newer, so there is nothing to do.

        Source: Kubernetes API concepts, "Resource versions": comparable as integers from 1.35 on; in etcd-backed
        servers always.
        """
        key = key_of(body)
        known = self._bodies.get(key)
        if known is not None and not _newer(body, known):
            return False
        self._unlink(known)
        self._bodies[key] = _without_managed_fields(body)
        if key.kind in KINDS:
            self._readiness[_readiness(body)] += 1
            self.exposure.add(key, body)
        if key.kind == IDENTITY_APPROVAL:
            self._approvals[identity_in(body)[1]].add(key)
        if key.kind == POD_IDENTITY:
            if _is_server(body):
                self._servers.add(key)
            else:
                self._pods_by_bot[_bot_of(body)].add(key)
            if _is_super_node(body):
                self._super_nodes.add(key)
        if self._is_identity(key):
            self._by_namespace[key.namespace].add(key)
        return True

    def remove(self, key: ObjectKey, uid: str | None = None) -> None:
        """Forget an object, unless another uid has taken the name meanwhile."""
        known = self._bodies.get(key)
        if known is None or (uid is not None and known["metadata"]["uid"] != uid):
            return
        self._unlink(known)
        del self._bodies[key]

    def get(self, key: ObjectKey) -> Body | None:
        """Return the newest known body."""
        return self._bodies.get(key)

    def keys(self, kind: str) -> list[ObjectKey]:
        """Return all known objects of a kind."""
        return [key for key in self._bodies if key.kind == kind]

    def bodies(self) -> list[Body]:
        """Return everything that is known; nobody ever changes a body in place."""
        return list(self._bodies.values())

    def federations(self) -> list[Body]:
        """Return all Federations."""
        return [self._bodies[key] for key in self.keys(FEDERATION)]

    def readiness(self) -> Counter[tuple[str, str, str]]:
        """Return how many objects of each kind have which status and reason of `Ready`; `Unknown`, `None` before it."""
        return +self._readiness

    def pods_of_bot(self, bot: ObjectKey) -> AbstractSet[ObjectKey]:
        """Return the PodIdentities that mount a bot: a set that is gone through in the order of names."""
        return dict.fromkeys(sorted(self._pods_by_bot.get(bot, ()))).keys()

    def servers(self) -> list[Body]:
        """Return the PodIdentities of servers."""
        return [self._bodies[key] for key in sorted(self._servers)]

    def identities_of(self, federation: str) -> list[ObjectKey]:
        """Return bots, users, servers and SuperNodes that name the Federation, or are or may be pinned to it."""
        return [
            key
            for key, body in self._bodies.items()
            if self._is_identity(key) and _federation_of(body) in {federation, None}
        ]

    def identities_in(self, namespace: str) -> list[ObjectKey]:
        """Return bots, users, servers and SuperNodes of a namespace."""
        return sorted(self._by_namespace.get(namespace, ()))

    def approvals_of(self, uid: str) -> list[Body]:
        """Return the approvals of the identity with this uid."""
        return [self._bodies[key] for key in sorted(self._approvals.get(uid, ()))]

    def knows_namespace(self, namespace: str) -> bool:
        """Tell whether a namespace was seen; the first objects of a new one may be seen before it."""
        return ObjectKey(_NAMESPACE, "", namespace) in self._bodies

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace; none if it is not known."""
        body = self._bodies.get(ObjectKey(_NAMESPACE, "", namespace))
        return (body["metadata"].get("labels") or {}) if body is not None else {}

    def wrote_secret(self, namespace: str, name: str, resource_version: str | None) -> None:
        """Remember our own write of a Secret, so that its echo on the watch is no news."""
        if resource_version is not None:
            self._secret_versions[namespace, name] = resource_version

    def is_own_secret_write(self, namespace: str, name: str, resource_version: str) -> bool:
        """Tell whether this version of a Secret is one that we wrote last."""
        return self._secret_versions.get((namespace, name)) == resource_version

    def forget_secret(self, namespace: str, name: str) -> None:
        """Forget a Secret that is gone."""
        self._secret_versions.pop((namespace, name), None)

    def replace_all(
        self, kind: str, bodies: Iterable[Body], known_before: Iterable[ObjectKey] | None = None
    ) -> list[ObjectKey]:
        """Take over a fresh listing of a kind; return the keys that are news: new, newer or gone.

        `known_before` is what was known when the listing was asked for (None: what is known now): what a watch told
        while it was on its way is not gone because the listing is older.
        """
        listed = {key_of(body): body for body in bodies}
        candidates = self.keys(kind) if known_before is None else list(known_before)
        news = [key for key, body in listed.items() if self.put(body)]
        gone = [key for key in candidates if key not in listed and key in self._bodies]
        for key in gone:
            self.remove(key)
        return news + gone

    def _is_identity(self, key: ObjectKey) -> bool:
        return key.kind in {BOT_CLIENT, FEDERATION_USER} or key in self._servers or key in self._super_nodes

    def _unlink(self, body: Body | None) -> None:
        if body is None:
            return
        if body["kind"] == IDENTITY_APPROVAL:
            _discard(self._approvals, identity_in(body)[1], key_of(body))
        if body["kind"] not in KINDS:
            return
        self._readiness[_readiness(body)] -= 1
        self.exposure.discard(key_of(body))
        _discard(self._by_namespace, key_of(body).namespace, key_of(body))
        if body["kind"] == POD_IDENTITY:
            self._servers.discard(key_of(body))
            self._super_nodes.discard(key_of(body))
            _discard(self._pods_by_bot, _bot_of(body), key_of(body))


def _discard(index: defaultdict[_T, set[ObjectKey]], of: _T, key: ObjectKey) -> None:
    """Take a key out of an index, and what is empty then as well."""
    index[of].discard(key)
    if not index[of]:
        del index[of]


def _bot_of(pod_identity: Body) -> ObjectKey:
    reference = (pod_identity.get("spec") or {}).get("botClientRef") or {}
    namespace = reference.get("namespace") or pod_identity["metadata"]["namespace"]
    return ObjectKey(BOT_CLIENT, namespace, reference.get("name") or "")


def _is_server(pod_identity: Body) -> bool:
    return (pod_identity.get("spec") or {}).get("role") == SERVER


def _is_super_node(pod_identity: Body) -> bool:
    """Tell whether a SuperNode is wanted, which has grants to wait for, or may be registered."""
    platform = (pod_identity.get("spec") or {}).get("platform") or {}
    return "superNode" in (platform.get("flower") or {}) or bool(_registered(pod_identity))


def _registered(pod_identity: Body) -> Mapping[str, Any]:
    return (pod_identity.get("status") or {}).get("superNode") or {}


def _federation_of(body: Body) -> str | None:
    spec, status = body.get("spec") or {}, body.get("status") or {}
    named = (spec.get("federationRef") or {}).get("name")
    made = _registered(body).get("federation") or (status.get("openFga") or {}).get("federation")
    return named or status.get("federation") or made


def _readiness(body: Body) -> tuple[str, str, str]:
    condition = condition_of((body.get("status") or {}).get("conditions") or (), ConditionType.READY)
    said = ("Unknown", "None") if condition is None else (condition["status"], condition["reason"])
    return body["kind"], *said


def _newer(body: Body, known: Body) -> bool:
    try:
        return int(body["metadata"]["resourceVersion"]) > int(known["metadata"]["resourceVersion"])
    except (KeyError, ValueError):
        return True


def _without_managed_fields(body: Body) -> dict[str, Any]:
    """Return the body without what only server-side apply needs: often half of its size."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata}
