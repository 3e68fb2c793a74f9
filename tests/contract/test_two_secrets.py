"""What every `IdentityProvider` must do about two secrets of one client: the fake and a real Keycloak."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fedid.domain.realm import ClientRecord, SecretPolicy
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendRejectedError, StaleObjectError
from tests.contract.conftest import Subject
from tests.contract.identities import bot, created
from tests.fakes.identity_provider import FakeIdentityProvider

MARK = {"fedid.secret-rotation": "true"}


@pytest.fixture
def two_secrets(subject: Subject) -> Subject:
    """Give a test a realm that keeps two secrets, as the testbed's does."""
    if isinstance(subject.provider, FakeIdentityProvider):
        subject.provider.realm.secret_policy = SecretPolicy("p", timedelta(days=3650), timedelta(days=365))
    return subject


def marked(subject: Subject) -> ClientRecord:
    """Return a client that the realm's policy is about."""
    client = bot(subject)
    return replace(client, attributes={**client.attributes, **MARK})


async def accepts(subject: Subject, client: ClientRecord, secret: Sensitive | None) -> bool:
    """Present a secret."""
    assert secret is not None
    return not await subject.provider.credentials_refused(ClientCredentials(client.client_id, secret))


async def test_the_policy_is_about_clients_with_the_attribute(two_secrets: Subject) -> None:
    """Its periods are told; a client without the attribute has no policy."""
    policy = await two_secrets.provider.secret_policy(MARK)
    assert policy is not None
    assert (policy.expires_after, policy.previous_lives) == (timedelta(days=3650), timedelta(days=365))
    assert await two_secrets.provider.secret_policy({}) is None


async def test_old_and_new_are_good_until_the_old_is_ended(two_secrets: Subject) -> None:
    """The kept secret, then one of our own choice in the place of Keycloak's: both work, and only they do."""
    provider = two_secrets.provider
    client = await created(two_secrets, marked(two_secrets))
    before = provider.server_now()
    assert await provider.keep_secret(client.client_uuid)
    found = await provider.read_client(client.client_uuid)
    assert found is not None
    assert found.previous_secret == client.secret
    assert found.secret not in {None, client.secret}
    assert found.previous_since is not None
    assert before <= found.previous_since <= provider.server_now_at_most()
    ours = Sensitive("fbs_" + "x" * 40)
    await provider.update_client(replace(client, secret=ours))
    assert [await accepts(two_secrets, client, one) for one in (client.secret, ours, found.secret)] == [
        True,
        True,
        False,
    ]
    again = await provider.read_client(client.client_uuid)
    assert again is not None
    assert (again.secret, again.previous_secret, again.previous_since) == (ours, client.secret, found.previous_since)
    await provider.end_previous_secret(client.client_uuid)
    assert not await accepts(two_secrets, client, client.secret)
    assert await accepts(two_secrets, client, ours)
    ended = await provider.read_client(client.client_uuid)
    assert ended is not None
    assert (ended.previous_secret, ended.previous_since) == (None, None)
    await provider.end_previous_secret(client.client_uuid)


async def test_no_attribute_shows_a_secret(two_secrets: Subject) -> None:
    """Keycloak lists the previous secret among the client's attributes; here it is where nobody prints it."""
    client = await created(two_secrets, marked(two_secrets))
    await two_secrets.provider.keep_secret(client.client_uuid)
    found = await two_secrets.provider.read_client(client.client_uuid)
    assert found is not None
    assert client.secret is not None
    assert client.secret.reveal() not in {*found.attributes.values()}
    assert client.secret.reveal() not in repr(found)
    by_name = await two_secrets.provider.find_client(client.client_id)
    assert by_name is not None
    assert (by_name.secret, by_name.previous_secret) == (None, None)


async def test_without_the_policy_the_former_ends_at_once(two_secrets: Subject) -> None:
    """And that is said, so that nobody counts on an overlap."""
    client = await created(two_secrets, bot(two_secrets))
    assert not await two_secrets.provider.keep_secret(client.client_uuid)
    assert not await accepts(two_secrets, client, client.secret)


async def test_what_is_gone(two_secrets: Subject) -> None:
    """To keep the secret of a client that is gone is a conflict; there is nothing to end."""
    client = marked(two_secrets)
    with pytest.raises(StaleObjectError):
        await two_secrets.provider.keep_secret(client.client_uuid)
    await two_secrets.provider.end_previous_secret(client.client_uuid)


async def test_a_deleted_client_has_neither(two_secrets: Subject) -> None:
    """Both end with it."""
    client = await created(two_secrets, marked(two_secrets))
    await two_secrets.provider.keep_secret(client.client_uuid)
    await two_secrets.provider.delete_client(client.client_uuid)
    assert not await accepts(two_secrets, client, client.secret)


async def test_a_token_says_the_scopes_that_were_asked_for(subject: Subject) -> None:
    """Beside the client's default ones; a scope that the client has not is refused."""
    client = await created(subject, bot(subject))
    assert client.secret is not None
    credentials = ClientCredentials(client.client_id, client.secret)
    plain = await subject.provider.mint(credentials)
    asked = await subject.provider.mint(credentials, frozenset({"phone"}))
    assert plain is not None
    assert asked is not None
    assert "phone" not in plain.claims.scopes
    assert asked.claims.scopes >= plain.claims.scopes | {"phone"}
    with pytest.raises(BackendRejectedError, match="invalid_scope"):
        await subject.provider.mint(credentials, frozenset({"no-such-scope"}))
