"""Keycloak and Vault as those see them who check credentials: platform teams and verifiers."""

from __future__ import annotations

import base64
import json
import urllib.parse
from dataclasses import dataclass
from typing import Any

from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

REALM = "fl"
ADMIN = f"/admin/realms/{REALM}"
TOKEN = f"/realms/{REALM}/protocol/openid-connect/token"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Authority:
    """The realm and the Vault of a stack."""

    stack: Stack

    def introspect(self, token: str) -> dict[str, Any]:
        """Ask as the client `superlink`, which is in the token's audience (RFC 7662)."""
        form = {
            "token": token,
            "client_id": "superlink",
            "client_secret": self.stack.credentials.superlink_client_secret,
        }
        path = f"/realms/{REALM}/protocol/openid-connect/token/introspect"
        answer: dict[str, Any] = self.stack.keycloak("POST", path, form=form, headers={"Authorization": ""})
        return answer

    def request_token_as_operator(self) -> Answer:
        """Request a token as the operator does, with its ServiceAccount token alone (RFC 7523 section 2.2)."""
        assertion = self.stack.paths.operator_keycloak_token.read_text()
        form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
        path = f"/realms/{REALM}/protocol/openid-connect/token"
        form["client_assertion"] = assertion
        return self.stack.api("keycloak").answer("POST", path, form=form, headers={"Authorization": ""})

    def request_token(self, client_id: str, client_secret: str) -> Answer:
        """Request a token with client credentials (RFC 6749 section 4.4)."""
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        path = f"/realms/{REALM}/protocol/openid-connect/token"
        return self.stack.api("keycloak").answer("POST", path, form=form, headers={"Authorization": ""})

    def admin_api_status(self, token: str) -> int:
        """Return what the Admin API answers to a bearer token: 403 valid, 401 not."""
        answer = self.stack.api("keycloak").answer(
            "GET", f"/admin/realms/{REALM}", headers={"Authorization": f"Bearer {token}"}
        )
        return answer.status

    def client(self, client_id: str) -> dict[str, Any] | None:
        """Return a client by clientId."""
        query = urllib.parse.urlencode({"clientId": client_id})
        found = self.stack.keycloak("GET", f"/admin/realms/{REALM}/clients?{query}")
        return found[0] if found else None

    def service_account_roles(self, client_uuid: str) -> set[str]:
        """Return the realm roles of a client's service account, without the realm's defaults."""
        account = self.stack.keycloak("GET", f"/admin/realms/{REALM}/clients/{client_uuid}/service-account-user")
        return self.realm_roles(account["id"])

    def realm_roles(self, user_id: str) -> set[str]:
        """Return the realm roles of a user, without the realm's defaults."""
        roles = self.stack.keycloak("GET", f"/admin/realms/{REALM}/users/{user_id}/role-mappings/realm")
        return {role["name"] for role in roles} - {f"default-roles-{REALM}"}

    def user(self, username: str) -> dict[str, Any] | None:
        """Return a user by username."""
        query = urllib.parse.urlencode({"username": username, "exact": "true"})
        found = self.stack.keycloak("GET", f"/admin/realms/{REALM}/users?{query}")
        return found[0] if found else None

    def groups(self, user_id: str) -> set[str]:
        """Return the group paths of a user."""
        return {g["path"] for g in self.stack.keycloak("GET", f"/admin/realms/{REALM}/users/{user_id}/groups")}

    def vault(self, path: str) -> dict[str, Any] | None:
        """Return the data at a KV v2 path below `secret/`, None if there is none."""
        answer = self.stack.api("vault").answer("GET", f"/v1/secret/data/{path}")
        return answer.body["data"]["data"] if answer.status == 200 else None

    def vault_metadata(self, path: str) -> dict[str, Any] | None:
        """Return the metadata at a KV v2 path, None if there is none."""
        answer = self.stack.api("vault").answer("GET", f"/v1/secret/metadata/{path}")
        return answer.body["data"] if answer.status == 200 else None


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a JWT, unverified."""
    payload = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return decoded
