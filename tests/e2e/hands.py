"""What people do by hand, beside the operator: in Keycloak's console, with Vault's and Kubernetes' command lines."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.e2e.authority import REALM
from tests.e2e.tenancy import MERGE
from tests.testbed.stack import Stack

_ADMIN = f"/admin/realms/{REALM}"
OWNER, OBJECT = "fedid.owner", "fedid.object"


@dataclass(frozen=True, slots=True)
class Hands:
    """An administrator of everything."""

    stack: Stack

    # Keycloak

    def make_client(self, client_id: str, **fields: Any) -> str:
        """Create a client and return its internal id."""
        self.stack.keycloak("POST", f"{_ADMIN}/clients", {"clientId": client_id, "enabled": True, **fields})
        found = self.stack.keycloak("GET", f"{_ADMIN}/clients?clientId={client_id}")
        return str(found[0]["id"])

    def change_client(self, uuid: str, **fields: Any) -> None:
        """Change fields of a client; attributes are merged, an empty one goes."""
        client = self.stack.keycloak("GET", f"{_ADMIN}/clients/{uuid}")
        attributes = {**client["attributes"], **fields.pop("attributes", {})}
        self.stack.keycloak("PUT", f"{_ADMIN}/clients/{uuid}", {**client, **fields, "attributes": attributes})

    def delete_client(self, uuid: str) -> None:
        """Delete a client."""
        self.stack.keycloak("DELETE", f"{_ADMIN}/clients/{uuid}")

    def regenerate_secret(self, uuid: str) -> str:
        """Press "Regenerate" on a client's secret and return the new one."""
        return str(self.stack.keycloak("POST", f"{_ADMIN}/clients/{uuid}/client-secret")["value"])

    def add_mapper(self, uuid: str, name: str, claim: str, value: str) -> None:
        """Add a hard-coded claim to a client's tokens."""
        config = {"claim.name": claim, "claim.value": value, "jsonType.label": "String", "access.token.claim": "true"}
        mapper = {
            "name": name,
            "protocol": "openid-connect",
            "protocolMapper": "oidc-hardcoded-claim-mapper",
            "config": config,
        }
        self.stack.keycloak("POST", f"{_ADMIN}/clients/{uuid}/protocol-mappers/models", mapper)

    def add_audience(self, uuid: str, audience: str) -> None:
        """Have a client's tokens be for another client, which may introspect them then."""
        mapper = {
            "name": f"audience {audience}",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-audience-mapper",
            "config": {"included.client.audience": audience, "access.token.claim": "true"},
        }
        self.stack.keycloak("POST", f"{_ADMIN}/clients/{uuid}/protocol-mappers/models", mapper)

    def mappers(self, uuid: str) -> dict[str, dict[str, Any]]:
        """Return a client's mappers by name."""
        found = self.stack.keycloak("GET", f"{_ADMIN}/clients/{uuid}/protocol-mappers/models")
        return {mapper["name"]: mapper for mapper in found}

    def change_mapper(self, uuid: str, name: str, **config: str) -> None:
        """Change the configuration of a mapper."""
        mapper = self.mappers(uuid)[name]
        mapper["config"] |= config
        self.stack.keycloak("PUT", f"{_ADMIN}/clients/{uuid}/protocol-mappers/models/{mapper['id']}", mapper)

    def delete_mapper(self, uuid: str, name: str) -> None:
        """Delete a mapper."""
        mapper = self.mappers(uuid)[name]
        self.stack.keycloak("DELETE", f"{_ADMIN}/clients/{uuid}/protocol-mappers/models/{mapper['id']}")

    def make_scope(self, name: str, *roles: str) -> str:
        """Make a client scope that lists these realm roles, and return its id."""
        self.stack.keycloak("POST", f"{_ADMIN}/client-scopes", {"name": name, "protocol": "openid-connect"})
        found = self.stack.keycloak("GET", f"{_ADMIN}/client-scopes")
        scope_id = next(str(one["id"]) for one in found if one["name"] == name)
        listed = [self.stack.keycloak("GET", f"{_ADMIN}/roles/{role}") for role in roles]
        self.stack.keycloak("POST", f"{_ADMIN}/client-scopes/{scope_id}/scope-mappings/realm", listed)
        return scope_id

    def delete_scope(self, scope_id: str) -> None:
        """Delete a client scope."""
        self.stack.keycloak("DELETE", f"{_ADMIN}/client-scopes/{scope_id}")

    def take_scope(self, uuid: str, scope_id: str) -> None:
        """Take a default client scope from a client."""
        self.stack.keycloak("DELETE", f"{_ADMIN}/clients/{uuid}/default-client-scopes/{scope_id}")

    def service_account(self, uuid: str) -> str:
        """Return the user id of a client's service account."""
        return str(self.stack.keycloak("GET", f"{_ADMIN}/clients/{uuid}/service-account-user")["id"])

    def make_user(self, username: str, **fields: Any) -> str:
        """Create a user and return its id."""
        self.stack.keycloak("POST", f"{_ADMIN}/users", {"username": username, "enabled": True, **fields})
        return str(self.stack.keycloak("GET", f"{_ADMIN}/users?username={username}&exact=true")[0]["id"])

    def change_user(self, user_id: str, **fields: Any) -> None:
        """Change fields of a user; attributes are merged, None takes one off."""
        user = self.stack.keycloak("GET", f"{_ADMIN}/users/{user_id}")
        attributes = {**user.get("attributes", {}), **fields.pop("attributes", {})}
        kept = {name: values for name, values in attributes.items() if values is not None}
        self.stack.keycloak("PUT", f"{_ADMIN}/users/{user_id}", {**user, **fields, "attributes": kept})

    def delete_user(self, user_id: str) -> None:
        """Delete a user."""
        self.stack.keycloak("DELETE", f"{_ADMIN}/users/{user_id}")

    def map_role(self, user_id: str, role: str, *, method: str = "POST") -> None:
        """Give a user a realm role, or take it away (`DELETE`)."""
        found = self.stack.keycloak("GET", f"{_ADMIN}/roles/{role}")
        self.stack.keycloak(method, f"{_ADMIN}/users/{user_id}/role-mappings/realm", [found])

    def put_in_group(self, user_id: str, path: str, *, method: str = "PUT") -> None:
        """Put a user into a group, or take it out (`DELETE`)."""
        group = self.stack.keycloak("GET", f"{_ADMIN}/group-by-path{path}")
        self.stack.keycloak(method, f"{_ADMIN}/users/{user_id}/groups/{group['id']}")

    def client_as_it_stands(self, uuid: str) -> str:
        """Return everything that Keycloak tells about a client, secret included."""
        account = f"{_ADMIN}/clients/{uuid}/service-account-user"
        return self._text("keycloak", f"{_ADMIN}/clients/{uuid}", f"{_ADMIN}/clients/{uuid}/client-secret", account)

    def user_as_it_stands(self, user_id: str) -> str:
        """Return everything that Keycloak tells about a user."""
        paths = ("", "/groups", "/role-mappings", "/credentials", "/sessions")
        return self._text("keycloak", *(f"{_ADMIN}/users/{user_id}{path}" for path in paths))

    # Vault

    def write(self, path: str, data: Mapping[str, str], *, owner: str | None = None, mount: str = "secret") -> None:
        """Write data (KV v2 at `secret`, KV v1 at `secrets`), under an owner mark if one is given."""
        mark = {OWNER: owner, OBJECT: "BotClient/elsewhere/other"} if owner else {}
        if mount == "secrets":
            self.stack.vault("POST", f"/v1/secrets/{path}", {**data, **mark})
            return
        if owner:
            self.mark(path, owner)
        self.stack.vault("POST", f"/v1/secret/data/{path}", {"data": dict(data)})

    def mark(self, path: str, owner: str | None) -> None:
        """Put an owner mark on a KV v2 path, or take it off."""
        mark = {OWNER: owner, OBJECT: "BotClient/elsewhere/other"} if owner else {}
        self.stack.vault("POST", f"/v1/secret/metadata/{path}", {"custom_metadata": mark})

    def delete_entry(self, path: str, *, mount: str = "secret") -> None:
        """Delete a path for good: all versions and metadata, or the one version of KV v1."""
        middle = "metadata/" if mount == "secret" else ""
        self.stack.vault("DELETE", f"/v1/{mount}/{middle}{path}")

    def entry_as_it_stands(self, path: str, *, mount: str = "secret") -> str:
        """Return everything that Vault tells about a path, without what differs from one answer to the next."""
        paths = [f"secret/data/{path}", f"secret/metadata/{path}"] if mount == "secret" else [f"secrets/{path}"]
        answers = [self.stack.api("vault").answer("GET", f"/v1/{one}") for one in paths]
        return repr([(answer.status, (answer.body or {}).get("data")) for answer in answers])

    # Kubernetes

    def make_secret(self, namespace: str, name: str, **data: str) -> None:
        """Create a Secret."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.stack.kube(
            "POST", f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": name}, "data": encoded}
        )

    def change_secret(self, namespace: str, name: str, **fields: Any) -> None:
        """Merge-patch a Secret; `stringData` sets plain text."""
        self.stack.kube("PATCH", f"/api/v1/namespaces/{namespace}/secrets/{name}", fields, headers=MERGE)

    def delete_secret(self, namespace: str, name: str) -> None:
        """Delete a Secret."""
        self.stack.kube("DELETE", f"/api/v1/namespaces/{namespace}/secrets/{name}")

    def secret_as_it_stands(self, namespace: str, name: str) -> str:
        """Return a Secret as the API server has it, resourceVersion included."""
        return self._text("kube", f"/api/v1/namespaces/{namespace}/secrets/{name}")

    def _text(self, server: str, *paths: str) -> str:
        answers = [self.stack.api(server).answer("GET", path) for path in paths]
        return json.dumps([[answer.status, _ordered(answer.body)] for answer in answers])


def _ordered(found: Any) -> Any:
    """Return the same with everything in one order; Keycloak changes it from one answer to the next."""
    match found:
        case dict():
            return {key: _ordered(found[key]) for key in sorted(found)}
        case list():
            return sorted((_ordered(one) for one in found), key=repr)
        case _:
            return found
