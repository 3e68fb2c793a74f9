"""One user on the fakes: its manifest, its grants, and what became of it."""

from __future__ import annotations

from typing import Any

from fedid.domain.conditions import condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import FEDERATION, FEDERATION_USER
from tests.fakes.realm import FakeUser
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

USER = ObjectKey(FEDERATION_USER, NAMESPACE, "ana")
PASSWORD_PATH = f"fedid/{NAMESPACE}/users/ana/initial-password"
FINALIZER = "fedid.io/revoke"
EVERYTHING: dict[str, Any] = {
    "realmRoles": ["fl-*"],
    "clientRoles": {"superlink": ["*"]},
    "groups": ["/sites/*"],
    "attributes": ["site", "badge"],
    "identityProviders": ["university", "nowhere"],
    "emailVerified": True,
    "adopt": True,
    "retain": True,
}


class People:
    """An operator, and the user `ana`."""

    def __init__(self) -> None:
        """Prepare a realm that has everything, and a grant of everything."""
        self.operator = SmallOperator()
        realm = self.realm
        for role in ("fl-member", "fl-admin"):
            realm.add_role(role)
        realm.add_client("superlink")
        realm.add_role("submit", client_id="superlink")
        realm.add_group("/sites/a")
        realm.add_group("/sites/b")
        realm.declared_attributes |= {"site", "badge", "locale"}
        realm.identity_providers.add("university")
        self.grant(**EVERYTHING)

    @property
    def realm(self) -> Any:
        """The realm."""
        return self.operator.provider.realm

    def grant(self, **rule: Any) -> None:
        """Let the namespace ask for this, and for nothing else."""
        spec = self.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        rules = [{"namespaces": {"names": [NAMESPACE]}, **rule}]
        self.operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": rules})

    def grant_nobody(self) -> None:
        """Take every grant back."""
        spec = self.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        self.operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": []})

    def want(self, **spec: Any) -> None:
        """Apply the user with these fields."""
        wanted = {"username": "ana", "email": "ana@site-a.example", "firstName": "Ana", "lastName": "Novak"}
        self.operator.cluster.apply(*self.address, {**wanted, **spec})

    async def make(self, **spec: Any) -> None:
        """Apply it and wait until it is Ready."""
        self.want(**spec)
        await self.operator.advance(5)
        assert self.ready() == ("True", "Ready"), self.told()

    def delete(self) -> None:
        """Ask for its deletion."""
        self.operator.cluster.delete(*self.address)

    @property
    def address(self) -> tuple[str, str, str]:
        """Kind, namespace and name."""
        return FEDERATION_USER, NAMESPACE, "ana"

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        return self.operator.status(FEDERATION_USER, "ana")

    def condition(self, about: str) -> dict[str, Any] | None:
        """Return a condition."""
        found = condition_of(self.status.get("conditions") or (), about)  # type: ignore[arg-type]
        return dict(found) if found is not None else None

    def ready(self) -> tuple[str, str]:
        """Return status and reason of `Ready`."""
        found = self.condition("Ready") or {}
        return found.get("status", ""), found.get("reason", "")

    def told(self, about: str = "Ready") -> str:
        """Return the message of a condition."""
        return str((self.condition(about) or {}).get("message", ""))

    def account(self) -> FakeUser:
        """Return the account, whoever's it is."""
        found: FakeUser | None = self.realm.user("ana")
        assert found is not None
        return found

    def roles(self) -> set[str]:
        """Return the roles of the account, the realm's defaults left out."""
        held = [self.realm.roles[one] for one in self.account().role_ids - {self.realm.default_role.role_id}]
        return {f"{role.client_id}/{role.name}" if role.client_id else role.name for role in held}

    def entry(self) -> dict[str, str]:
        """Return what lies in Vault."""
        return self.operator.store.data_of(PASSWORD_PATH)

    def events(self, reason: str) -> list[str]:
        """Return the messages of Events."""
        return [event.message for event in self.operator.cluster.events if event.reason == reason]

    def writes(self) -> int:
        """Return how much was ever written anywhere."""
        operator = self.operator
        return len(operator.writes()) + len(operator.provider.writes) + len(operator.store.writes)
