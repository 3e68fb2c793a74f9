"""Objects to start from: those of design.md section 3, as the API server would hand them out."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fedid.domain.bot import DesiredBot, DesiredToken
from fedid.domain.realm import Role
from fedid.domain.tokens import TokenClaims

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UID = "3d1b6c7e-0000-4000-8000-000000000001"
ISSUER = "https://keycloak.example.org/realms/fl"
OWNER = f"installation/{UID}"

FEDERATION: dict[str, Any] = {
    "default": True,
    "keycloak": {
        "url": "https://keycloak.example.org",
        "realm": "fl",
        "auth": {"clientCredentials": {"secretName": "fedid-keycloak"}},
    },
    "vault": {
        "url": "https://vault.example.org",
        "mount": "secret",
        "kvVersion": 2,
        "pathPrefix": "fedid",
        "auth": {"jwt": {"mount": "jwt", "role": "fedid"}},
    },
    "grants": [
        {
            "namespaces": {"selector": {"matchLabels": {"fedid.io/tenant": "true"}}},
            "realmRoles": ["fl-*"],
            "groups": ["/sites/*"],
            "audiences": ["superlink"],
            "maxTokenLifetime": "1h",
        }
    ],
}
BOT: dict[str, Any] = {
    "realmRoles": ["fl-client"],
    "audiences": ["superlink"],
    "tokens": [{"name": "default", "lifetime": "10m"}],
}
USER: dict[str, Any] = {
    "username": "ana",
    "email": "ana@site-a.example",
    "firstName": "Ana",
    "lastName": "Novak",
    "realmRoles": ["fl-member"],
    "groups": ["/sites/a"],
}
POD: dict[str, Any] = {
    "role": "client",
    "botClientRef": {"name": "trainer"},
    "platform": {"generic": {"files": {"token": "{token}"}}},
}
APPROVAL: dict[str, Any] = {
    "identity": {"kind": "BotClient", "namespace": "site-a", "name": "trainer", "uid": "u"},
    "askHash": "0" * 64,
    "reason": "FL-17",
    "approvedBy": "ana",
}
SPECS: Mapping[str, dict[str, Any]] = {
    "Federation": FEDERATION,
    "BotClient": BOT,
    "FederationUser": USER,
    "PodIdentity": POD,
    "IdentityApproval": APPROVAL,
}
NAMES = {
    "Federation": "local",
    "BotClient": "trainer",
    "FederationUser": "ana",
    "PodIdentity": "trainer",
    "IdentityApproval": "yes",
}


def body(kind: str, spec: object = None, **metadata: Any) -> dict[str, Any]:
    """Return a whole object; `spec` None takes the sample's, `metadata` adds to what the API server always sets."""
    namespace = {} if kind in {"Federation", "IdentityApproval"} else {"namespace": "site-a"}
    return {
        "apiVersion": "fedid.io/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": NAMES[kind],
            **namespace,
            "uid": UID,
            "generation": 1,
            "resourceVersion": "7",
            **metadata,
        },
        "spec": copy.deepcopy(SPECS[kind]) if spec is None else spec,
    }


def without(kind: str, path: str) -> dict[str, Any]:
    """Return the sample object without the field at this dotted path (numbers are places in lists)."""
    result = body(kind)
    *folders, last = path.split(".")
    place: Any = result
    for folder in folders:
        place = place[int(folder)] if folder.isdigit() else place[folder]
    del place[last]
    return result


def with_value(kind: str, path: str, value: object) -> dict[str, Any]:
    """Return the sample object with another value at this dotted path."""
    result = body(kind)
    *folders, last = path.split(".")
    place: Any = result
    for folder in folders:
        place = place[int(folder)] if folder.isdigit() else place.setdefault(folder, {})
    place[int(last) if last.isdigit() else last] = value
    return result


def realm_role(name: str, *, role_id: str | None = None) -> Role:
    """Return a realm role whose id derives from its name."""
    return Role(role_id or f"id-of-{name}", name)


def client_role(client_id: str, name: str) -> Role:
    """Return a client role whose id derives from both names."""
    return Role(f"id-of-{client_id}-{name}", name, client_id, f"uuid-of-{client_id}")


def desired(**changes: Any) -> DesiredBot:
    """Return the trainer of design.md as the grants let it be, with changes."""
    wanted = DesiredBot(
        client_uuid="3e4eb185-3419-5eda-9806-5c1ea8225435",
        client_id="site-a.trainer",
        owner=OWNER,
        object_name="BotClient/site-a/trainer",
        description="",
        realm_roles=frozenset({"fl-client"}),
        client_roles={"superlink": frozenset({"submit"})},
        audiences=frozenset({"superlink"}),
        lifetime=timedelta(minutes=10),
        tokens=(DesiredToken("default"),),
        issuer_url=ISSUER,
    )
    if "tokens" in changes:
        changes["tokens"] = tokens_named(changes["tokens"])
    return replace(wanted, **changes)


def tokens_named(tokens: Iterable[str | DesiredToken]) -> tuple[DesiredToken, ...]:
    """Return tokens of a spec that says no more of them than their names, beside those that are given whole."""
    return tuple(DesiredToken(token) if isinstance(token, str) else token for token in tokens)


def roles_of(bot: DesiredBot) -> frozenset[Role]:
    """Return the roles that a bot asks for, with ids."""
    of_clients = {client_role(client, name) for client, names in bot.client_roles.items() for name in names}
    return frozenset({realm_role(name) for name in bot.realm_roles} | of_clients)


def claims(bot: DesiredBot, issued_at: datetime = NOW, **changes: Any) -> TokenClaims:
    """Return the claims of a good token of a bot, minted at an instant, with changes."""
    good = TokenClaims(
        issuer=bot.issuer_url,
        subject="service-account-of-trainer",
        authorized_party=bot.client_id,
        token_id="token-id",
        issued_at=issued_at,
        expires_at=issued_at + bot.lifetime,
        audiences=bot.audiences | {"account"},
        realm_roles=bot.realm_roles | {"default-roles-fl"},
        client_roles={client: roles | {"view-profile"} for client, roles in bot.client_roles.items()},
    )
    return replace(good, **changes)
