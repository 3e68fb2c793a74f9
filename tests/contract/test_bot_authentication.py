"""How bots authenticate, from the client that the domain asks for to a token: the fake and a real Keycloak."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fedid.adapters.signing_keys import new_signing_key
from fedid.domain.bot_authentication import (
    BotAuthentication,
    ClientSecret,
    PrivateKeyJwt,
    ServiceAccount,
    SigningKey,
    authenticator_attributes,
    authenticator_of,
    service_account_subject,
)
from fedid.domain.realm import ClientRecord
from fedid.domain.tokens import AssertionFile, ClientAuthentication, PrivateKey
from fedid.errors import BackendRejectedError
from tests.contract.conftest import Subject
from tests.contract.identities import bot, created, credentials
from tests.testbed.keycloak_realm import CLUSTER_PROVIDER

OWN, OTHER = ("site-a", "default"), ("site-b", "default")


def client(
    subject: Subject, authentication: BotAuthentication, keys: Iterable[Mapping[str, str]] = (), suffix: str = "bot"
) -> ClientRecord:
    """Return the client of a bot that authenticates so."""
    plain = bot(subject, suffix)
    attributes = authenticator_attributes(authentication, keys=keys, provider=CLUSTER_PROVIDER)
    return replace(plain, authenticator=authenticator_of(authentication), attributes={**plain.attributes, **attributes})


def presented(made: ClientRecord, key: SigningKey) -> PrivateKey:
    """Return what the client authenticates with."""
    return PrivateKey(made.client_id, key.private_key, key.key_id)


async def accepted(subject: Subject, shown: ClientAuthentication) -> bool:
    """Tell whether there is a token for it; all that ask must agree."""
    minted = await subject.provider.mint(shown)
    assert await subject.provider.credentials_refused(shown) is (minted is None)
    return minted is not None


class TestPrivateKey:
    """Bots that sign."""

    async def test_round_trip(self, subject: Subject) -> None:
        """What the client must say is read back as it was written, so that it is no drift."""
        made = await created(subject, client(subject, PrivateKeyJwt(), [new_signing_key().public_key]))
        found = await subject.provider.read_client(made.client_uuid)
        assert found is not None
        assert found.authenticator == made.authenticator
        assert found.attributes | made.attributes == found.attributes

    async def test_key(self, subject: Subject) -> None:
        """Its key gets a token of this client, which it may revoke; nobody else's does, and none after the deletion."""
        key, other = new_signing_key(), new_signing_key()
        made = await created(subject, client(subject, PrivateKeyJwt(), [key.public_key]))
        minted = await subject.provider.mint(presented(made, key))
        assert minted is not None
        assert minted.claims.authorized_party == made.client_id
        assert not await accepted(subject, presented(made, other))
        assert not await accepted(subject, replace(presented(made, other), key_id=key.key_id))
        with pytest.raises(BackendRejectedError):
            await subject.provider.revoke(minted.token, presented(made, other))
        assert await subject.provider.token_accepted(minted.token)
        await subject.provider.revoke(minted.token, presented(made, key))
        assert not await subject.provider.token_accepted(minted.token)
        assert await accepted(subject, presented(made, key))
        await subject.provider.delete_client(made.client_uuid)
        assert not await accepted(subject, presented(made, key))

    async def test_rotation(self, subject: Subject) -> None:
        """Old and new are good while both are in the set; the old one is refused once it was taken out, at once."""
        old, new = new_signing_key(), new_signing_key()
        made = await created(subject, client(subject, PrivateKeyJwt(), [old.public_key]))
        for keys, good in (([old, new], (True, True)), ([new], (False, True))):
            attributes = client(subject, PrivateKeyJwt(), [key.public_key for key in keys]).attributes
            await subject.provider.update_client(replace(made, secret=None, attributes=attributes))
            found = [await accepted(subject, presented(made, key)) for key in (old, new)]
            assert tuple(found) == good

    async def test_token_outlives_its_key(self, subject: Subject) -> None:
        """A token that was minted with a key stays good when the key goes: like a secret, it must be revoked."""
        old, new = new_signing_key(), new_signing_key()
        made = await created(subject, client(subject, PrivateKeyJwt(), [old.public_key]))
        minted = await subject.provider.mint(presented(made, old))
        assert minted is not None
        attributes = client(subject, PrivateKeyJwt(), [new.public_key]).attributes
        await subject.provider.update_client(replace(made, secret=None, attributes=attributes))
        assert not await accepted(subject, presented(made, old))
        assert await subject.provider.token_accepted(minted.token)

    async def test_its_secret_is_none(self, subject: Subject) -> None:
        """Keycloak keeps a secret for such a client too; it opens nothing, though the answer is no proof of that."""
        made = await created(subject, client(subject, PrivateKeyJwt(), [new_signing_key().public_key]))
        with pytest.raises(BackendRejectedError, match="client_assertion_type is missing"):
            await subject.provider.mint(credentials(made))


class TestServiceAccount:
    """Bots without any secret."""

    async def test_token(self, subject: Subject, tmp_path: Path) -> None:
        """The token of its ServiceAccount gets a token of this client, another's none, and none after the deletion."""
        authentication = ServiceAccount(service_account_subject(*OWN))
        made = await created(subject, client(subject, authentication))
        own, other = tmp_path / "own", tmp_path / "other"
        own.write_text(subject.hands.service_account_token(*OWN))
        other.write_text(subject.hands.service_account_token(*OTHER))
        minted = await subject.provider.mint(AssertionFile(own))
        assert minted is not None
        assert minted.claims.authorized_party == made.client_id
        assert await accepted(subject, AssertionFile(own, made.client_id))
        assert not await accepted(subject, AssertionFile(own, subject.name("unknown")))
        assert not await accepted(subject, AssertionFile(other))
        other.write_text("no.token.at-all")
        assert not await accepted(subject, AssertionFile(other))
        await subject.provider.update_client(replace(made, secret=None, enabled=False))
        assert not await accepted(subject, AssertionFile(own))
        await subject.provider.update_client(replace(made, secret=None))
        assert await accepted(subject, AssertionFile(own))
        await subject.provider.delete_client(made.client_uuid)
        assert not await accepted(subject, AssertionFile(own))
        assert not await subject.provider.token_accepted(minted.token)

    async def test_round_trip(self, subject: Subject) -> None:
        """Issuer and subject are read back: the evidence that the client stands for that ServiceAccount."""
        wanted = client(subject, ServiceAccount(f"system:serviceaccount:{uuid.uuid4()}:x"))
        made = await created(subject, wanted)
        found = await subject.provider.read_client(made.client_uuid)
        assert found is not None
        assert found.authenticator == "federated-jwt"
        assert found.attributes | made.attributes == found.attributes

    async def test_its_secret_is_none(self, subject: Subject) -> None:
        """Keycloak keeps a secret for such a client too; it is refused."""
        wanted = client(subject, ServiceAccount(f"system:serviceaccount:{uuid.uuid4()}:x"))
        made = await created(subject, wanted)
        assert not await accepted(subject, credentials(made))


class TestClientSecret:
    """The usual way, beside the others."""

    async def test_a_key_is_refused(self, subject: Subject) -> None:
        """A client with a secret takes no assertion."""
        made = await created(subject, client(subject, ClientSecret()))
        assert await accepted(subject, credentials(made))
        assert not await accepted(subject, presented(made, new_signing_key()))
