"""What a platform team sets up in Keycloak, once, before fedid can use it.

A realm with the roles, groups and verifier of a federation, two attributes that
only administrators see, the cluster as an identity provider, and a client for the
operator with the least rights and without a secret.
"""

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from tests.testbed.cluster import OPERATOR_SUBJECT
from tests.testbed.control_plane import SERVICE_ACCOUNT_ISSUER
from tests.testbed.credentials import KEYCLOAK_ADMIN, Credentials
from tests.testbed.rest import Rest

REALM = "fl"
REALM_ROLES = ("fl-client", "fl-member", "fl-admin")
GROUPS = ("/sites/a", "/sites/b")

SUPERLINK = "superlink"
"""A server of the federation: bearer tokens are for it, and it introspects them."""

OPERATOR = "fedid-operator"
"""The client that the operator works as; the token of its ServiceAccount takes the place of a secret."""

CLUSTER_PROVIDER = "cluster"
"""Alias of the identity provider that stands for the cluster."""

OPERATOR_ROLES = ("manage-clients", "manage-users", "view-realm")
"""Roles of the client `realm-management` that the operator needs, and no more."""

WATCHING_ROLE = "view-events"
"""Likewise one that it can do without: with it, it reads what administrators did."""

ASSERTION_SECONDS = 8 * 86400
"""How old an assertion may be: the operator as a process shows one token for as long as the stack runs."""

SECRET_POLICY = "fedid-two-secrets"
"""Client policy of the realm, and its profile, for rotations that nobody notices."""

OWNER_ATTRIBUTES = ("fedid.owner", "fedid.object")
"""Marks on users; Keycloak drops silently what a realm's user profile does not declare."""

ADMIN_TOKEN_SECONDS = 45.0
"""How long an administrator's token is used; Keycloak makes them for 60 s."""


class KeycloakAdmin:
    """Headers of Keycloak's administrator, with a token that is renewed in time."""

    def __init__(self, url: str, password: str) -> None:
        """Log in at the first use, not now."""
        self._rest = Rest(url)
        self._password = password
        self._token = ""
        self._stale_at = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> Mapping[str, str]:
        """Return the headers for one request."""
        with self._lock:
            if time.monotonic() >= self._stale_at:
                requested = time.monotonic()
                granted = self._rest.call(
                    "POST",
                    "/realms/master/protocol/openid-connect/token",
                    form={
                        "grant_type": "password",
                        "client_id": "admin-cli",
                        "username": KEYCLOAK_ADMIN,
                        "password": self._password,
                    },
                )
                self._token = granted["access_token"]
                self._stale_at = requested + ADMIN_TOKEN_SECONDS
            return {"Authorization": f"Bearer {self._token}"}


def provision_keycloak(keycloak: Rest, credentials: Credentials, service_account_public_key: str) -> None:
    """Bring Keycloak to what fedid needs; what is there already stays.

    Args:
        keycloak: As its administrator.
        credentials: They hold the secret of SUPERLINK.
        service_account_public_key: PEM of the key that signs the cluster's tokens.
    """
    if keycloak.answer("GET", f"/admin/realms/{REALM}").status == 404:
        keycloak.call("POST", "/admin/realms", {"realm": REALM, "enabled": True})
    admin = f"/admin/realms/{REALM}"
    keycloak.call("PUT", admin, {"adminEventsEnabled": True})
    for role in REALM_ROLES:
        keycloak.call("POST", f"{admin}/roles", {"name": role}, accept=(409,))
    for path in GROUPS:
        _ensure_group(keycloak, admin, path)
    _ensure_owner_attributes(keycloak, admin)
    _ensure_client(keycloak, admin, _superlink(credentials))
    _ensure_cluster_provider(keycloak, admin, service_account_public_key)
    _ensure_secret_policy(keycloak, admin)
    operator = _ensure_client(keycloak, admin, _operator())
    _grant_operator_roles(keycloak, admin, operator)


def _superlink(credentials: Credentials) -> dict[str, Any]:
    return _confidential(SUPERLINK, credentials.superlink_client_secret)


def _operator() -> dict[str, Any]:
    attributes = {"jwt.credential.issuer": CLUSTER_PROVIDER, "jwt.credential.sub": OPERATOR_SUBJECT}
    return {**_own_login(OPERATOR), "clientAuthenticatorType": "federated-jwt", "attributes": attributes}


def _confidential(client_id: str, secret: str) -> dict[str, Any]:
    return {**_own_login(client_id), "secret": secret}


def ensure_operator_with_secret(keycloak: Rest, client_id: str, secret: str) -> None:
    """Make a client with a secret and the operator's rights, for tests that are operators themselves.

    Args:
        keycloak: As its administrator.
        client_id: Of the client.
        secret: What it has from now on, also if it was there.
    """
    admin = f"/admin/realms/{REALM}"
    client_uuid = _ensure_client(keycloak, admin, _confidential(client_id, secret))
    _grant_operator_roles(keycloak, admin, client_uuid)


def _own_login(client_id: str) -> dict[str, Any]:
    """Return a client that logs in as itself only: no browser, no password flow."""
    return {
        "clientId": client_id,
        "enabled": True,
        "publicClient": False,
        "serviceAccountsEnabled": True,
        "standardFlowEnabled": False,
        "directAccessGrantsEnabled": False,
    }


def _ensure_cluster_provider(keycloak: Rest, admin: str, public_key: str) -> None:
    """Let tokens of the cluster's ServiceAccounts be assertions of clients.

    Nobody logs in through it, so its endpoints and its own client are nobody's.
    """
    config = {
        "issuer": SERVICE_ACCOUNT_ISSUER,
        "validateSignature": "true",
        "useJwksUrl": "false",
        "publicKeySignatureVerifier": public_key,
        "supportsClientAssertions": "true",
        "supportsClientAssertionReuse": "true",
        # Else a token is refused five minutes after it was made, however long it lives.
        "fedClientAssertionMaxExp": str(ASSERTION_SECONDS),
        "clientId": "unused",
        "clientSecret": "unused",
        "authorizationUrl": "https://unused.invalid/auth",
        "tokenUrl": "https://unused.invalid/token",
    }
    provider = {"alias": CLUSTER_PROVIDER, "providerId": "oidc", "hideOnLogin": True, "config": config}
    providers = f"{admin}/identity-provider/instances"
    # Looked for first: for a second one with this issuer Keycloak answers 400 and not 409.
    if keycloak.answer("GET", f"{providers}/{CLUSTER_PROVIDER}").status == 404:
        keycloak.call("POST", providers, provider)


def _ensure_client(keycloak: Rest, admin: str, client: dict[str, Any]) -> str:
    """Create the client, or bring the one that is there to this, and return its internal id."""
    keycloak.call("POST", f"{admin}/clients", client, accept=(409,))
    client_uuid = str(keycloak.call("GET", f"{admin}/clients?clientId={client['clientId']}")[0]["id"])
    keycloak.call("PUT", f"{admin}/clients/{client_uuid}", client)
    return client_uuid


def _grant_operator_roles(keycloak: Rest, admin: str, operator: str) -> None:
    """Give the operator's service account its roles, and take any other of that client away."""
    management = keycloak.call("GET", f"{admin}/clients?clientId=realm-management")[0]["id"]
    account = keycloak.call("GET", f"{admin}/clients/{operator}/service-account-user")["id"]
    mappings = f"{admin}/users/{account}/role-mappings/clients/{management}"
    roles = keycloak.call("GET", f"{admin}/clients/{management}/roles")
    granted = {role["name"] for role in keycloak.call("GET", mappings)}
    wanted = {*OPERATOR_ROLES, WATCHING_ROLE}
    missing = [role for role in roles if role["name"] in wanted - granted]
    surplus = [role for role in roles if role["name"] in granted - wanted]
    if missing:
        keycloak.call("POST", mappings, missing)
    if surplus:
        keycloak.call("DELETE", mappings, surplus)


def _ensure_secret_policy(keycloak: Rest, admin: str) -> None:
    """Let clients of fedid have two secrets at once; the periods are beyond any that a bot asks for."""
    profiles = keycloak.call("GET", f"{admin}/client-policies/profiles")["profiles"]
    policies = keycloak.call("GET", f"{admin}/client-policies/policies")["policies"]
    if any(policy["name"] == SECRET_POLICY for policy in policies):
        return
    periods = {
        "expiration-period": 10 * 365 * 86400,
        "rotated-expiration-period": 365 * 86400,
        "remaining-rotation-period": 86400,
    }
    executor = {"executor": "secret-rotation", "configuration": periods}
    others = [profile for profile in profiles if profile["name"] != SECRET_POLICY]
    profile = {"name": SECRET_POLICY, "executors": [executor]}
    keycloak.call("PUT", f"{admin}/client-policies/profiles", {"profiles": [*others, profile]})
    attributes = json.dumps([{"key": "fedid.secret-rotation", "value": "true"}])
    condition = {"condition": "client-attributes", "configuration": {"attributes": attributes}}
    policy = {"name": SECRET_POLICY, "enabled": True, "conditions": [condition], "profiles": [SECRET_POLICY]}
    keycloak.call("PUT", f"{admin}/client-policies/policies", {"policies": [*policies, policy]})


def _ensure_group(keycloak: Rest, admin: str, path: str) -> None:
    """Create a group and those above it."""
    children = f"{admin}/groups"
    reached = ""
    for name in path.strip("/").split("/"):
        reached += f"/{name}"
        answer = keycloak.answer("GET", f"{admin}/group-by-path{reached}")
        if answer.status == 404:
            keycloak.call("POST", children, {"name": name})
            answer = keycloak.answer("GET", f"{admin}/group-by-path{reached}")
        children = f"{admin}/groups/{answer.body['id']}/children"


def _ensure_owner_attributes(keycloak: Rest, admin: str) -> None:
    """Declare the owner marks in the user profile: only administrators see and change them."""
    profile = keycloak.call("GET", f"{admin}/users/profile")
    declared = {attribute["name"] for attribute in profile["attributes"]}
    missing = [name for name in OWNER_ATTRIBUTES if name not in declared]
    if missing:
        profile["attributes"] += [
            {
                "name": name,
                "displayName": name,
                "permissions": {"view": ["admin"], "edit": ["admin"]},
                "multivalued": False,
            }
            for name in missing
        ]
        keycloak.call("PUT", f"{admin}/users/profile", profile)
