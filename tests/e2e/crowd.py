"""Identities of one namespace: made, changed and deleted together, and compared with what there is at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.e2e.authority import Authority, claims_of
from tests.e2e.estate import estate_of, expected_estate
from tests.e2e.tenancy import Tenant, bot, is_ready, pod_identity, unique, user
from tests.e2e.waiting import eventually

PATIENCE_SECONDS = 240.0
"""For fifty objects after the last of several crashes, on a machine that has more to do."""
SIZE = 50


@dataclass(slots=True)
class Crowd:
    """Of ten, four are bots, three users, and three pod identities of those bots."""

    tenant: Tenant
    authority: Authority
    size: int = SIZE
    bots: list[str] = field(init=False)
    pods: list[str] = field(init=False)
    users: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """Name them."""
        self.bots = [f"bot-{number}" for number in range(self.size * 4 // 10)]
        self.pods = self.bots[: self.size * 3 // 10]
        self.users = [unique("crowd") for _ in range(self.size * 3 // 10)]

    @property
    def patience(self) -> float:
        """For how long to wait until all of them are settled (seconds)."""
        return PATIENCE_SECONDS * max(1.0, self.size / SIZE)

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

    def all_ready(self) -> bool:
        """Tell whether every one is Ready in its newest generation."""
        return all(
            {body["metadata"]["name"] for body in self.tenant.all_of(kind) if is_ready(body)} >= set(names)
            for kind, names in self._kinds().items()
        )

    def all_gone(self) -> bool:
        """Tell whether none of them is left."""
        return not any(self.tenant.all_of(kind) for kind in self._kinds())

    def assert_there(self, role: str, group: str) -> None:
        """Wait until all are Ready, and see that each is there once, as its manifest says, and nothing else."""
        for kind, names in self._kinds().items():
            for name in names:
                self.tenant.ready(kind, name, seconds=self.patience)
        wanted = expected_estate(self.tenant.namespace, bots=self.bots, users=self.users, pods=self.pods)
        self._assert_estate(wanted)
        for name, token in self.tokens().items():
            assert self.authority.introspect(token)["active"] is True, f"the token of {name} is good no more"
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
                self.tenant.gone(kind, name, seconds=self.patience)
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
