"""What an administrator does to a realm by hand, in memory and in a real Keycloak, for tests of the port."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from fedid.domain.sensitive import Sensitive
from tests.fakes.realm import FakeRealm
from tests.testbed.stack import Stack


class Hands(Protocol):
    """The administrator of one realm."""

    def add_role(self, name: str, *, client_id: str | None = None, brings: Iterable[str] = ()) -> str:
        """Make a role; `brings` names the realm roles that it is made of. Return its id."""

    def bring(self, name: str, brought: str, *, client_id: str | None = None, of_client: str | None = None) -> None:
        """Have a role (of a client) bring another (of a client) along."""

    def map_group_role(self, path: str, name: str, client_id: str | None = None) -> None:
        """Map a role to a group."""

    def delete_role(self, name: str) -> None:
        """Delete a realm role."""

    def add_scope(self, name: str, *, roles: Iterable[str] = ()) -> str:
        """Make a client scope that tokens name; `roles` names the realm roles that it lists. Return its id."""

    def delete_scope(self, name: str) -> None:
        """Delete a client scope."""

    def add_group(self, path: str) -> str:
        """Make a group and those above it; return its id."""

    def delete_group(self, path: str) -> None:
        """Delete a group."""

    def record_events(self) -> None:
        """Have the realm keep what administrators do."""

    def add_client(self, client_id: str, *, owner: str | None = None, secret: str | None = None) -> str:
        """Make a client with a service account; return its internal id."""

    def change_client(self, client_uuid: str, *, enabled: bool) -> None:
        """Switch a client off or on."""

    def add_mapper(self, client_uuid: str, name: str) -> None:
        """Add a protocol mapper to a client."""

    def drop_service_account(self, client_uuid: str) -> None:
        """Switch a client's service account off."""

    def add_user(self, username: str, *, email: str | None = None, owner: str | None = None) -> str:
        """Make a user; return its id."""

    def declare_attribute(self, name: str) -> None:
        """Declare an attribute in the user profile, for administrators to edit."""

    def add_identity_provider(self, alias: str) -> None:
        """Make an identity provider."""

    def link_user(self, user_id: str, alias: str, whom: str) -> None:
        """Link a user to an identity at a provider."""

    def set_password_policy(self, policy: str) -> None:
        """Ask something of passwords."""

    def switch_required_action(self, alias: str, *, on: bool) -> None:
        """Switch a required action of the realm on or off."""

    def has_password(self, user_id: str) -> bool:
        """Tell whether a user has a password."""

    def map_role(self, user_id: str, name: str) -> None:
        """Map a realm role to a user."""

    def open_session(self, user_id: str, *, offline: bool = False) -> None:
        """Log a user in."""

    def sessions(self, user_id: str) -> int:
        """Return how many sessions a user has, offline ones included."""

    def service_account_token(self, namespace: str, name: str) -> str:
        """Return a token of a ServiceAccount, made for this realm by the cluster that CLUSTER_PROVIDER stands for."""


class FakeHands:
    """The administrator of a realm in memory."""

    def __init__(self, realm: FakeRealm) -> None:
        """Take hold of a realm."""
        self._realm = realm

    def add_role(self, name: str, *, client_id: str | None = None, brings: Iterable[str] = ()) -> str:
        """Make a role."""
        return self._realm.add_role(name, client_id=client_id, brings=brings).role_id

    def bring(self, name: str, brought: str, *, client_id: str | None = None, of_client: str | None = None) -> None:
        """Make a role composite."""
        self._realm.bring(name, brought, client_id=client_id, of_client=of_client)

    def map_group_role(self, path: str, name: str, client_id: str | None = None) -> None:
        """Map a role to a group."""
        self._realm.map_group_role(path, name, client_id)

    def delete_role(self, name: str) -> None:
        """Delete a realm role."""
        self._realm.delete_role(name)

    def add_scope(self, name: str, *, roles: Iterable[str] = ()) -> str:
        """Make a client scope."""
        return self._realm.add_scope(name, roles=roles)

    def delete_scope(self, name: str) -> None:
        """Delete a client scope."""
        self._realm.delete_scope(name)

    def add_group(self, path: str) -> str:
        """Make a group."""
        return self._realm.add_group(path)

    def delete_group(self, path: str) -> None:
        """Delete a group."""
        self._realm.delete_group(path)

    def record_events(self) -> None:
        """Record events."""
        self._realm.records_events = True

    def add_client(self, client_id: str, *, owner: str | None = None, secret: str | None = None) -> str:
        """Make a client."""
        chosen = None if secret is None else Sensitive(secret)
        return self._realm.add_client(client_id, owner=owner, secret=chosen).client_uuid

    def change_client(self, client_uuid: str, *, enabled: bool) -> None:
        """Switch a client off or on."""
        self._realm.change_client(client_uuid, enabled=enabled)

    def add_mapper(self, client_uuid: str, name: str) -> None:
        """Add a protocol mapper."""
        self._realm.add_mapper(client_uuid, name)

    def drop_service_account(self, client_uuid: str) -> None:
        """Switch the service account off."""
        flags = {**self._realm.clients[client_uuid].flags, "serviceAccountsEnabled": False}
        self._realm.change_client(client_uuid, flags=flags)

    def add_user(self, username: str, *, email: str | None = None, owner: str | None = None) -> str:
        """Make a user."""
        return self._realm.add_user(username, email=email, owner=owner)

    def declare_attribute(self, name: str) -> None:
        """Declare an attribute."""
        self._realm.declared_attributes.add(name)

    def add_identity_provider(self, alias: str) -> None:
        """Make an identity provider."""
        self._realm.identity_providers.add(alias)

    def link_user(self, user_id: str, alias: str, whom: str) -> None:
        """Link a user."""
        self._realm.link_user(user_id, alias, whom)

    def set_password_policy(self, policy: str) -> None:
        """Ask something of passwords."""
        self._realm.password_policy = policy

    def switch_required_action(self, alias: str, *, on: bool) -> None:
        """Switch a required action."""
        (self._realm.required_actions.add if on else self._realm.required_actions.discard)(alias)

    def has_password(self, user_id: str) -> bool:
        """Look for a password."""
        return self._realm.users[user_id].password is not None

    def map_role(self, user_id: str, name: str) -> None:
        """Map a realm role."""
        self._realm.map_role(user_id, name)

    def open_session(self, user_id: str, *, offline: bool = False) -> None:
        """Log a user in."""
        self._realm.open_session(user_id, offline=offline)

    def sessions(self, user_id: str) -> int:
        """Count sessions."""
        return len(self._realm.users[user_id].sessions)

    def service_account_token(self, namespace: str, name: str) -> str:
        """Make a token."""
        return self._realm.service_account_token(f"system:serviceaccount:{namespace}:{name}")


class KeycloakHands:
    """The administrator of a real realm; whatever carries the prefix goes with `clean`."""

    def __init__(self, stack: Stack, realm: str, prefix: str) -> None:
        """Take hold of a realm.

        Args:
            stack: Where Keycloak is.
            realm: Its name.
            prefix: What the name of everything that this test makes begins with.
        """
        self._stack = stack
        self._realm = realm
        self._prefix = prefix
        self._login_client: str | None = None

    def call(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """Call the Admin API below the realm."""
        return self._stack.keycloak(method, f"/admin/realms/{self._realm}{path}", body, **options)

    def add_role(self, name: str, *, client_id: str | None = None, brings: Iterable[str] = ()) -> str:
        """Make a role."""
        area = self._area(client_id)
        self.call("POST", f"{area}/roles", {"name": name})
        if members := [self.call("GET", f"/roles/{one}") for one in brings]:
            self.call("POST", f"{area}/roles/{name}/composites", members)
        return str(self.call("GET", f"{area}/roles/{name}")["id"])

    def bring(self, name: str, brought: str, *, client_id: str | None = None, of_client: str | None = None) -> None:
        """Make a role composite."""
        self.call("POST", f"{self._area(client_id)}/roles/{name}/composites", [self._role(brought, of_client)])

    def map_group_role(self, path: str, name: str, client_id: str | None = None) -> None:
        """Map a role to a group."""
        group_id = self.call("GET", f"/group-by-path{quote(path)}")["id"]
        area = "realm" if client_id is None else f"clients/{self._client_uuid(client_id)}"
        self.call("POST", f"/groups/{group_id}/role-mappings/{area}", [self._role(name, client_id)])

    def delete_role(self, name: str) -> None:
        """Delete a realm role."""
        self.call("DELETE", f"/roles/{name}")

    def add_scope(self, name: str, *, roles: Iterable[str] = ()) -> str:
        """Make a client scope."""
        scope = {"name": name, "protocol": "openid-connect", "attributes": {"include.in.token.scope": "true"}}
        self.call("POST", "/client-scopes", scope)
        scope_id = str(next(one["id"] for one in self.call("GET", "/client-scopes") if one["name"] == name))
        if listed := [self.call("GET", f"/roles/{one}") for one in roles]:
            self.call("POST", f"/client-scopes/{scope_id}/scope-mappings/realm", listed)
        return scope_id

    def delete_scope(self, name: str) -> None:
        """Delete a client scope."""
        for one in self.call("GET", "/client-scopes"):
            if one["name"] == name:
                self.call("DELETE", f"/client-scopes/{one['id']}")

    def add_group(self, path: str) -> str:
        """Make a group."""
        children, reached, group_id = "/groups", "", ""
        for name in path.strip("/").split("/"):
            reached += f"/{quote(name)}"
            self.call("POST", children, {"name": name}, accept=(409,))
            group_id = str(self.call("GET", f"/group-by-path{reached}")["id"])
            children = f"/groups/{group_id}/children"
        return group_id

    def delete_group(self, path: str) -> None:
        """Delete a group."""
        self.call("DELETE", f"/groups/{self.call('GET', f'/group-by-path{quote(path)}')['id']}")

    def record_events(self) -> None:
        """Record events."""
        self.call("PUT", "", {"adminEventsEnabled": True})

    def add_client(self, client_id: str, *, owner: str | None = None, secret: str | None = None) -> str:
        """Make a client."""
        client = {"id": str(uuid.uuid4()), "clientId": client_id, "serviceAccountsEnabled": True, "publicClient": False}
        client |= {"attributes": {"fedid.owner": owner}} if owner else {}
        self.call("POST", "/clients", {**client, **({"secret": secret} if secret else {})})
        return str(client["id"])

    def change_client(self, client_uuid: str, *, enabled: bool) -> None:
        """Switch a client off or on."""
        self.call("PUT", f"/clients/{client_uuid}", {"enabled": enabled})

    def add_mapper(self, client_uuid: str, name: str) -> None:
        """Add a protocol mapper."""
        config = {"claim.name": name, "claim.value": "by hand", "access.token.claim": "true"}
        mapper = {"name": name, "protocol": "openid-connect", "protocolMapper": "oidc-hardcoded-claim-mapper"}
        self.call("POST", f"/clients/{client_uuid}/protocol-mappers/models", {**mapper, "config": config})

    def drop_service_account(self, client_uuid: str) -> None:
        """Switch the service account off."""
        self.call("PUT", f"/clients/{client_uuid}", {"serviceAccountsEnabled": False})

    def add_user(self, username: str, *, email: str | None = None, owner: str | None = None) -> str:
        """Make a user."""
        attributes = {"fedid.owner": [owner]} if owner else {}
        names = {"firstName": "Ada", "lastName": "Byron"}
        user = {"username": username, "email": email, "enabled": True, "attributes": attributes, **names}
        self.call("POST", "/users", user)
        return str(self.call("GET", f"/users?{urlencode({'username': username, 'exact': 'true'})}")[0]["id"])

    def declare_attribute(self, name: str) -> None:
        """Declare an attribute."""
        profile = self.call("GET", "/users/profile")
        permissions = {"view": ["admin"], "edit": ["admin"]}
        profile["attributes"].append({"name": name, "permissions": permissions, "multivalued": True})
        self.call("PUT", "/users/profile", profile)

    def add_identity_provider(self, alias: str) -> None:
        """Make an identity provider that nobody reaches."""
        config = {"clientId": "unused", "clientSecret": "unused"}
        config |= dict.fromkeys(("authorizationUrl", "tokenUrl"), "https://unused.invalid")
        self.call("POST", "/identity-provider/instances", {"alias": alias, "providerId": "oidc", "config": config})

    def link_user(self, user_id: str, alias: str, whom: str) -> None:
        """Link a user."""
        link = {"identityProvider": alias, "userId": whom, "userName": whom}
        self.call("POST", f"/users/{user_id}/federated-identity/{alias}", link)

    def set_password_policy(self, policy: str) -> None:
        """Ask something of passwords."""
        self.call("PUT", "", {"passwordPolicy": policy})

    def switch_required_action(self, alias: str, *, on: bool) -> None:
        """Switch a required action."""
        path = f"/authentication/required-actions/{alias}"
        self.call("PUT", path, {**self.call("GET", path), "enabled": on})

    def has_password(self, user_id: str) -> bool:
        """Look for a password."""
        found = self.call("GET", f"/users/{user_id}/credentials")
        return any(credential["type"] == "password" for credential in found)

    def map_role(self, user_id: str, name: str) -> None:
        """Map a realm role."""
        self.call("POST", f"/users/{user_id}/role-mappings/realm", [self.call("GET", f"/roles/{name}")])

    def open_session(self, user_id: str, *, offline: bool = False) -> None:
        """Log a user in with a password."""
        if self._login_client is None:
            self._login_client = f"{self._prefix}-login"
            client = {"clientId": self._login_client, "publicClient": True, "directAccessGrantsEnabled": True}
            self.call("POST", "/clients", client)
            password = {"type": "password", "value": "correct horse", "temporary": False}
            self.call("PUT", f"/users/{user_id}/reset-password", password)
        user = self.call("GET", f"/users/{user_id}")
        self._stack.keycloak(
            "POST",
            f"/realms/{self._realm}/protocol/openid-connect/token",
            form={
                "grant_type": "password",
                "client_id": self._login_client,
                "username": user["username"],
                "password": "correct horse",
                "scope": "openid offline_access" if offline else "openid",
            },
        )

    def sessions(self, user_id: str) -> int:
        """Count sessions."""
        found = self.call("GET", f"/users/{user_id}/sessions")
        if self._login_client is not None:
            client = self._client_uuid(self._login_client)
            found += self.call("GET", f"/users/{user_id}/offline-sessions/{client}")
        return len(found)

    def service_account_token(self, namespace: str, name: str) -> str:
        """Ask the API server for a token."""
        return self._stack.token_request(namespace, name, audience=self._stack.issuer_url, seconds=600)

    def clean(self) -> None:
        """Remove everything whose name begins with the prefix."""
        for client in self.call("GET", f"/clients?clientId={self._prefix}&search=true"):
            self.call("DELETE", f"/clients/{client['id']}", accept=(404,))
        for scope in self.call("GET", "/client-scopes"):
            if scope["name"].startswith(self._prefix):
                self.call("DELETE", f"/client-scopes/{scope['id']}", accept=(404,))
        for user in self.call("GET", f"/users?search={self._prefix}"):
            self.call("DELETE", f"/users/{user['id']}", accept=(404,))
        for role in self.call("GET", f"/roles?search={self._prefix}"):
            self.call("DELETE", f"/roles/{role['name']}", accept=(404,))
        for group in self.call("GET", f"/groups?search={self._prefix}"):
            self.call("DELETE", f"/groups/{group['id']}", accept=(404,))
        for provider in self.call("GET", f"/identity-provider/instances?search={self._prefix}"):
            self.call("DELETE", f"/identity-provider/instances/{provider['alias']}", accept=(404,))
        profile = self.call("GET", "/users/profile")
        kept = [one for one in profile["attributes"] if not one["name"].startswith(self._prefix)]
        if kept != profile["attributes"]:
            self.call("PUT", "/users/profile", {**profile, "attributes": kept})

    def _area(self, client_id: str | None) -> str:
        return "" if client_id is None else f"/clients/{self._client_uuid(client_id)}"

    def _role(self, name: str, client_id: str | None) -> Any:
        return self.call("GET", f"{self._area(client_id)}/roles/{name}")

    def _client_uuid(self, client_id: str) -> str:
        return str(self.call("GET", f"/clients?clientId={client_id}")[0]["id"])
