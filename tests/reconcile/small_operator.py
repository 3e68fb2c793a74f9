"""The reconcilers on the fakes, in a time that is moved by hand: passes run one after the other, none in between."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import SystemRandom
from secrets import choice as secret_choice
from secrets import token_hex
from typing import Any

from fedid.adapters.metrics import Metrics
from fedid.adapters.node_keys import new_node_key, readable_node_key
from fedid.adapters.signing_keys import new_signing_key, readable_key
from fedid.domain.access import KeycloakAccess, KeycloakCredentials, VaultAccess, VaultCredentials
from fedid.domain.approval import identity_in
from fedid.domain.initial_password import make_password
from fedid.domain.naming import ObjectKey
from fedid.domain.openfga import OpenFgaAccess
from fedid.domain.resources import BOT_CLIENT, FEDERATION, IDENTITY_APPROVAL, POD_IDENTITY, WATCHED
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from fedid.domain.super_node import SuperLinkAccess
from fedid.engine import Priority
from fedid.errors import Error
from fedid.reconcile import news
from fedid.reconcile.audit import Audit
from fedid.reconcile.directory import Directory
from fedid.reconcile.dispatch import Dispatch, retry_for
from fedid.reconcile.world import World
from tests.fakes.cluster import OPERATOR_NAMESPACE, ClusterCall, FakeCluster
from tests.fakes.identity_provider import FakeIdentityProvider
from tests.fakes.node_registry import FakeNodeRegistry
from tests.fakes.secret_store import FakeSecretStore
from tests.fakes.sidecars import FakeSidecars
from tests.fakes.tuple_store import FakeTupleStore

NAMESPACE = "site-a"
OPERATOR_SUBJECT = "system:serviceaccount:fedid-system:fedid"
_STEPS = 1000
"""More passes than any test needs: one that goes round in circles ends."""


class Clock:
    """Both of the operator's clocks, and those of the fakes."""

    def __init__(self) -> None:
        """Start at noon."""
        self.seconds = 0.0

    def now(self) -> datetime:
        """Return the wall clock."""
        return datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Return seconds since the start."""
        return self.seconds


class SmallOperator:
    """Everything that outlives a process: cluster, realm, mount; and one process at a time."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Start with a Federation that grants everything to one namespace."""
        self.clock = clock or Clock()
        self.cluster = FakeCluster(now=self.clock.now)
        self.provider = FakeIdentityProvider(now=self.clock.now)
        self.store = FakeSecretStore(now=self.clock.now)
        self.super_links: dict[str, FakeNodeRegistry] = {}
        """By URL."""
        self.tuples = FakeTupleStore()
        self.meter = Metrics()
        self.sidecars = FakeSidecars()
        self.audited: list[Mapping[str, Any]] = []
        """Every line of the audit, in order."""
        self.cluster.add_namespace(NAMESPACE)
        access = {"client-id": Sensitive("fedid"), "client-secret": Sensitive("s")}
        self.cluster.put_secret_by_hand(MountedSecret(OPERATOR_NAMESPACE, "fedid-keycloak", "Opaque", access))
        auth = {"clientCredentials": {"secretName": "fedid-keycloak"}}
        keycloak = {"url": "https://keycloak", "realm": "fl", "auth": auth, "issuerUrl": self.provider.realm.issuer_url}
        keycloak["assertionProvider"] = "cluster"
        vault = {"url": "https://vault", "auth": {"jwt": {"role": "fedid"}}}
        grants = [{"namespaces": {"names": [NAMESPACE]}}]
        spec = {"default": True, "keycloak": keycloak, "vault": vault, "grants": grants}
        self.cluster.apply(FEDERATION, None, "local", spec)
        self.restart()

    def restart(self) -> None:
        """Begin anew with nothing in memory, and a pass over everything."""
        self.due: dict[ObjectKey, float] = {}
        directory = Directory()
        secrets = (Sensitive(f"fbs_{number}") for number in itertools.count(len(self.cluster.calls)))
        self.world = World(
            cluster=self.cluster,
            clock=self.clock,
            factory=self,
            directory=directory,
            wake=self._wake,
            installation_id="i",
            fresh_secret=lambda: next(secrets),
            fresh_token=lambda: Sensitive(token_hex(32)),
            fresh_password=lambda policy, username, email: make_password(
                policy, username, email, choose=secret_choice, shuffle=SystemRandom().shuffle
            ),
            fresh_key=new_signing_key,
            read_key=readable_key,
            fresh_node_key=new_node_key,
            read_node_key=readable_node_key,
            own_subject=lambda: OPERATOR_SUBJECT,
            audit=Audit(lambda _, line: self.audited.append(line), directory),
            meter=self.meter,
            sidecars=self.sidecars,
        )
        self.dispatch = Dispatch(self.world)
        self.cluster.on_change = None
        for body in sorted(self.cluster.bodies.values(), key=lambda one: one["kind"] != IDENTITY_APPROVAL):
            self._seen(body, gone=False, look=not body.get("status"))
        self.cluster.on_change = lambda body, gone: self._seen(body, gone=gone)

    def identity_provider(self, _access: KeycloakAccess, _credentials: KeycloakCredentials) -> FakeIdentityProvider:
        """Return the realm."""
        return self.provider

    def secret_store(self, _access: VaultAccess, _credentials: VaultCredentials) -> FakeSecretStore:
        """Return the mount."""
        return self.store

    def node_registry(self, access: SuperLinkAccess) -> FakeNodeRegistry:
        """Return the SuperLink of that URL."""
        return self.super_links.setdefault(access.url, FakeNodeRegistry())

    def tuple_store(self, _access: OpenFgaAccess, _key: Sensitive | None) -> FakeTupleStore:
        """Return the store of OpenFGA."""
        return self.tuples

    async def settle(self) -> None:
        """Run every pass that is due now, and those that it makes due."""
        for _ in range(_STEPS):
            key = next((key for key, at in self.due.items() if at <= self.clock.seconds), None)
            if key is None:
                return
            del self.due[key]
            await self._pass(key)
        message = f"it never settles: {self.due}"
        raise AssertionError(message)

    async def advance(self, seconds: float) -> None:
        """Let time go by, every pass at its instant."""
        end = self.clock.seconds + seconds
        await self.settle()
        while (at := min(self.due.values(), default=end + 1)) <= end:
            self.clock.seconds = max(at, self.clock.seconds)
            await self.settle()
        self.clock.seconds = end

    async def look(self) -> None:
        """Run one pass over every object."""
        for key in self.world.directory.keys(FEDERATION) + self.identities():
            self._wake(key)
        await self.settle()

    def identities(self) -> list[ObjectKey]:
        """Return the bots and the pod identities."""
        return self.world.directory.keys(BOT_CLIENT) + self.world.directory.keys(POD_IDENTITY)

    def writes(self) -> list[ClusterCall]:
        """Return the writes to the cluster, a Federation's count of its identities left out: that follows later."""
        return [call for call in self.cluster.writes if not call.target.startswith(f"{FEDERATION}/")]

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object's status."""
        return self.cluster.bodies[ObjectKey(kind, NAMESPACE, name)].get("status") or {}

    async def _pass(self, key: ObjectKey) -> None:
        try:
            outcome = await self.dispatch(key, Priority.CHANGE)
        except Error as error:
            self._wake(key, at=self.clock.seconds + (retry_for(error).after_seconds or 1.0))
            return
        if outcome.requeue_at is not None:
            self._wake(key, at=outcome.requeue_at)

    def _wake(
        self, key: ObjectKey, _priority: Priority = Priority.CHANGE, *, look: bool = True, at: float | None = None
    ) -> None:
        if look and at is None:
            self.world.freshness.expire(key)
        instant = self.clock.seconds if at is None else at
        self.due[key] = min(instant, self.due.get(key, instant))

    def _seen(self, body: dict[str, Any], *, gone: bool, look: bool = True) -> None:
        """Be the watches, as far as these tests need them: what is ours is looked at when its spec changes."""
        key = ObjectKey(body["kind"], body["metadata"].get("namespace") or "", body["metadata"]["name"])
        if key.kind not in {*WATCHED, "Namespace"}:
            return
        directory = self.world.directory
        if look and key.kind not in {IDENTITY_APPROVAL, "Namespace"}:
            (news.gone if gone else news.learned)(self.world, body)
            return
        if gone:
            directory.remove(key)
        elif not directory.put(body):
            return
        if key.kind == IDENTITY_APPROVAL:
            key = identity_in(body)[0]
        if key.kind != "Namespace":
            self._wake(key, look=look)
        for pod in directory.pods_of_bot(key):
            self._wake(pod)
