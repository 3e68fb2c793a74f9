"""What the operator signs in with: read from the Secrets that a Federation names, in the operator's own namespace."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields

from fedid.domain.access import (
    AppRole,
    AppRoleAuth,
    ClientCredentialsAuth,
    JwtAuth,
    KeycloakAuth,
    KeycloakCredentials,
    KubernetesAuth,
    PrivateKeyJwtAuth,
    ServiceAccountTokenAuth,
    VaultAuth,
    VaultCredentials,
    VaultToken,
    VaultTokenAuth,
)
from fedid.domain.conditions import Reason
from fedid.domain.openfga import OpenFgaAccess
from fedid.domain.resources import Federation
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials, PrivateKey
from fedid.errors import NotReadyError
from fedid.ports import Cluster

__all__ = ["access_digest", "keycloak_credentials", "openfga_key", "vault_credentials", "vault_holder"]


async def keycloak_credentials(cluster: Cluster, auth: KeycloakAuth) -> KeycloakCredentials:
    """Return what the operator's client presents.

    Raises:
        NotReadyError: The Secret or a key in it is missing (reason `CredentialsMissing`); says which.
        BackendDeniedError: We may not read it.
    """
    match auth:
        case ClientCredentialsAuth(secret_name=name):
            path = "spec.keycloak.auth.clientCredentials.secretName"
            held = await _held(cluster, name, path, "client-id", "client-secret")
            return ClientCredentials(held["client-id"].reveal(), held["client-secret"])
        case PrivateKeyJwtAuth(secret_name=name):
            path = "spec.keycloak.auth.privateKeyJwt.secretName"
            held = await _held(cluster, name, path, "client-id", "private-key")
            key_id = held.get("key-id")
            return PrivateKey(
                held["client-id"].reveal(), held["private-key"], key_id.reveal() if key_id is not None else None
            )
        case ServiceAccountTokenAuth():
            return auth


async def vault_credentials(cluster: Cluster, auth: VaultAuth) -> VaultCredentials:
    """Return what the operator signs in to Vault with.

    Raises:
        NotReadyError: The Secret or a key in it is missing (reason `CredentialsMissing`); says which.
        BackendDeniedError: We may not read it.
    """
    match auth:
        case AppRoleAuth(mount=mount, secret_name=name):
            held = await _held(cluster, name, "spec.vault.auth.approle.secretName", "role-id", "secret-id")
            return AppRole(mount, held["role-id"], held["secret-id"])
        case VaultTokenAuth(secret_name=name):
            held = await _held(cluster, name, "spec.vault.auth.token.secretName", "token")
            return VaultToken(held["token"])
        case JwtAuth() | KubernetesAuth():
            return auth


async def openfga_key(cluster: Cluster, access: OpenFgaAccess) -> Sensitive | None:
    """Return the preshared key that the operator presents to OpenFGA, None if the server asks for none.

    Raises:
        NotReadyError: The Secret or the key in it is missing (reason `CredentialsMissing`); says which.
        BackendDeniedError: We may not read it.
    """
    if access.secret_name is None:
        return None
    path = "spec.openFga.auth.presharedKey.secretName"
    return (await _held(cluster, access.secret_name, path, "preshared-key"))["preshared-key"]


def vault_holder(auth: VaultAuth) -> tuple[str, str]:
    """Return who holds the permissions in Vault, and where they are given, as parts of a sentence."""
    match auth:
        case JwtAuth(role=role) | KubernetesAuth(role=role):
            return f"Vault's role {role}", "the policy of that role"
        case AppRoleAuth(secret_name=name):
            return f"The AppRole in the Secret {name}", "the policy of that role"
        case VaultTokenAuth(secret_name=name):
            return f"The Vault token in the Secret {name}", "a policy of that token"


def access_digest(federation: Federation, *credentials: KeycloakCredentials | VaultCredentials) -> str:
    """Return what changes whenever url, realm, trust, way of access or anything presented there does."""
    parts = [repr(federation.keycloak), repr(federation.vault)]
    for one in credentials:
        values = [getattr(one, field.name) for field in fields(one)]
        parts += [repr(type(one)), *(v.reveal() if isinstance(v, Sensitive) else repr(v) for v in values)]
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


async def _held(cluster: Cluster, name: str, path: str, *keys: str) -> Mapping[str, Sensitive]:
    """Return what a Secret holds without white space around it; each of the keys is there and not empty."""
    where, needed = f"Secret {name} in the operator's namespace ({path})", " and ".join(keys)
    data = await cluster.read_own_secret(name)
    if data is None:
        noun = "keys" if len(keys) > 1 else "key"
        message = f"{where} does not exist; create it with the {noun} {needed}"
        raise NotReadyError(message, reason=Reason.CREDENTIALS_MISSING)
    held = {key: Sensitive(value.reveal().strip()) for key, value in data.items()}
    for key in keys:
        if not held.get(key):
            message = f"{where} lacks the key {key}"
            raise NotReadyError(message, reason=Reason.CREDENTIALS_MISSING)
    return {key: value for key, value in held.items() if value}
