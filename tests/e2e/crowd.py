"""Fifty identities in one namespace: made, changed and deleted together, and compared with what there is at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.e2e.authority import Authority, claims_of
from tests.e2e.estate import estate_of, expected_estate
from tests.e2e.tenancy import Tenant, bot, pod_identity, unique, user
from tests.e2e.waiting import eventually

PATIENCE_SECONDS = 240.0
"""For fifty objects after the last of several crashes, on a machine that has more to do."""
BOTS, USERS, PODS = 20, 15, 15


@dataclass(slots=True)
class Crowd:
    """Twenty bots, fifteen users, fifteen pod identities."""

    tenant: Tenant
    authority: Authority
    bots: list[str] = field(default_factory=lambda: [f"bot-{number}" for number in range(BOTS)])
    pods: list[str] = field(default_factory=lambda: [f"bot-{number}" for number in range(PODS)])
    users: list[str] = field(default_factory=lambda: [unique("crowd") for _ in range(USERS)])

    def apply(self, role: str, group: str) -> None:
        """Make all of them, or bring them to another role and group."""
        self.tenant.apply(*(user(name, groups=[group], realmRoles=[role]) for name in self.users))
        self.tenant.apply(*(bot(name, realmRoles=[role]) for name in self.bots))
        self.tenant.apply(*(pod_identity(name) for name in self.pods))

    def delete(self) -> None:
        """Ask for the deletion of all of them."""
        for kind, names in self._kinds().items():
            for name in names:
                self.tenant.delete(kind, name)

    def assert_there(self, role: str, group: str) -> None:
        """Wait until all are Ready, and see that each is there once, as its manifest says, and nothing else."""
        for kind, names in self._kinds().items():
            for name in names:
                self.tenant.ready(kind, name, seconds=PATIENCE_SECONDS)
        wanted = expected_estate(self.tenant.namespace, bots=self.bots, users=self.users, pods=self.pods)
        self._assert_estate(wanted)
        for name, token in self.tokens().items():
            assert self.authority.introspect(token)["active"] is True
            assert set(claims_of(token)["realm_access"]["roles"]) & {"fl-client", "fl-member"} == {role}
            if name in self.pods:
                self.tenant.mounted(name, "token", token.__eq__)
        for name in self.bots:
            uuid = (self.tenant.get("BotClient", name) or {})["status"]["clientUuid"]
            assert self.authority.service_account_roles(uuid) == {role}
        for name in self.users:
            account = self.authority.user(name) or {}
            assert self.authority.groups(account["id"]) == {group}
            assert self.authority.realm_roles(account["id"]) == {role}

    def assert_gone(self) -> None:
        """Wait until all are gone, and see that nothing stayed behind."""
        for kind, names in self._kinds().items():
            for name in names:
                self.tenant.gone(kind, name, seconds=PATIENCE_SECONDS)
        self._assert_estate(expected_estate(self.tenant.namespace, bots=(), users=(), pods=()))

    def tokens(self) -> dict[str, str]:
        """Return the published token of each bot that has one."""
        found = {}
        for name in self.bots:
            entry = self.authority.vault(f"fedid/{self.tenant.namespace}/bots/{name}/tokens/default")
            if entry is not None:
                found[name] = entry["token"]
        return found

    def _assert_estate(self, wanted: object) -> None:
        stack, namespace = self.tenant.stack, self.tenant.namespace
        try:
            eventually(lambda: estate_of(stack, namespace) == wanted, "what there is equals the manifests")
        except AssertionError as error:
            message = f"{error}; wanted {wanted}, found {estate_of(stack, namespace)}"
            raise AssertionError(message) from None

    def _kinds(self) -> dict[str, list[str]]:
        return {"FederationUser": self.users, "PodIdentity": self.pods, "BotClient": self.bots}
