"""Tests of the plan of a bot, one situation at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from fedid.domain.bot_steps import (
    AddRoles,
    BotStep,
    CreateClient,
    ProveSecret,
    PublishSecret,
    PublishToken,
    Recorded,
    RemoveRoles,
    UpdateClient,
    WithdrawToken,
)
from fedid.domain.realm import SERVICE_ACCOUNTS
from fedid.domain.sensitive import Sensitive
from tests.domain.bot_changes import (
    BOT,
    CLIENT,
    DEFAULT,
    ROLES,
    ROLES_CHANGED,
    both,
    change_client,
    change_stored_client,
    change_stored_token,
    delete_client,
    empty_vault,
    empty_versions,
    later,
    mint,
    nothing,
    put_token,
    record,
    want,
)
from tests.domain.bot_model import BotWorld, settled
from tests.domain.samples import NOW, client_role, desired, realm_role

SITUATIONS = [
    pytest.param(nothing, (), id="everything is settled: nothing to do"),
    pytest.param(later(0.06), (), id="a token at the beginning of its life is not renewed"),
    pytest.param(
        later(0.7),
        (mint("its renewal is due"), PublishToken(DEFAULT, 1)),
        id="a renewal is due: one token, minted and published",
    ),
    pytest.param(
        later(5.0),
        (mint("its renewal is due"), PublishToken(DEFAULT, 1)),
        id="a token that expired while we were away is renewed",
    ),
    pytest.param(
        change_client(secret=Sensitive("of a stranger")),
        (UpdateClient((), replace_secret=True), ProveSecret(), PublishSecret(1)),
        id="the secret was changed by hand in Keycloak: neither value is trusted, a third one is proven and published",
    ),
    pytest.param(
        both(change_client(secret=Sensitive("of a stranger")), record(secret_version=None)),
        (UpdateClient((), replace_secret=True), ProveSecret(), PublishSecret(1)),
        id="Keycloak and Vault differ and no status tells who moved: a third secret",
    ),
    pytest.param(
        change_client(secret=None),
        (UpdateClient((), replace_secret=True), ProveSecret(), PublishSecret(1)),
        id="the client lost its secret: a fresh one",
    ),
    pytest.param(
        change_client(secret=Sensitive("")),
        (UpdateClient((), replace_secret=True), ProveSecret(), PublishSecret(1)),
        id="the client has an empty secret: a fresh one",
    ),
    pytest.param(
        change_stored_client(client_secret="of a stranger"),
        (ProveSecret(), PublishSecret(2)),
        id="the secret was changed by hand in Vault: that of Keycloak is proven and published again",
    ),
    pytest.param(
        change_stored_client(token_url="https://evil.example"),
        (ProveSecret(), PublishSecret(2)),
        id="a URL was changed by hand in Vault: published again",
    ),
    pytest.param(
        change_stored_client(note="x"),
        (ProveSecret(), PublishSecret(2)),
        id="a key was added by hand in Vault: published again without it",
    ),
    pytest.param(
        change_stored_client(version=0, client_secret="of a stranger"),
        (UpdateClient((), replace_secret=True), ProveSecret(), PublishSecret(1)),
        id="the secret differs and Vault cannot tell who moved (KV v1): a third secret",
    ),
    pytest.param(
        empty_vault,
        (mint("it is not in Vault"), PublishSecret(None), PublishToken(DEFAULT, None)),
        id="Vault is empty: the secret of Keycloak is kept, a token proves it, both are published anew",
    ),
    pytest.param(
        empty_versions,
        (mint("it is not in Vault"), PublishSecret(1), PublishToken(DEFAULT, 1)),
        id="Vault holds marks without data: published over them",
    ),
    pytest.param(
        delete_client,
        (
            CreateClient(keep_secret=True),
            AddRoles(ROLES),
            mint("the client was made anew"),
            PublishSecret(1),
            PublishToken(DEFAULT, 1),
        ),
        id="the client was deleted by hand: made anew with the secret that consumers hold, tokens minted anew",
    ),
    pytest.param(
        both(delete_client, empty_vault),
        (
            CreateClient(keep_secret=False),
            AddRoles(ROLES),
            mint("it is not in Vault"),
            PublishSecret(None),
            PublishToken(DEFAULT, None),
        ),
        id="client and Vault are empty: everything from nothing",
    ),
    pytest.param(
        both(delete_client, record(withdrawn=True)),
        (
            CreateClient(keep_secret=False),
            AddRoles(ROLES),
            mint("the client was made anew"),
            PublishSecret(1),
            PublishToken(DEFAULT, 1),
        ),
        id="granted again after a withdrawal: the secret that was shown to be dead does not come back",
    ),
    pytest.param(
        record(withdrawn=True),
        (
            UpdateClient((), replace_secret=True),
            mint("a withdrawal was begun and called off"),
            PublishSecret(1),
            PublishToken(DEFAULT, 1),
        ),
        id="granted again in the middle of a withdrawal: the revoked tokens and the secret are replaced",
    ),
    pytest.param(
        both(want(tokens=()), record(withdrawn=True)),
        (UpdateClient((), replace_secret=True), ProveSecret(), PublishSecret(1), WithdrawToken(DEFAULT)),
        id="granted again in the middle of a withdrawal, without tokens: the secret is replaced",
    ),
    pytest.param(
        change_client(description="by hand", enabled=False),
        (UpdateClient(("description", "enabled"), replace_secret=False),),
        id="fields of the client were changed by hand: put back, tokens stay",
    ),
    pytest.param(
        both(change_client(enabled=False, secret=Sensitive("of a stranger"))),
        (UpdateClient(("enabled",), replace_secret=True), ProveSecret(), PublishSecret(1)),
        id="fields and secret were changed by hand: one update",
    ),
    pytest.param(
        change_client(uris={"redirectUris": ("https://evil.example/*",)}, attributes={"x": "y"}),
        (
            UpdateClient(
                (*(f"attributes[{name}]" for name in [*CLIENT.attributes, "x"]), "redirectUris"),
                replace_secret=False,
            ),
        ),
        id="attributes and addresses were changed by hand: put back and taken off",
    ),
    pytest.param(
        lambda world: setattr(world, "subject", "another account"),
        (mint("the service account was made anew"), PublishToken(DEFAULT, 1)),
        id="the service account was deleted by hand and Keycloak made another: tokens are minted for the new one",
    ),
    pytest.param(
        change_client(flags={**CLIENT.flags, SERVICE_ACCOUNTS: False}),
        (
            UpdateClient((SERVICE_ACCOUNTS,), replace_secret=False),
            AddRoles(ROLES),
            mint("the service account was made anew"),
            PublishToken(DEFAULT, 1),
        ),
        id="the service account was switched off by hand: switched on, which makes another one",
    ),
    pytest.param(
        lambda world: setattr(world, "held", world.held - {realm_role("fl-client")}),
        (AddRoles(frozenset({realm_role("fl-client")})),),
        id="a role was taken away by hand: mapped again",
    ),
    pytest.param(
        lambda world: setattr(world, "held", world.held | {realm_role("admin")}),
        (RemoveRoles(frozenset({realm_role("admin")})),),
        id="a role was added by hand: unmapped",
    ),
    pytest.param(
        lambda world: setattr(
            world, "held", world.held - {realm_role("fl-client")} | {realm_role("fl-client", role_id="former")}
        ),
        (
            RemoveRoles(frozenset({realm_role("fl-client", role_id="former")})),
            AddRoles(frozenset({realm_role("fl-client")})),
        ),
        id="a role was made anew under its name: the former one goes, the new one comes",
    ),
    pytest.param(
        want(realm_roles=frozenset({"fl-client", "fl-more"})),
        (
            AddRoles(frozenset({realm_role("fl-more")})),
            mint("realm role fl-more is missing (is the client scope `roles` a realm default?)"),
            PublishToken(DEFAULT, 1),
        ),
        id="a role was added to the spec: mapped before a token that tells it is minted",
    ),
    pytest.param(
        want(realm_roles=frozenset()),
        (RemoveRoles(frozenset({realm_role("fl-client")})), mint(ROLES_CHANGED), PublishToken(DEFAULT, 1)),
        id="a role was taken out of the spec: unmapped before a narrower token is minted",
    ),
    pytest.param(
        want(client_roles={}),
        (
            RemoveRoles(frozenset({client_role("superlink", "submit")})),
            mint(ROLES_CHANGED),
            PublishToken(DEFAULT, 1),
        ),
        id="a client role was taken out of the spec: likewise",
    ),
    pytest.param(
        want(audiences=frozenset({"superlink", "other"})),
        (
            UpdateClient(("protocolMappers",), replace_secret=False),
            mint("audience other is missing"),
            PublishToken(DEFAULT, 1),
        ),
        id="an audience was added to the spec: the client tells it before a token is minted",
    ),
    pytest.param(
        want(lifetime=timedelta(minutes=9)),
        (
            UpdateClient(("attributes[access.token.lifespan]",), replace_secret=False),
            mint("it lives 0:10:00, longer than the 0:09:00 asked for"),
            PublishToken(DEFAULT, 1),
        ),
        id="the lifetime was shortened: the client first, then a shorter token",
    ),
    pytest.param(
        want(lifetime=timedelta(minutes=11)),
        (
            UpdateClient(("attributes[access.token.lifespan]",), replace_secret=False),
            mint(ROLES_CHANGED),
            PublishToken(DEFAULT, 1),
        ),
        id="the lifetime was lengthened a little: the client first, then a longer token",
    ),
    pytest.param(
        want(tokens=(DEFAULT, "audit")),
        (mint("it is not in Vault", "audit"), PublishToken("audit", None)),
        id="a token was added to the spec: only that one is minted",
    ),
    pytest.param(
        want(tokens=()),
        (WithdrawToken(DEFAULT),),
        id="a token was taken out of the spec: withdrawn",
    ),
    pytest.param(
        want(tokens=("audit",)),
        (mint("it is not in Vault", "audit"), PublishToken("audit", None), WithdrawToken(DEFAULT)),
        id="a token was renamed: the new one is published before the old one is withdrawn",
    ),
    pytest.param(
        want(issuer_url="https://login.example.org/realms/fl"),
        (ProveSecret(), PublishSecret(1)),
        id="the issuer moved: the entry that tells it is published again",
    ),
    pytest.param(
        lambda world: world.stored_tokens.pop(DEFAULT),
        (mint("it is not in Vault"), PublishToken(DEFAULT, None)),
        id="a token was deleted by hand in Vault: minted anew",
    ),
    pytest.param(
        change_stored_token(token="garbage"),
        (mint("what lies in Vault is no token of this client"), PublishToken(DEFAULT, 2)),
        id="garbage in the place of a token: replaced",
    ),
    pytest.param(
        put_token(authorized_party="site-b.other"),
        (mint("what lies in Vault is no token of this client"), PublishToken(DEFAULT, 2)),
        id="the token of another client in the place of ours: replaced",
    ),
    pytest.param(
        put_token(audiences=frozenset(), client_roles={}),
        (
            mint("audience superlink is missing; role submit of client superlink is missing"),
            PublishToken(DEFAULT, 2),
        ),
        id="a token with several faults: replaced, and every fault is told",
    ),
    pytest.param(
        change_stored_token(expires_at="2099-01-01T00:00:00Z"),
        (mint("the entry in Vault was changed"), PublishToken(DEFAULT, 2)),
        id="the expiry beside a good token was changed by hand: replaced",
    ),
    pytest.param(
        change_stored_token(note="x"),
        (mint("the entry in Vault was changed"), PublishToken(DEFAULT, 2)),
        id="a key was added beside a good token: replaced",
    ),
    pytest.param(
        change_client(not_before=int(NOW.timestamp()) + 1),
        (mint("the client's notBefore refuses it"), PublishToken(DEFAULT, 1)),
        id="notBefore was moved by hand behind the token: minted anew",
    ),
    pytest.param(
        change_client(not_before=int(NOW.timestamp())),
        (),
        id="a token of the very second of notBefore is good",
    ),
    pytest.param(
        record(ask_hashes={}),
        (mint(ROLES_CHANGED), PublishToken(DEFAULT, 1)),
        id="nobody remembers what the token was asked to say: minted anew",
    ),
    pytest.param(
        record(ask_hashes={DEFAULT: "another"}),
        (mint(ROLES_CHANGED), PublishToken(DEFAULT, 1)),
        id="the token was asked to say something else: minted anew",
    ),
    pytest.param(
        record(ask_hashes={"audit": BOT.ask_hash(BOT.tokens[0])}),
        (mint(ROLES_CHANGED), PublishToken(DEFAULT, 1)),
        id="only another token is remembered: minted anew",
    ),
    pytest.param(
        both(later(0.9), change_stored_client(client_secret="of a stranger")),
        (mint("its renewal is due"), PublishSecret(2), PublishToken(DEFAULT, 1)),
        id="secret and token are both due: the token proves the secret, one request",
    ),
]


@pytest.mark.parametrize(("happens", "plan"), SITUATIONS)
def test_each_situation_has_its_plan(happens: Callable[[BotWorld], None], plan: tuple[BotStep, ...]) -> None:
    """From a settled bot, what happened leads to exactly these steps in this order."""
    world = settled(BOT)
    happens(world)
    assert world.plan() == plan


@pytest.mark.parametrize(("happens", "plan"), SITUATIONS)
def test_each_plan_settles_its_situation(happens: Callable[[BotWorld], None], plan: tuple[BotStep, ...]) -> None:
    """Carrying the plan out leaves nothing to do, and a plan of nothing changed nothing."""
    world = settled(BOT)
    happens(world)
    if world.client is not None:
        world.now = max(world.now, NOW.fromtimestamp(world.client.not_before, NOW.tzinfo))
    before = replace(world)
    world.run()
    assert world.plan() == ()
    assert world.client is not None
    assert bool(plan) == (world != before)


def test_tokens_that_are_not_in_the_spec_are_withdrawn_in_the_order_of_their_names() -> None:
    """Several withdrawn tokens go in an order that does not depend on chance."""
    world = settled(desired(tokens=("c", "a", "b")))
    world.desired = desired(tokens=("b",))
    assert world.plan() == (WithdrawToken("a"), WithdrawToken("c"))


def test_the_plan_shows_no_credential() -> None:
    """A printed plan and a printed observation hold no secret and no token."""
    world = settled(BOT)
    change_client(secret=Sensitive("hush"))(world)
    shown = repr(world.plan()) + repr(world.observe())
    assert "hush" not in shown
    assert "token-" not in shown.replace("token-id", "")
    assert "secret-" not in shown.replace("client-secret", "").replace("fedid.secret-rotation", "")


def test_nothing_remembered_is_the_default() -> None:
    """A status that tells nothing is one of an object that was never looked at."""
    assert Recorded() == Recorded(secret_version=None, ask_hashes={}, withdrawn=False)
