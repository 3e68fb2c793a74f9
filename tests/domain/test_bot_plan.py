"""Tests of the plan of a bot, one situation at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fedid.domain.bot_plan import plan_bot
from fedid.domain.bot_record import desired_client
from fedid.domain.bot_steps import (
    AddRoles,
    BotStep,
    CreateClient,
    MintToken,
    ObservedBot,
    ProveSecret,
    PublishSecret,
    PublishToken,
    Recorded,
    RemoveRoles,
    UpdateClient,
    WithdrawToken,
)
from fedid.domain.realm import SERVICE_ACCOUNTS, ClientRecord
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
from fedid.domain.token_entries import token_entry
from tests.domain.bot_model import BotWorld, settled
from tests.domain.samples import NOW, OWNER, UID, client_role, desired, realm_role, roles_of, tokens_named

BOT = desired()
CLIENT = desired_client(BOT, secret=None)
ROLES = roles_of(BOT)
DEFAULT = "default"


def mint(why: str, name: str = DEFAULT) -> MintToken:
    """Expect a token to be minted for a reason."""
    return MintToken(name, why)


def nothing(_: BotWorld) -> None:
    """Change nothing."""


def client_of(world: BotWorld) -> ClientRecord:
    """Return the client, which is there."""
    assert world.client is not None
    return world.client


def change_client(**changes: Any) -> Callable[[BotWorld], None]:
    """Change fields of the client by hand."""

    def change(world: BotWorld) -> None:
        world.client = replace(client_of(world), **changes)

    return change


def change_stored_client(*, version: int = 1, **data: str) -> Callable[[BotWorld], None]:
    """Change keys of the bot secret's entry in Vault by hand; `version` more writes than the status knows."""

    def change(world: BotWorld) -> None:
        assert world.stored_client is not None
        changed = {**world.stored_client.data, **{key: Sensitive(value) for key, value in data.items()}}
        world.stored_client = StoredEntry(changed, world.stored_client.version + version, OWNER)

    return change


def change_stored_token(name: str = DEFAULT, **data: str) -> Callable[[BotWorld], None]:
    """Change keys of a token's entry in Vault by hand."""

    def change(world: BotWorld) -> None:
        entry = world.stored_tokens[name]
        changed = {**entry.data, **{key: Sensitive(value) for key, value in data.items()}}
        world.stored_tokens[name] = StoredEntry(changed, entry.version + 1, OWNER)

    return change


def put_token(**claims: Any) -> Callable[[BotWorld], None]:
    """Put another token of the realm into Vault, well-formed, with these claims."""

    def change(world: BotWorld) -> None:
        version = world.stored_tokens[DEFAULT].version + 1
        world.stored_tokens[DEFAULT] = StoredEntry(token_entry(world.mint(**claims)), version, OWNER)

    return change


def delete_client(world: BotWorld) -> None:
    """Delete the client by hand."""
    world.client, world.held = None, frozenset()


def empty_vault(world: BotWorld) -> None:
    """Delete everything in Vault by hand, marks included."""
    world.stored_client, world.stored_tokens = None, {}


def empty_versions(world: BotWorld) -> None:
    """Delete the newest versions in Vault by hand; marks stay."""
    world.stored_client = StoredEntry({}, 1, OWNER)
    world.stored_tokens = {DEFAULT: StoredEntry({}, 1, OWNER)}


def want(**changes: Any) -> Callable[[BotWorld], None]:
    """Change the spec."""

    def change(world: BotWorld) -> None:
        if "tokens" in changes:
            changes["tokens"] = tokens_named(changes["tokens"])
        world.desired = replace(world.desired, **changes)

    return change


def record(**changes: Any) -> Callable[[BotWorld], None]:
    """Change what the status remembers."""

    def change(world: BotWorld) -> None:
        world.recorded = replace(world.recorded, **changes)

    return change


def both(*changes: Callable[[BotWorld], None]) -> Callable[[BotWorld], None]:
    """Do several things."""

    def change(world: BotWorld) -> None:
        for one in changes:
            one(world)

    return change


def later(share: float) -> Callable[[BotWorld], None]:
    """Let a share of the token's life pass."""

    def change(world: BotWorld) -> None:
        world.now = NOW + share * world.desired.lifetime

    return change


ROLES_CHANGED = "roles, audiences, scopes, claims or lifetime changed"
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


def test_a_bot_that_was_never_made_is_made_from_nothing() -> None:
    """Client with a fresh secret, roles, one token that proves both, then Vault."""
    assert BotWorld(BOT).plan() == (
        CreateClient(keep_secret=False),
        AddRoles(ROLES),
        mint("it is not in Vault"),
        PublishSecret(None),
        PublishToken(DEFAULT, None),
    )


def test_a_bot_without_tokens_proves_its_secret_before_it_is_published() -> None:
    """Where no token proves the secret, one is requested for that alone."""
    assert BotWorld(desired(tokens=(), realm_roles=frozenset(), client_roles={})).plan() == (
        CreateClient(keep_secret=False),
        ProveSecret(),
        PublishSecret(None),
    )


def test_a_bot_with_several_tokens_mints_all_before_anything_is_published() -> None:
    """All tokens are minted first, then everything is published in the order of the spec."""
    assert BotWorld(desired(tokens=("b", "a"), realm_roles=frozenset(), client_roles={})).plan() == (
        CreateClient(keep_secret=False),
        mint("it is not in Vault", "b"),
        mint("it is not in Vault", "a"),
        PublishSecret(None),
        PublishToken("b", None),
        PublishToken("a", None),
    )


@pytest.mark.parametrize(
    ("steps", "plan"),
    [
        pytest.param(
            1,
            (AddRoles(ROLES), mint("it is not in Vault"), PublishSecret(None), PublishToken(DEFAULT, None)),
            id="after the client: its secret is read back and kept",
        ),
        pytest.param(
            2,
            (mint("it is not in Vault"), PublishSecret(None), PublishToken(DEFAULT, None)),
            id="after the roles: they are not mapped again",
        ),
        pytest.param(
            3,
            (mint("it is not in Vault"), PublishSecret(None), PublishToken(DEFAULT, None)),
            id="after the mint: an unpublished token is nobody's, so another one is minted",
        ),
        pytest.param(
            4,
            (mint("it is not in Vault"), PublishToken(DEFAULT, None)),
            id="after the secret is in Vault: it is not written again",
        ),
        pytest.param(
            5,
            (mint(ROLES_CHANGED), PublishToken(DEFAULT, 1)),
            id="after everything but the status: what the token was asked to say is not known",
        ),
    ],
)
def test_a_crash_during_creation_is_found_again(steps: int, plan: tuple[BotStep, ...]) -> None:
    """Whatever step the first pass got to, the next one goes on from there."""
    world = BotWorld(BOT)
    world.run(steps=steps)
    assert world.plan() == plan
    world.run()
    assert world.plan() == ()


def test_a_crash_between_a_new_secret_and_vault_replaces_it_again() -> None:
    """A secret that only Keycloak knows after a crash is not told from one set by a stranger, and goes."""
    world = settled(BOT)
    world.client = replace(client_of(world), secret=Sensitive("of a stranger"))
    world.run(steps=1)
    assert world.plan() == (UpdateClient((), replace_secret=True), ProveSecret(), PublishSecret(1))


@pytest.mark.parametrize(
    ("happens", "plan"),
    [
        pytest.param(nothing, (), id="nothing is due"),
        pytest.param(later(0.7), (mint("its renewal is due"), PublishToken(DEFAULT, 1)), id="a renewal is due"),
        pytest.param(
            both(later(0.7), change_client(secret=Sensitive("of a stranger"), enabled=False)),
            (mint("its renewal is due"), PublishToken(DEFAULT, 1)),
            id="a renewal is due and the client, which is not looked at, was changed",
        ),
        pytest.param(
            empty_vault,
            (mint("it is not in Vault"), PublishToken(DEFAULT, None)),
            id="Vault is empty: the secret waits for a look at Keycloak",
        ),
        pytest.param(
            both(later(0.7), change_stored_client(client_secret="of a stranger")),
            (mint("its renewal is due"), PublishToken(DEFAULT, 1)),
            id="the secret in Vault was changed: it waits for a look at Keycloak",
        ),
        pytest.param(
            both(later(0.7), delete_client),
            (mint("its renewal is due"), PublishToken(DEFAULT, 1)),
            id="the client was deleted by hand, which is not looked at",
        ),
    ],
)
def test_a_pass_that_only_renews_mints_and_publishes_tokens(
    happens: Callable[[BotWorld], None], plan: tuple[BotStep, ...]
) -> None:
    """Without a look at Keycloak the plan holds nothing but tokens: client, roles and secret are taken to be right."""
    world = settled(BOT)
    happens(world)
    assert world.plan(look=False) == plan


def test_tokens_that_are_not_in_the_spec_are_withdrawn_in_the_order_of_their_names() -> None:
    """Several withdrawn tokens go in an order that does not depend on chance."""
    world = settled(desired(tokens=("c", "a", "b")))
    world.desired = desired(tokens=("b",))
    assert world.plan() == (WithdrawToken("a"), WithdrawToken("c"))


def test_a_client_deleted_by_hand_keeps_no_secret_that_vault_does_not_hold() -> None:
    """A path that is only marked has no secret to keep."""
    observed = ObservedBot(keycloak_seen=True, stored_client=StoredEntry({}, 0, OWNER))
    steps = plan_bot(BOT, observed, ROLES, UID, NOW)
    assert steps[0] == CreateClient(keep_secret=False)
    assert PublishSecret(0) in steps


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
