"""What a platform team lays in Keycloak and Vault before fedid can work, one stone at a time."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.testbed.cluster import OPERATOR_NAMESPACE, OPERATOR_SUBJECT
from tests.testbed.stack import Stack
from tests.testbed.vault_setup import AUDIENCE


@dataclass(frozen=True, slots=True)
class OwnSecret:
    """A Secret in the operator's namespace."""

    stack: Stack
    name: str

    def hold(self, **data: str) -> None:
        """Make it hold exactly these keys; an underscore stands for a dash."""
        encoded = {k.replace("_", "-"): base64.b64encode(v.encode()).decode() for k, v in data.items()}
        self.remove()
        body = {"metadata": {"name": self.name}, "data": encoded}
        self.stack.kube("POST", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets", body)

    def remove(self) -> None:
        """Delete it."""
        self.stack.kube("DELETE", f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets/{self.name}", accept=(404,))


@dataclass(frozen=True, slots=True)
class OwnRealm:
    """A realm of a test's own, empty at first."""

    stack: Stack
    name: str

    @property
    def _admin(self) -> str:
        return f"/admin/realms/{self.name}"

    def create(self) -> None:
        """Make the realm."""
        self.stack.keycloak("POST", "/admin/realms", {"realm": self.name, "enabled": True})

    def remove(self) -> None:
        """Delete the realm."""
        self.stack.keycloak("DELETE", self._admin, accept=(404,))

    def add_operator(self, client_id: str, secret: str) -> None:
        """Make a client for the operator, without any right."""
        client = {"clientId": client_id, "secret": secret, "serviceAccountsEnabled": True, "publicClient": False}
        self.stack.keycloak("POST", f"{self._admin}/clients", client)

    def assign(self, client_id: str, *roles: str) -> None:
        """Give the client's service account roles of the client `realm-management`."""
        management = self._client("realm-management")["id"]
        account = self.stack.keycloak(
            "GET", f"{self._admin}/clients/{self._client(client_id)['id']}/service-account-user"
        )
        known = self.stack.keycloak("GET", f"{self._admin}/clients/{management}/roles")
        chosen = [role for role in known if role["name"] in roles]
        self.stack.keycloak("POST", f"{self._admin}/users/{account['id']}/role-mappings/clients/{management}", chosen)

    def declare_owner_attributes(self) -> None:
        """Declare the owner marks in the user profile."""
        profile = self.stack.keycloak("GET", f"{self._admin}/users/profile")
        permissions = {"view": ["admin"], "edit": ["admin"]}
        marks = [{"name": name, "permissions": permissions} for name in ("fedid.owner", "fedid.object")]
        profile["attributes"] += marks
        self.stack.keycloak("PUT", f"{self._admin}/users/profile", profile)

    def _client(self, client_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.stack.keycloak("GET", f"{self._admin}/clients?clientId={client_id}")[0]
        return found


@dataclass(frozen=True, slots=True)
class OwnVault:
    """A role and a mount of a test's own, of one name; neither is there at first."""

    stack: Stack
    name: str

    def add_role(self, *policies: str) -> None:
        """Let the operator's ServiceAccount log in as the role, with these policies."""
        role = {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [AUDIENCE],
            "bound_subject": OPERATOR_SUBJECT,
            "token_policies": [*policies],
            "token_ttl": 1200,
        }
        self.stack.vault("POST", f"/v1/auth/jwt/role/{self.name}", role)

    def write_policy(self, rules: Mapping[str, tuple[str, ...]]) -> None:
        """Write the policy of that name: capabilities by path below the mount."""
        text = "\n".join(
            f'path "{self.name}/{path}" {{ capabilities = [{", ".join(f"{c!r}" for c in capabilities)}] }}'
            for path, capabilities in rules.items()
        )
        self.stack.vault("PUT", f"/v1/sys/policies/acl/{self.name}", {"policy": text.replace("'", '"')})

    def mount(self, version: int) -> None:
        """Mount a KV engine of that version, instead of what is mounted there."""
        self.unmount()
        self.stack.vault("POST", f"/v1/sys/mounts/{self.name}", {"type": "kv", "options": {"version": str(version)}})

    def unmount(self) -> None:
        """Take away what is mounted there."""
        self.stack.vault("DELETE", f"/v1/sys/mounts/{self.name}")

    def remove(self) -> None:
        """Take everything away."""
        self.unmount()
        self.stack.vault("DELETE", f"/v1/sys/policies/acl/{self.name}")
        self.stack.vault("DELETE", f"/v1/auth/jwt/role/{self.name}")
