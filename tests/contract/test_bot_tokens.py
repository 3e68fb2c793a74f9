"""What every `IdentityProvider` must do with the tokens of bots, alive and dead: the fake and a real Keycloak."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.errors import BackendRejectedError
from tests.contract.conftest import Subject
from tests.contract.identities import bot, created, credentials, minted, next_second


class TestTokens:
    """Bearer tokens of bots: what proves them alive, and dead."""

    async def test_mint(self, subject: Subject) -> None:
        """A token says who it is for, what it may, and how long."""
        client, role = await created(subject, bot(subject, audiences=("superlink",))), subject.name("role")
        subject.hands.add_role(role)
        account = await subject.provider.service_account_id(client.client_uuid)
        subject.hands.map_role(account, role)
        claims = (await minted(subject, client)).claims
        assert claims.authorized_party == client.client_id
        assert claims.issuer == (await subject.provider.probe()).issuer
        assert "superlink" in claims.audiences
        assert role in claims.realm_roles
        assert claims.expires_at - claims.issued_at == timedelta(seconds=600)
        assert claims.token_id

    async def test_refused(self, subject: Subject) -> None:
        """A wrong secret, an unknown client and a disabled one are refused alike; a right one is not."""
        client = await created(subject, bot(subject))
        wrong = ClientCredentials(client.client_id, Sensitive("wrong"))
        unknown = ClientCredentials(subject.name("unknown"), Sensitive("wrong"))
        for refused in (wrong, unknown):
            assert await subject.provider.mint(refused) is None
            assert await subject.provider.credentials_refused(refused)
        assert not await subject.provider.credentials_refused(credentials(client))
        subject.hands.change_client(client.client_uuid, enabled=False)
        assert await subject.provider.mint(credentials(client)) is None
        assert await subject.provider.credentials_refused(credentials(client))

    async def test_verify(self, subject: Subject) -> None:
        """A token verifies to what it said when it was minted; anything else does not verify."""
        token = await minted(subject, await created(subject, bot(subject)))
        assert await subject.provider.verify(token.token) == token.claims
        head, body, signature = token.token.reveal().split(".")
        for other in ("", "abc", "a.b.c", f"{head}.{body}.{signature[::-1]}", f"{head}.{body[:-8]}{body[-8:][::-1]}."):
            assert await subject.provider.verify(Sensitive(other)) is None

    async def test_expired(self, subject: Subject) -> None:
        """A token that has expired still verifies, is not accepted, and is revoked without complaint."""
        client = await created(subject, bot(subject, seconds=1))
        token = await minted(subject, client)
        assert await subject.provider.token_accepted(token.token)
        await next_second(subject)
        await next_second(subject)
        assert await subject.provider.verify(token.token) == token.claims
        assert not await subject.provider.token_accepted(token.token)
        await subject.provider.revoke(token.token, credentials(client))

    async def test_revoke(self, subject: Subject) -> None:
        """A revoked token is refused, one that was not is accepted, and both still verify."""
        client = await created(subject, bot(subject))
        old, new = await minted(subject, client), await minted(subject, client)
        await subject.provider.revoke(old.token, credentials(client))
        await subject.provider.revoke(old.token, credentials(client))
        assert not await subject.provider.token_accepted(old.token)
        assert await subject.provider.token_accepted(new.token)
        assert await subject.provider.verify(old.token) == old.claims

    async def test_revoke_as_another(self, subject: Subject) -> None:
        """A token is revoked by its own client only, and whoever cannot is told so."""
        client, other = await created(subject, bot(subject)), await created(subject, bot(subject, "other"))
        token = await minted(subject, client)
        with pytest.raises(BackendRejectedError):
            await subject.provider.revoke(token.token, credentials(other))
        with pytest.raises(BackendRejectedError):
            await subject.provider.revoke(token.token, ClientCredentials(client.client_id, Sensitive("wrong")))
        assert await subject.provider.token_accepted(token.token)
        await subject.provider.delete_client(client.client_uuid)
        await subject.provider.revoke(token.token, credentials(client))

    async def test_new_secret(self, subject: Subject) -> None:
        """A new secret ends the old one at once, and leaves the tokens that were minted with it."""
        client = await created(subject, bot(subject))
        token = await minted(subject, client)
        renewed = replace(client, secret=Sensitive(f"secret-of-{uuid.uuid4()}"))
        await subject.provider.update_client(renewed)
        assert await subject.provider.credentials_refused(credentials(client))
        assert not await subject.provider.credentials_refused(credentials(renewed))
        assert await subject.provider.token_accepted(token.token)

    async def test_disabled(self, subject: Subject) -> None:
        """A disabled client's tokens are refused, and good again once it is enabled: so suspending must revoke them."""
        client = await created(subject, bot(subject))
        kept, revoked = await minted(subject, client), await minted(subject, client)
        await subject.provider.revoke(revoked.token, credentials(client))
        await subject.provider.update_client(replace(client, enabled=False, secret=None))
        assert not await subject.provider.token_accepted(kept.token)
        await subject.provider.update_client(replace(client, enabled=True, secret=None))
        assert await subject.provider.token_accepted(kept.token)
        assert not await subject.provider.token_accepted(revoked.token)

    async def test_deleted(self, subject: Subject) -> None:
        """A deleted client's token and secret are refused at once."""
        client = await created(subject, bot(subject))
        token = await minted(subject, client)
        await subject.provider.delete_client(client.client_uuid)
        assert not await subject.provider.token_accepted(token.token)
        assert await subject.provider.credentials_refused(credentials(client))

    async def test_made_anew(self, subject: Subject) -> None:
        """Under the same clientId old tokens are good again, unless they were revoked or a later notBefore stands."""
        client = await created(subject, bot(subject))
        kept, revoked = await minted(subject, client), await minted(subject, client)
        await subject.provider.revoke(revoked.token, credentials(client))
        await subject.provider.delete_client(client.client_uuid)
        await created(subject, client)
        assert await subject.provider.token_accepted(kept.token)
        assert not await subject.provider.token_accepted(revoked.token)
        await subject.provider.delete_client(client.client_uuid)
        await created(subject, replace(client, not_before=await next_second(subject)))
        assert not await subject.provider.token_accepted(kept.token)
        assert await subject.provider.token_accepted((await minted(subject, client)).token)

    async def test_ended_and_kept(self, subject: Subject) -> None:
        """A new secret and a notBefore of the next second end all that a client is used with, and leave it there."""
        client = await created(subject, bot(subject))
        token = (await minted(subject, client)).token
        assert await subject.provider.token_accepted(token)
        after = int(subject.provider.server_now_at_most().timestamp()) + 1
        await subject.provider.update_client(replace(client, secret=Sensitive("another"), not_before=after))
        assert not await subject.provider.token_accepted(token)
        assert await subject.provider.credentials_refused(credentials(client))
        assert await subject.provider.read_client(client.client_uuid) is not None
