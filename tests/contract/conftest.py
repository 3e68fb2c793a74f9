"""The subjects of the contract tests: each port's fake, and its adapter before the real server.

`stack` is the running testbed of tests/conftest.py; a test that asks for it is skipped where there is none.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from fedid.adapters.answer import Call
from fedid.adapters.keycloak import KeycloakRealm
from fedid.adapters.transport import Transport
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientAuthentication, ClientCredentials
from fedid.ports import IdentityProvider
from tests.contract.keycloak_hands import FakeHands, Hands, KeycloakHands
from tests.fakes.identity_provider import FakeIdentityProvider
from tests.testbed.keycloak_realm import REALM, ensure_operator_with_secret
from tests.testbed.stack import Stack

OPERATOR_WITH_SECRET = "fedid-contract"
"""The adapter's own client in these tests: as the testbed's operator, with a secret that tests can get wrong."""
_secrets: dict[str, Sensitive] = {}


def operator_with_secret(stack: Stack) -> ClientCredentials:
    """Return that client, made at the first use of a run."""
    if stack.name not in _secrets:
        secret = secrets.token_urlsafe(24)
        ensure_operator_with_secret(stack.api("keycloak"), OPERATOR_WITH_SECRET, secret)
        _secrets[stack.name] = Sensitive(secret)
    return ClientCredentials(OPERATOR_WITH_SECRET, _secrets[stack.name])


@dataclass(slots=True)
class KeycloakSubject:
    """A real realm: a way to make adapters for it, and its administrator."""

    stack: Stack
    hands: KeycloakHands
    prefix: str
    calls: list[Call] = field(default_factory=list)
    """What the adapters made here have asked Keycloak."""
    made: list[KeycloakRealm] = field(default_factory=list)

    def provider(
        self,
        *,
        realm: str = REALM,
        issuer_url: str | None = None,
        credentials: ClientAuthentication | None = None,
        catalogue_pause: timedelta = timedelta(),
    ) -> KeycloakRealm:
        """Return an adapter, as the testbed's operator unless told otherwise; closed with the test."""
        url = self.stack.keycloak_url
        made = KeycloakRealm(
            Transport("keycloak", url, on_call=self.calls.append),
            realm,
            issuer_url or f"{url}/realms/{realm}",
            credentials or operator_with_secret(self.stack),
            catalogue_pause=catalogue_pause,
        )
        self.made.append(made)
        return made


@asynccontextmanager
async def keycloak_subject(stack: Stack) -> AsyncIterator[KeycloakSubject]:
    """Yield the real realm, and clean up after it."""
    prefix = f"ct{secrets.token_hex(5)}"
    subject = KeycloakSubject(stack, KeycloakHands(stack, REALM, prefix), prefix)
    yield subject
    for provider in subject.made:
        await provider.aclose()
    subject.hands.clean()


@pytest.fixture
async def keycloak(stack: Stack) -> AsyncIterator[KeycloakSubject]:
    """Give a test the real realm, and clean up after it."""
    async with keycloak_subject(stack) as subject:
        yield subject


@dataclass(frozen=True, slots=True)
class Subject:
    """An `IdentityProvider` that has been probed, and the administrator of its realm."""

    provider: IdentityProvider
    hands: Hands
    prefix: str

    def name(self, suffix: str) -> str:
        """Return a name that only this test uses."""
        return f"{self.prefix}-{suffix}"


@pytest.fixture(params=["fake", "keycloak"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Give a test one implementation of `IdentityProvider` after the other."""
    if request.param == "fake":
        fake = FakeIdentityProvider()
        yield Subject(fake, FakeHands(fake.realm), f"ct{secrets.token_hex(5)}")
        return
    async with keycloak_subject(request.getfixturevalue("stack")) as keycloak:
        provider = keycloak.provider()
        await provider.probe()
        yield Subject(provider, keycloak.hands, keycloak.prefix)
