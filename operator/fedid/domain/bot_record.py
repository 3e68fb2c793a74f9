"""The Keycloak client of a bot: what it has to be, how one that was observed differs, and what puts it right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fedid.domain.bot import TWO_SECRETS, DesiredBot, has_secret
from fedid.domain.bot_authentication import authenticator_attributes, authenticator_of
from fedid.domain.realm import DEVICE_FLOW, SERVICE_ACCOUNTS, TOKEN_LIFESPAN, ClientRecord, ProtocolMapper
from fedid.domain.sensitive import Sensitive

__all__ = ["audience_mapper", "client_differences", "corrected", "desired_client"]

_AUDIENCE_MAPPER = "oidc-audience-mapper"
_CLAIM_MAPPER = "oidc-hardcoded-claim-mapper"
_CLAIM_VALUE = "claim.value"
_KEYCLOAKS_OWN = ("realm_client", "client.secret.", "backchannel.logout.")
"""How the attributes begin that Keycloak sets by itself (26.7.3)."""


def desired_client(
    bot: DesiredBot, *, secret: Sensitive | None, not_before: int = 0, keys: Iterable[Mapping[str, str]] = ()
) -> ClientRecord:
    """Return the Keycloak client of a bot: confidential, service account, no browser flow.

    Args:
        bot: What is wanted.
        secret: The bot secret to set; None leaves it as it is.
        not_before: Seconds since the epoch, Keycloak's clock; only read at creation.
        keys: Public keys (JWK) of a bot that authenticates with a private key.

    Raises:
        InvalidSpecError: The bot needs the Federation's assertion provider, and it names none.
    """
    return ClientRecord(
        client_uuid=bot.client_uuid,
        client_id=bot.client_id,
        owner=bot.owner,
        object_name=bot.object_name,
        description=bot.description,
        enabled=True,
        secret=secret,
        flags={
            "publicClient": False,
            "bearerOnly": False,
            "standardFlowEnabled": False,
            "implicitFlowEnabled": False,
            "directAccessGrantsEnabled": False,
            SERVICE_ACCOUNTS: True,
            "consentRequired": False,
            "authorizationServicesEnabled": False,
            # The service account holds exactly the declared roles, so a role scope would only say them twice.
            "fullScopeAllowed": True,
        },
        attributes={
            TOKEN_LIFESPAN: str(int(bot.lifetime.total_seconds())),
            # A refresh token would make a user session per renewal (keycloak #11653) and outlive a revocation.
            "client_credentials.use_refresh_token": "false",
            DEVICE_FLOW: "false",
            "oidc.ciba.grant.enabled": "false",
            **({TWO_SECRETS: "true"} if has_secret(bot) else {}),
            **authenticator_attributes(bot.authentication, keys=keys, provider=bot.assertion_provider),
        },
        mappers=(*map(audience_mapper, sorted(bot.audiences)), *map(_claim_mapper, sorted(bot.claims.items()))),
        authenticator=authenticator_of(bot.authentication),
        not_before=not_before,
    )


def audience_mapper(audience: str) -> ProtocolMapper:
    """Return what puts an audience into access tokens."""
    return ProtocolMapper(
        name=f"audience {audience}",
        type=_AUDIENCE_MAPPER,
        config={
            "included.custom.audience": audience,
            "access.token.claim": "true",
            "introspection.token.claim": "true",
        },
    )


def _claim_mapper(claim: tuple[str, str]) -> ProtocolMapper:
    name, value = claim
    return ProtocolMapper(
        name=f"claim {name}",
        type=_CLAIM_MAPPER,
        config={
            "claim.name": name,
            _CLAIM_VALUE: value,
            "jsonType.label": "String",
            "access.token.claim": "true",
            "introspection.token.claim": "true",
        },
    )


def client_differences(desired: ClientRecord, observed: ClientRecord) -> tuple[str, ...]:
    """Return the fields in which the observed client is not what is desired, by Keycloak's names; never the secret."""
    fields = []
    if observed.client_id != desired.client_id:
        fields.append("clientId")
    if observed.description != desired.description:
        fields.append("description")
    if observed.enabled != desired.enabled:
        fields.append("enabled")
    if observed.authenticator != desired.authenticator:
        fields.append("clientAuthenticatorType")
    if observed.object_name != desired.object_name:
        fields.append("attributes[fedid.object]")
    fields += [name for name, value in desired.flags.items() if observed.flags.get(name, False) != value]
    fields += [
        f"attributes[{name}]" for name, value in desired.attributes.items() if observed.attributes.get(name) != value
    ]
    fields += [f"attributes[{name}]" for name in _surplus_attributes(desired, observed)]
    uris = {*desired.uris, *observed.uris}
    fields += sorted(name for name in uris if set(observed.uris.get(name, ())) != set(desired.uris.get(name, ())))
    if _comparable(desired.mappers) != _comparable(observed.mappers):
        fields.append("protocolMappers")
    return tuple(fields)


def corrected(desired: ClientRecord, observed: ClientRecord) -> ClientRecord:
    """Return what to write over the observed client: what is desired, and nothing where somebody added something."""
    return replace(
        desired,
        attributes={**dict.fromkeys(_surplus_attributes(desired, observed), ""), **desired.attributes},
        uris={**dict.fromkeys(observed.uris, ()), **desired.uris},
    )


def _surplus_attributes(desired: ClientRecord, observed: ClientRecord) -> list[str]:
    added = sorted(observed.attributes.keys() - desired.attributes.keys())
    return [name for name in added if not name.startswith(_KEYCLOAKS_OWN)]


def _comparable(mappers: tuple[ProtocolMapper, ...]) -> frozenset[tuple[str, str, frozenset[tuple[str, str]]]]:
    """Return mappers as a set; `false` is what Keycloak assumes where a switch is not set."""
    return frozenset(
        (m.name, m.type, frozenset((k, v) for k, v in m.config.items() if k == _CLAIM_VALUE or v not in {"false", ""}))
        for m in mappers
    )
