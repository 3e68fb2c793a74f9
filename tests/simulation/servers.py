"""Keycloak, Vault and the API server: the fakes, with a memory of what they gave out, and with watches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from fedid.domain.naming import ObjectKey
from fedid.domain.realm import ClientRecord
from fedid.domain.resources import WATCHED
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from fedid.engine import LeaseRecord
from tests.fakes.cluster import FakeCluster
from tests.fakes.realm import FakeRealm
from tests.fakes.secret_store import FakeSecretStore
from tests.simulation.super_link import SuperLink
from tests.simulation.timeline import Timeline

WatchEvent = tuple[str, str | None, dict[str, Any]]
"""Kind, what happened (None: it was there when the watch began), and the object."""

_PART_OF = "fedid.io/part-of"
_TOLD = {*WATCHED, "Namespace"}


class RememberingRealm(FakeRealm):
    """A realm that remembers for which owner mark it issued each token."""

    def __init__(self, timeline: Timeline) -> None:
        """Start with an empty realm whose clock is right."""
        super().__init__(now=timeline.true_time)
        self.issued_to: dict[str, str | None] = {}
        """Owner mark of the client at the time, by token."""

    def issue(self, client: ClientRecord, scopes: frozenset[str] = frozenset()) -> Sensitive:
        """Issue a token and remember to whom."""
        token = super().issue(client, scopes)
        self.issued_to[token.reveal()] = client.owner
        return token


class WatchedCluster(FakeCluster):
    """A cluster that tells all its watches of every change, Secrets included."""

    def __init__(self, timeline: Timeline) -> None:
        """Start without watches."""
        super().__init__(now=timeline.true_time)
        self._timeline = timeline
        self.watches: list[Callable[[WatchEvent], None]] = []
        self.lease: LeaseRecord | None = None
        self._leases = 0
        self.on_change = self._body_changed

    def snapshot(self) -> list[WatchEvent]:
        """Return what a watch is told when it begins."""
        bodies = [(key.kind, None, copy.deepcopy(body)) for key, body in self.bodies.items() if key.kind in _TOLD]
        return [*bodies, *(("Secret", None, _secret_body(one)) for one in self.secrets.values() if _is_ours(one))]

    def put_secret_by_hand(self, secret: MountedSecret) -> MountedSecret:
        """Store a Secret and tell of it."""
        known = (secret.namespace, secret.name) in self.secrets
        stored = super().put_secret_by_hand(secret)
        self._secret_changed("MODIFIED" if known else "ADDED", stored)
        return stored

    async def delete_secret(self, namespace: str, name: str, uid: str) -> None:
        """Delete a Secret and tell of it."""
        before = self.secrets.get((namespace, name))
        await super().delete_secret(namespace, name, uid)
        if before is not None and (namespace, name) not in self.secrets:
            self._secret_changed("DELETED", before)

    def delete_secret_by_hand(self, namespace: str, name: str) -> None:
        """Delete a Secret as a person would."""
        self._secret_changed("DELETED", self.secrets.pop((namespace, name)))

    def collect_garbage(self) -> None:
        """Delete Secrets whose owner is gone, and tell of it."""
        before = dict(self.secrets)
        super().collect_garbage()
        for key, secret in before.items():
            if key not in self.secrets:
                self._secret_changed("DELETED", secret)

    async def read_lease(self) -> LeaseRecord | None:
        """Return the Lease."""
        return self.lease

    async def write_lease(self, holder: str, duration_seconds: float, over: LeaseRecord | None) -> LeaseRecord | None:
        """Put a Lease in the place of that one; None if it is another by now."""
        if (over.version if over else None) != (self.lease.version if self.lease else None):
            return None
        self._leases += 1
        self.lease = LeaseRecord(holder, duration_seconds, str(self._leases))
        return self.lease

    def _body_changed(self, body: dict[str, Any], gone: bool) -> None:  # noqa: FBT001 - the fake's listener
        kind = body["kind"]
        if kind in _TOLD:
            self._tell((kind, "DELETED" if gone else "MODIFIED", body))
        if gone:
            self._timeline.after(1.0, self.collect_garbage)

    def _secret_changed(self, change: str, secret: MountedSecret) -> None:
        if _is_ours(secret):
            self._tell(("Secret", change, _secret_body(secret)))

    def _tell(self, event: WatchEvent) -> None:
        for watch in self.watches:
            watch(event)


class Servers:
    """All that outlives every process."""

    def __init__(self, timeline: Timeline) -> None:
        """Start empty."""
        self.timeline = timeline
        self.realm = RememberingRealm(timeline)
        self.store = FakeSecretStore(now=timeline.true_time)
        self.cluster = WatchedCluster(timeline)
        self.super_link = SuperLink()
        self.approved: set[str] = set()
        """uids of the identities that anybody ever approved."""
        self.pace: Mapping[str, Any] = {}
        """What the Federation's spec says about how often to look."""

    def uid_of(self, key: ObjectKey) -> str | None:
        """Return the uid of the object of that name."""
        body = self.cluster.bodies.get(key)
        return None if body is None else str(body["metadata"]["uid"])

    def listed(self, server: str) -> set[str]:
        """Return the opaque tokens that the Secret of a server lists."""
        namespace, name = server.split("/")
        secret = self.cluster.secrets.get((namespace, name))
        return set(secret.data["tokens"].reveal().split()) if secret is not None else set()

    def mark(self, uid: str) -> str:
        """Return the owner mark of an object."""
        return f"{self.cluster.installation}/{uid}"


def _is_ours(secret: MountedSecret) -> bool:
    return _PART_OF in secret.labels


def _secret_body(secret: MountedSecret) -> dict[str, Any]:
    """Return a Secret as far as the watch looks at it."""
    owner: list[Mapping[str, Any]] = []
    if secret.owner_uid is not None:
        owner = [{"kind": "PodIdentity", "name": secret.owner_name, "uid": secret.owner_uid, "controller": True}]
    metadata = {
        "namespace": secret.namespace,
        "name": secret.name,
        "uid": secret.uid,
        "resourceVersion": secret.resource_version,
        "labels": dict(secret.labels),
        "ownerReferences": owner,
    }
    return {"kind": "Secret", "apiVersion": "v1", "metadata": metadata}
