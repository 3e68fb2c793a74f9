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
from fedid.domain.tokens import ClientCredentials
from fedid.ports import IdentityProvider
from tests.contract.keycloak_hands import FakeHands, Hands, KeycloakHands
from tests.fakes.identity_provider import FakeIdentityProvider
from tests.testbed.keycloak_realm import OPERATOR, REALM
from tests.testbed.stack import Stack


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
        credentials: ClientCredentials | None = None,
        catalogue_pause: timedelta = timedelta(),
    ) -> KeycloakRealm:
        """Return an adapter, as the testbed's operator unless told otherwise; closed with the test."""
        url = self.stack.keycloak_url
        secret = Sensitive(self.stack.credentials.operator_client_secret)
        made = KeycloakRealm(
            Transport("keycloak", url, on_call=self.calls.append),
            realm,
            issuer_url or f"{url}/realms/{realm}",
            credentials or ClientCredentials(OPERATOR, secret),
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
