"""How a bot authenticates at the token endpoint, and what its Keycloak client must say for it.

Source: RFC 7517 (JWK), RFC 7523 section 2.2 (assertions), RFC 7638 (thumbprint); Keycloak's client authenticators
`client-secret`, `client-jwt` and `federated-jwt` (26.7.3).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fedid.domain.fields import Body, section, section_or_empty, text
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import CLIENT_SECRET
from fedid.domain.sensitive import Sensitive
from fedid.errors import InvalidSpecError

__all__ = [
    "BotAuthentication",
    "ClientSecret",
    "PrivateKeyJwt",
    "ServiceAccount",
    "SigningKey",
    "SubjectClaim",
    "authenticator_attributes",
    "authenticator_of",
    "credential_name",
    "parse_authentication",
    "service_account_subject",
    "subject_conflict",
    "thumbprint",
    "without_authenticator",
]

SIGNED_JWT: Final = "client-jwt"
"""Keycloak's `clientAuthenticatorType` for clients that sign their assertions."""
FEDERATED_JWT: Final = "federated-jwt"
"""Its own for clients whose assertions an identity provider of the realm vouches for."""
SUBJECT_ATTRIBUTE: Final = "jwt.credential.sub"
"""Attribute of such a client that names the subject whose assertions it takes."""
_OWN_ATTRIBUTES: Final = (
    "use.jwks.string",
    "use.jwks.url",
    "jwks.string",
    "token.endpoint.auth.signing.alg",
    "jwt.credential.issuer",
    SUBJECT_ATTRIBUTE,
)
_WAYS: Final = ("clientSecret", "privateKeyJwt", "serviceAccount")


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """`clientSecret`: the bot secret."""


@dataclass(frozen=True, slots=True)
class PrivateKeyJwt:
    """`privateKeyJwt`: a key of the bot; Keycloak knows its public part only."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """`serviceAccount`: tokens of a ServiceAccount of the bot's own namespace, and no secret at all."""

    subject: str
    """`sub` of those tokens."""


BotAuthentication = ClientSecret | PrivateKeyJwt | ServiceAccount


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair: what signs, and what Keycloak checks with."""

    key_id: str
    """`kid`: the thumbprint of the public key, so that one key has one id wherever it is read."""
    private_key: Sensitive
    """PEM (PKCS#8), not encrypted."""
    public_key: Mapping[str, str]
    """JWK with `kid`, `use` and `alg`."""


@dataclass(frozen=True, slots=True)
class SubjectClaim:
    """A BotClient that wants to be the client of a ServiceAccount."""

    subject: str
    key: ObjectKey
    uid: str
    created_at: str
    """As the API server writes it (RFC 3339, UTC, whole seconds), so that texts compare like instants."""
    made: bool = False
    """Whether its client was made, so that it has what others may only want."""

    @property
    def age(self) -> tuple[bool, str, str]:
        """What sorts claims: who has a client first, then by age; the uid decides between those of one second."""
        return not self.made, self.created_at, self.uid


def parse_authentication(spec: Body, namespace: str) -> BotAuthentication:
    """Return what `spec.authentication` says; without it, the bot secret.

    Args:
        spec: Of the BotClient.
        namespace: Of the BotClient, and so of the ServiceAccount.

    Raises:
        InvalidSpecError: Not exactly one way, or one that lacks its field or contradicts another field.
    """
    path = "spec.authentication"
    told = section_or_empty(spec, path)
    found = [way for way in _WAYS if told.get(way) is not None]
    if told and len(found) != 1:
        message = f"{path} needs exactly one of clientSecret: {{}}, privateKeyJwt: {{}} and serviceAccount: {{name: …}}"
        raise InvalidSpecError(message)
    way = found[0] if found else "clientSecret"
    if way == "serviceAccount":
        for other in ("tokens", "secretRotation"):
            if spec.get(other):
                message = (
                    f"spec.{other} does not go with {path}.serviceAccount: only the pod can get tokens, and there "
                )
                raise InvalidSpecError(message + f"is no secret; leave out spec.{other}")
        name = text(section(told, f"{path}.{way}"), f"{path}.{way}.name")
        return ServiceAccount(service_account_subject(namespace, name))
    if told:
        section(told, f"{path}.{way}")
    return PrivateKeyJwt() if way == "privateKeyJwt" else ClientSecret()


def service_account_subject(namespace: str, name: str) -> str:
    """Return the `sub` of a ServiceAccount's tokens."""
    return f"system:serviceaccount:{namespace}:{name}"


def credential_name(authentication: BotAuthentication) -> str:
    """Return what the bot authenticates with, in words."""
    match authentication:
        case ClientSecret():
            return "bot secret"
        case PrivateKeyJwt():
            return "private key"
        case ServiceAccount():
            return "ServiceAccount"


def authenticator_of(authentication: BotAuthentication) -> str:
    """Return Keycloak's `clientAuthenticatorType`."""
    match authentication:
        case ClientSecret():
            return CLIENT_SECRET
        case PrivateKeyJwt():
            return SIGNED_JWT
        case ServiceAccount():
            return FEDERATED_JWT


def authenticator_attributes(
    authentication: BotAuthentication, *, keys: Iterable[Mapping[str, str]] = (), provider: str | None = None
) -> dict[str, str]:
    """Return the attributes that the client's authenticator reads.

    Args:
        authentication: Of the bot.
        keys: Public keys (JWK) that are good now: one, or old and new while a key is replaced.
        provider: Alias of the identity provider that stands for the cluster.

    Raises:
        InvalidSpecError: There is no such provider, and the bot needs it.
    """
    match authentication:
        case ClientSecret():
            return {}
        case PrivateKeyJwt():
            # In an order of its own, so that the same keys are the same text and no drift.
            known = sorted((dict(key) for key in keys), key=lambda key: key["kid"])
            return {
                "use.jwks.string": "true",
                "use.jwks.url": "false",
                "jwks.string": json.dumps({"keys": known}, sort_keys=True, separators=(",", ":")),
                "token.endpoint.auth.signing.alg": "ES256",
            }
        case ServiceAccount(subject=subject):
            if provider is None:
                message = (
                    "the Federation names no identity provider that stands for this cluster, which authentication by "
                    "serviceAccount needs; set spec.keycloak.assertionProvider there to its alias"
                )
                raise InvalidSpecError(message)
            return {"jwt.credential.issuer": provider, SUBJECT_ATTRIBUTE: subject}


def without_authenticator(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return attributes to write over these, so that no key and no subject is left on the client."""
    return {**attributes, **{name: "" for name in _OWN_ATTRIBUTES if name in attributes}}


def subject_conflict(mine: SubjectClaim, others: Iterable[SubjectClaim], *, operators_own: str) -> str | None:
    """Return why a bot cannot be the client of its ServiceAccount, None if it can: one subject serves one client.

    With two clients of one subject Keycloak would choose between them, and the operator's own subject would give its
    rights away.

    Args:
        mine: What this bot wants.
        others: What the bots of this realm want; it may be among them.
        operators_own: Subject of the operator's ServiceAccount.
    """
    if mine.subject == operators_own:
        return (
            f"{mine.subject} is the operator's own ServiceAccount; name another in spec.authentication.serviceAccount"
        )
    older = [one for one in others if one.subject == mine.subject and one.uid != mine.uid and one.age < mine.age]
    if not older:
        return None
    first = min(older, key=lambda one: one.age)
    return (
        f"{mine.subject} authenticates {first.key} already, and one ServiceAccount serves one client; name another in "
        "spec.authentication.serviceAccount"
    )


def thumbprint(public_key: Mapping[str, str]) -> str:
    """Return the thumbprint of an elliptic curve's public key (JWK), base64url without padding.

    Source: RFC 7638 sections 3.1 and 3.2.
    """
    needed = {name: public_key[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(needed, sort_keys=True, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
