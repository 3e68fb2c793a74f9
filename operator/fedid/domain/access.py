"""How the operator gets into Keycloak and Vault: what a Federation says about it, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedid.domain.fields import Body, section, section_or_empty, text, text_or_none
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientAuthentication
from fedid.errors import InvalidSpecError

__all__ = [
    "AppRole",
    "AppRoleAuth",
    "ClientCredentialsAuth",
    "JwtAuth",
    "KeycloakAccess",
    "KeycloakAuth",
    "KeycloakCredentials",
    "KubernetesAuth",
    "PrivateKeyJwtAuth",
    "ServiceAccountTokenAuth",
    "VaultAccess",
    "VaultAuth",
    "VaultCredentials",
    "VaultToken",
    "VaultTokenAuth",
    "parse_keycloak_access",
    "parse_vault_access",
]


@dataclass(frozen=True, slots=True)
class ClientCredentialsAuth:
    """`clientCredentials`: a client and its secret."""

    secret_name: str
    """Secret in the operator's namespace with the keys `client-id` and `client-secret`."""


@dataclass(frozen=True, slots=True)
class PrivateKeyJwtAuth:
    """`privateKeyJwt`: a client, and a key that signs its assertions."""

    secret_name: str
    """Secret in the operator's namespace with the keys `client-id`, `private-key` and perhaps `key-id`."""


@dataclass(frozen=True, slots=True)
class ServiceAccountTokenAuth:
    """`serviceAccountToken`: the projected token of the operator's ServiceAccount is the assertion."""

    client_id: str
    """Empty: Keycloak finds the client by the token's subject alone."""


KeycloakAuth = ClientCredentialsAuth | PrivateKeyJwtAuth | ServiceAccountTokenAuth


@dataclass(frozen=True, slots=True)
class KeycloakAccess:
    """Where the realm is and how the operator gets in."""

    url: str
    realm: str
    issuer_url: str
    ca_bundle: str | None
    auth: KeycloakAuth
    assertion_provider: str | None = None
    """Alias of the identity provider that stands for this cluster, for bots without a secret; None: there is none."""


@dataclass(frozen=True, slots=True)
class JwtAuth:
    """`jwt`: the projected token of the operator's ServiceAccount, at Vault's JWT method."""

    mount: str
    role: str


@dataclass(frozen=True, slots=True)
class KubernetesAuth:
    """`kubernetes`: the same token at Vault's Kubernetes method."""

    mount: str
    role: str


@dataclass(frozen=True, slots=True)
class AppRoleAuth:
    """`approle`: a role id and a secret id."""

    mount: str
    secret_name: str
    """Secret in the operator's namespace with the keys `role-id` and `secret-id`."""


@dataclass(frozen=True, slots=True)
class VaultTokenAuth:
    """`token`: a token that somebody made."""

    secret_name: str
    """Secret in the operator's namespace with the key `token`."""


VaultAuth = JwtAuth | KubernetesAuth | AppRoleAuth | VaultTokenAuth


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """Where Vault is and how the operator gets in."""

    url: str
    mount: str
    kv_version: int
    path_prefix: str
    ca_bundle: str | None
    auth: VaultAuth


@dataclass(frozen=True, slots=True)
class AppRole:
    """What `approle` says, and its Secret holds."""

    mount: str
    role_id: Sensitive
    secret_id: Sensitive


@dataclass(frozen=True, slots=True)
class VaultToken:
    """What the Secret of `token` holds."""

    token: Sensitive


KeycloakCredentials = ClientAuthentication | ServiceAccountTokenAuth
"""What the operator signs in to Keycloak with, Secrets read; its own token is in no Secret."""
VaultCredentials = JwtAuth | KubernetesAuth | AppRole | VaultToken
"""What it signs in to Vault with."""


def parse_keycloak_access(keycloak: Body) -> KeycloakAccess:
    """Return what `spec.keycloak` says.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    url, realm = text(keycloak, "spec.keycloak.url").rstrip("/"), text(keycloak, "spec.keycloak.realm")
    return KeycloakAccess(
        url=url,
        realm=realm,
        issuer_url=text_or_none(keycloak, "spec.keycloak.issuerUrl") or f"{url}/realms/{realm}",
        ca_bundle=text_or_none(keycloak, "spec.keycloak.caBundle"),
        auth=_keycloak_auth(section_or_empty(keycloak, "spec.keycloak.auth")),
        assertion_provider=text_or_none(keycloak, "spec.keycloak.assertionProvider"),
    )


def parse_vault_access(vault: Body) -> VaultAccess:
    """Return what `spec.vault` says.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    kv_version = vault.get("kvVersion")
    if kv_version is not None and (isinstance(kv_version, bool) or kv_version not in (1, 2)):
        message = f"spec.vault.kvVersion is {kv_version!r}; set 1 or 2"
        raise InvalidSpecError(message)
    return VaultAccess(
        url=text(vault, "spec.vault.url").rstrip("/"),
        mount=text_or_none(vault, "spec.vault.mount") or "secret",
        kv_version=int(kv_version or 2),
        path_prefix=text_or_none(vault, "spec.vault.pathPrefix") or "fedid",
        ca_bundle=text_or_none(vault, "spec.vault.caBundle"),
        auth=_vault_auth(section_or_empty(vault, "spec.vault.auth")),
    )


_KEYCLOAK_WAYS: Mapping[str, str] = {
    "clientCredentials": "{secretName: <Secret in the operator's namespace>}",
    "privateKeyJwt": "{secretName: <Secret in the operator's namespace>}",
    "serviceAccountToken": "{}",
}
_VAULT_WAYS: Mapping[str, str] = {
    "jwt": "{mount: <auth mount>, role: <role bound to the operator>}",
    "kubernetes": "{mount: <auth mount>, role: <role bound to the operator>}",
    "approle": "{secretName: <Secret in the operator's namespace>}",
    "token": "{secretName: <Secret in the operator's namespace>}",
}


def _keycloak_auth(auth: Body) -> KeycloakAuth:
    path = "spec.keycloak.auth"
    way = _only_way(auth, path, _KEYCLOAK_WAYS)
    told = section(auth, f"{path}.{way}")
    match way:
        case "clientCredentials":
            return ClientCredentialsAuth(text(told, f"{path}.{way}.secretName"))
        case "privateKeyJwt":
            return PrivateKeyJwtAuth(text(told, f"{path}.{way}.secretName"))
        case _:
            return ServiceAccountTokenAuth(text_or_none(told, f"{path}.{way}.clientId") or "")


def _vault_auth(auth: Body) -> VaultAuth:
    path = "spec.vault.auth"
    way = _only_way(auth, path, _VAULT_WAYS)
    told = section(auth, f"{path}.{way}")
    if way == "token":
        return VaultTokenAuth(text(told, f"{path}.{way}.secretName"))
    mount = text_or_none(told, f"{path}.{way}.mount") or way
    match way:
        case "approle":
            return AppRoleAuth(mount, text(told, f"{path}.{way}.secretName"))
        case "kubernetes":
            return KubernetesAuth(mount, text(told, f"{path}.{way}.role"))
        case _:
            return JwtAuth(mount, text(told, f"{path}.{way}.role"))


def _only_way(auth: Mapping[str, Any], path: str, ways: Mapping[str, str]) -> str:
    """Return which one of the ways is set.

    Raises:
        InvalidSpecError: None is, or several are.
    """
    found = [way for way in ways if auth.get(way) is not None]
    if len(found) == 1:
        return found[0]
    if found:
        message = f"{path} sets {' and '.join(found)}; leave exactly one of them"
    else:
        message = f"{path} needs {', or '.join(f'{way}: {shape}' for way, shape in ways.items())}"
    raise InvalidSpecError(message)
