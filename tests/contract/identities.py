"""Clients and users as a BotClient and a FederationUser want them, and what the tests of the port do with them."""

from __future__ import annotations

import asyncio
import uuid

from fedid.domain.realm import ClientRecord, ProtocolMapper, UserRecord
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials, MintedToken
from tests.contract.conftest import Subject

OWNER = "installation/uid-of-a-bot"
OBJECT = "BotClient/site-a/trainer"


def bot(subject: Subject, suffix: str = "bot", *, audiences: tuple[str, ...] = (), seconds: int = 600) -> ClientRecord:
    """Return a client as a BotClient wants it."""
    return ClientRecord(
        client_uuid=str(uuid.uuid4()),
        client_id=subject.name(suffix),
        owner=OWNER,
        object_name=OBJECT,
        description="trains models",
        enabled=True,
        secret=Sensitive(f"secret-of-{uuid.uuid4()}"),
        flags={"serviceAccountsEnabled": True, "publicClient": False, "standardFlowEnabled": False},
        attributes={"access.token.lifespan": str(seconds), "client_credentials.use_refresh_token": "false"},
        mappers=tuple(audience_mapper(audience) for audience in audiences),
    )


def audience_mapper(audience: str) -> ProtocolMapper:
    """Return what adds an audience to access tokens."""
    config = {"included.custom.audience": audience, "access.token.claim": "true"}
    return ProtocolMapper(f"audience {audience}", "oidc-audience-mapper", config)


def credentials(client: ClientRecord) -> ClientCredentials:
    """Return what the client logs in with."""
    assert client.secret is not None
    return ClientCredentials(client.client_id, client.secret)


async def minted(subject: Subject, client: ClientRecord) -> MintedToken:
    """Return a token of the client."""
    found = await subject.provider.mint(credentials(client))
    assert found is not None
    return found


async def created(subject: Subject, client: ClientRecord) -> ClientRecord:
    """Create the client and return it as given."""
    assert await subject.provider.create_client(client)
    return client


def person(subject: Subject, suffix: str = "ana", *, groups: frozenset[str] = frozenset()) -> UserRecord:
    """Return a user as a FederationUser wants it."""
    return UserRecord(
        user_id=None,
        username=subject.name(suffix),
        owner=OWNER,
        object_name="FederationUser/site-a/ana",
        enabled=True,
        email=f"{subject.name(suffix)}@site-a.example",
        first_name="Ana",
        last_name="Novak",
        groups=groups,
        email_verified=False,
    )


async def next_second(subject: Subject) -> int:
    """Wait until Keycloak's clock is surely beyond this second, and return the second that it is then."""
    last = subject.provider.server_now_at_most()
    while (now := subject.provider.server_now()) <= last:  # noqa: ASYNC110 - a clock sends no event
        await asyncio.sleep((last - now).total_seconds() / 10 + 0.02)
    return int(now.timestamp())
