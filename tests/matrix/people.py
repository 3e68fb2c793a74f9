"""Users with everything that survives a look, and a first password."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from tests.e2e.estate import Estate
from tests.e2e.tenancy import Body, user
from tests.matrix.attribution import ADMIN, PROTOCOL
from tests.matrix.lives import NOTHING, Life, Operation

PROVIDERS = ("matrix-a", "matrix-b")
LOGIN = "matrix-login"
"""A public client with which passwords are tried (RFC 6749 section 4.3)."""
_GROUPS, _ROLES = ("/sites/a", "/sites/b"), ("fl-member", "fl-client")
_TAKEN = "Account is not fully set up"
"""Keycloak took the password, and wants another at the next login: it is for one time."""


@dataclass(slots=True)
class _Facts:
    changed: bool = False
    user_id: str = ""


@dataclass(slots=True)
class People(Life):
    """A user with a group, a role, a link and an initial password."""

    kind: ClassVar[str] = "FederationUser"
    title: ClassVar[str] = "FederationUser"
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation.CREATE,
        Operation.CHANGE,
        Operation.SUSPEND,
        Operation.RESUME,
        Operation.DELETE,
    )
    facts: dict[str, _Facts] = field(default_factory=dict)

    def act(self, operation: Operation, name: str) -> None:
        """Apply another manifest, or delete it."""
        facts = self.facts.setdefault(name, _Facts())
        facts.changed = facts.changed or operation is Operation.CHANGE
        if operation is Operation.DELETE:
            self.tenant.delete(self.kind, name)
        else:
            self.tenant.apply(self._user(name, suspend=operation is Operation.SUSPEND))

    def settled(self, operation: Operation, name: str) -> bool:
        """Tell whether the user is done."""
        match operation:
            case Operation.DELETE:
                return not self.get(name)
            case Operation.SUSPEND:
                return self.says(name, "Suspended")
        return self.ready(name)

    def check(self, operation: Operation, name: str) -> None:
        """See that the account has what the manifest says and nothing else, and who may log in."""
        facts = self.facts[name]
        if operation is Operation.DELETE:
            answer = self.tenant.stack.api("keycloak").answer("GET", f"{ADMIN}/users/{facts.user_id}")
            assert answer.status == 404, f"the user's id answers {answer.status}"
            return
        account = self.authority.user(name) or {}
        assert facts.user_id in {"", account["id"]}, "it is another account than before"
        facts.user_id = account["id"]
        assert account["enabled"] is (operation is not Operation.SUSPEND)
        assert account["email"] == self._user(name)["spec"]["email"]
        assert self.authority.groups(facts.user_id) == {_GROUPS[facts.changed]}
        assert self.authority.realm_roles(facts.user_id) == {_ROLES[facts.changed]}
        links = self.tenant.stack.keycloak("GET", f"{ADMIN}/users/{facts.user_id}/federated-identity")
        assert [link["identityProvider"] for link in links] == [PROVIDERS[facts.changed]]
        entry = self.authority.vault(f"fedid/{self.tenant.namespace}/users/{name}/initial-password") or {}
        assert entry["state"] == "current"
        taken = self._log_in(name, entry["password"]) == _TAKEN
        assert taken is (operation is not Operation.SUSPEND), f"the initial password is taken: {taken}"

    def estate(self, operation: Operation, name: str) -> Estate:
        """Return account and password."""
        if operation is Operation.DELETE:
            return NOTHING
        return Estate((), (name,), (f"users/{name}/initial-password",), ())

    def _user(self, name: str, *, suspend: bool = False) -> Body:
        changed = self.facts[name].changed
        link = {"identityProvider": PROVIDERS[changed], "userId": name, "userName": name}
        return user(
            name,
            federationRef={"name": self.ground.federation},
            email=f"{name}@{'new' if changed else 'old'}.example.org",
            realmRoles=[_ROLES[changed]],
            groups=[_GROUPS[changed]],
            identityProviderLinks=[link],
            initialPassword="Generate",
            suspend=suspend,
        )

    def _log_in(self, username: str, password: str) -> str:
        form = {"grant_type": "password", "client_id": LOGIN, "username": username, "password": password}
        keycloak = self.tenant.stack.api("keycloak")
        answer = keycloak.answer("POST", f"{PROTOCOL}/token", form=form, headers={"Authorization": ""})
        return str(answer.body.get("error_description", ""))
