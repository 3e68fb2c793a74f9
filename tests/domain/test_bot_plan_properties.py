"""General rules of a bot's plan, for any state that Keycloak, Vault and the status can be in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.bot import DesiredSecretRotation, DesiredToken, client_entry
from fedid.domain.bot_record import client_differences, desired_client
from fedid.domain.bot_steps import (
    AddRoles,
    BotStep,
    CreateClient,
    DeliverToken,
    EndPreviousSecret,
    EndPreviousToken,
    KeepSecret,
    MakeToken,
    MintToken,
    ProveSecret,
    PublishSecret,
    PublishToken,
    Recorded,
    RemoveRoles,
    UpdateClient,
    WithdrawCopy,
    WithdrawToken,
)
from fedid.domain.delivery import Delivery
from fedid.domain.realm import SERVICE_ACCOUNTS, ClientRecord, ProtocolMapper, Role
from fedid.domain.rotation import RotationRequest, renewal_due_at
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
from fedid.domain.token_entries import (
    OPAQUE,
    Location,
    copy_of,
    delivered_to,
    opaque_entry,
    opaque_in,
    token_entry,
    with_location,
)
from fedid.domain.tokens import token_faults
from tests.domain.bot_model import BotWorld, settled
from tests.domain.samples import NOW, OWNER, UID, client_role, desired, realm_role, roles_of, tokens_named

RANK = {
    CreateClient: 0,
    KeepSecret: 0,
    UpdateClient: 0,
    EndPreviousSecret: 0,
    RemoveRoles: 1,
    AddRoles: 2,
    ProveSecret: 3,
    MintToken: 3,
    MakeToken: 3,
    EndPreviousToken: 3,
    PublishSecret: 4,
    WithdrawCopy: 5,
    PublishToken: 5,
    WithdrawToken: 6,
    DeliverToken: 7,
}
"""Client, then roles, then proof, then Vault, then what goes, then copies elsewhere."""
REQUESTS = (
    None,
    RotationRequest("token", tokens=True, secret=False),
    RotationRequest("secret", tokens=False, secret=True),
    RotationRequest("all", tokens=True, secret=True),
)
TOKEN_NAMES = ("default", "audit", "former")
TOKENS = (
    DesiredToken("default"),
    DesiredToken("audit"),
    DesiredToken("audit", OPAQUE, timedelta(minutes=10), overlap=timedelta(minutes=1)),
    DesiredToken("audit", delivery=Delivery("platforms", "bots/{subject}", "token")),
    DesiredToken("audit", OPAQUE, timedelta(hours=9), None, timedelta(minutes=5), delivery=Delivery("kv", "a/b", "t")),
)
SECRETS = st.sampled_from([Sensitive("ours"), Sensitive("of a stranger"), Sensitive("")])
ROLES = st.frozensets(
    st.sampled_from(
        [
            realm_role("fl-client"),
            realm_role("fl-client", role_id="former"),
            realm_role("admin"),
            client_role("superlink", "submit"),
        ]
    )
)
BOTS = st.builds(
    lambda roles, client_roles, audiences, lifetime, tokens, rotation: desired(
        realm_roles=roles,
        client_roles=client_roles,
        audiences=audiences,
        lifetime=lifetime,
        tokens=tokens,
        rotation=rotation,
    ),
    st.sampled_from([frozenset(), frozenset({"fl-client"})]),
    st.sampled_from([{}, {"superlink": frozenset({"submit"})}]),
    st.sampled_from([frozenset(), frozenset({"superlink"}), frozenset({"superlink", "other"})]),
    st.sampled_from([timedelta(seconds=10), timedelta(minutes=10), timedelta(hours=24)]),
    st.lists(st.sampled_from(TOKENS), unique_by=lambda token: token.name).map(tuple),
    st.sampled_from(
        [
            DesiredSecretRotation(),
            DesiredSecretRotation(timedelta(minutes=6), timedelta(minutes=1)),
            DesiredSecretRotation(timedelta(minutes=6), timedelta(minutes=1), allow_interruption=True),
        ]
    ),
)


@st.composite
def clients(draw: st.DrawFn, right: ClientRecord) -> ClientRecord:
    """Draw a client of ours that anybody may have changed in any way."""
    return replace(
        right,
        secret=draw(st.one_of(st.none(), SECRETS)),
        description=draw(st.sampled_from([right.description, "by hand"])),
        enabled=draw(st.booleans()),
        authenticator=draw(st.sampled_from([right.authenticator, "client-jwt"])),
        object_name=draw(st.sampled_from([right.object_name, None])),
        flags=draw(st.sampled_from([right.flags, {}, {**right.flags, SERVICE_ACCOUNTS: False}])),
        attributes=draw(st.sampled_from([right.attributes, {}, {**right.attributes, "realm_client": "x", "by": "y"}])),
        uris=draw(st.sampled_from([{}, {"redirectUris": ("https://evil.example/*",), "rootUrl": ()}])),
        mappers=draw(st.sampled_from([right.mappers, (), (*right.mappers, ProtocolMapper("x", "y", {}))])),
        previous_secret=(previous := draw(st.one_of(st.none(), SECRETS))),
        previous_since=draw(st.sampled_from([NOW, NOW - timedelta(hours=9), None])) if previous is not None else None,
        not_before=int(NOW.timestamp()) - draw(st.integers(0, 2000)),
    )


def _stored_client(draw: st.DrawFn, world: BotWorld) -> StoredEntry | None:
    version = draw(st.integers(0, 3))
    match draw(st.sampled_from(["nothing", "marked", "right", "tampered"])):
        case "nothing":
            return None
        case "marked":
            return StoredEntry({}, version, OWNER)
        case "right":
            previous = draw(st.one_of(st.none(), SECRETS))
            return StoredEntry(client_entry(world.desired, draw(SECRETS), previous), version, OWNER)
        case _:
            keys = st.sampled_from(["client_id", "client_secret", "issuer", "note"])
            return StoredEntry(draw(st.dictionaries(keys, SECRETS, min_size=1)), version, OWNER)


def _stored_token(draw: st.DrawFn, world: BotWorld) -> StoredEntry | None:
    version = draw(st.integers(0, 3))
    match draw(st.sampled_from(["nothing", "marked", "good", "other", "garbage", "tampered", "opaque"])):
        case "nothing":
            return None
        case "marked":
            return StoredEntry({}, version, OWNER)
        case "opaque":
            return StoredEntry(_opaque(draw, world), version, OWNER)
        case "garbage":
            keys = st.sampled_from(["token", "token_type", "note"])
            return StoredEntry(draw(st.dictionaries(keys, SECRETS, min_size=1)), version, OWNER)
        case "other":
            life = timedelta(seconds=draw(st.integers(1, 100_000)))
            minted = world.mint(
                NOW - timedelta(seconds=draw(st.integers(0, 2000))),
                authorized_party=draw(st.sampled_from([world.desired.client_id, "site-b.other"])),
                subject=draw(st.sampled_from(["", "x", world.subject])),
                audiences=draw(st.sampled_from([frozenset(), frozenset({"superlink", "other"})])),
                expires_at=NOW + life,
            )
            return StoredEntry(token_entry(minted), version, OWNER)
        case kind:
            minted = world.mint(NOW - draw(st.sampled_from([0.0, 0.3, 0.6, 0.7, 3.0])) * world.desired.lifetime)
            extra = {"note": Sensitive("x")} if kind == "tampered" else {}
            return StoredEntry(token_entry(minted) | extra, version, OWNER)


def _opaque(draw: st.DrawFn, world: BotWorld) -> dict[str, Sensitive]:
    world.made += 2
    one, former = Sensitive(f"{world.made:064x}"), Sensitive(f"{world.made - 1:064x}")
    issued_at = NOW - timedelta(seconds=draw(st.sampled_from([0, 61, 599, 601])))
    previous = draw(st.sampled_from([None, (former, issued_at + timedelta(minutes=1))]))
    entry = opaque_entry(one, issued_at=issued_at, lifetime=timedelta(minutes=10), previous=previous)
    return with_location(entry, draw(st.sampled_from([None, Location("kv", "a/b"), Location("kv", "elsewhere")])))


@st.composite
def chaos(draw: st.DrawFn) -> BotWorld:
    """Draw a state of which nothing is as it should be."""
    world = BotWorld(draw(BOTS))
    if draw(st.booleans()):
        world.client = draw(clients(desired_client(world.desired, secret=None)))
        world.held = draw(ROLES)
    world.stored_client = _stored_client(draw, world)
    found = {name: _stored_token(draw, world) for name in TOKEN_NAMES}
    world.stored_tokens = {name: entry for name, entry in found.items() if entry is not None}
    hashes = st.sampled_from([world.desired.ask_hash(DesiredToken("default")), "another"])
    world.two_secrets, world.consumers_hold = draw(st.booleans()), draw(st.booleans())
    world.request = draw(st.sampled_from(REQUESTS))
    if draw(st.booleans()):
        world.copies[Location("kv", "a/b")] = StoredEntry({"t": Sensitive("x")}, draw(st.integers(0, 3)), OWNER)
    world.recorded = Recorded(
        secret_version=draw(st.one_of(st.none(), st.integers(0, 3))),
        secret_issued_at=draw(st.sampled_from([None, NOW, NOW - timedelta(hours=1)])),
        subject=draw(st.sampled_from([None, world.subject, "another"])),
        token_versions=draw(st.dictionaries(st.sampled_from(TOKEN_NAMES), st.integers(0, 3))),
        fingerprints=draw(st.dictionaries(st.sampled_from(TOKEN_NAMES), st.just("another"))),
        ask_hashes=draw(st.dictionaries(st.sampled_from(TOKEN_NAMES), hashes)),
        withdrawn=draw(st.booleans()),
    )
    return world


def _with_client(**changes: Any) -> Callable[[BotWorld], None]:
    def happens(world: BotWorld) -> None:
        world.client = replace(world.client, **changes) if world.client is not None else None

    return happens


def _with(**changes: Any) -> Callable[[BotWorld], None]:
    def happens(world: BotWorld) -> None:
        for name, value in changes.items():
            setattr(world, name, value)

    return happens


def _want(**changes: Any) -> Callable[[BotWorld], None]:
    def happens(world: BotWorld) -> None:
        if "tokens" in changes:
            changes["tokens"] = tokens_named(changes["tokens"])
        world.desired = replace(world.desired, **changes)

    return happens


def _remember(**changes: Any) -> Callable[[BotWorld], None]:
    def happens(world: BotWorld) -> None:
        world.recorded = replace(world.recorded, **changes)

    return happens


def _tamper_with_secret(world: BotWorld) -> None:
    if (entry := world.stored_client) is not None:
        changed = {**entry.data, "client_secret": Sensitive("of a stranger")}
        world.stored_client = StoredEntry(changed, entry.version + 1, OWNER)


def _tamper_with_tokens(world: BotWorld) -> None:
    for name, entry in world.stored_tokens.items():
        world.stored_tokens[name] = StoredEntry({**entry.data, "note": Sensitive("x")}, entry.version + 1, OWNER)


def _garbage_for_tokens(world: BotWorld) -> None:
    for name, entry in world.stored_tokens.items():
        world.stored_tokens[name] = StoredEntry({"token": Sensitive("garbage")}, entry.version + 1, OWNER)


def _regenerate(world: BotWorld) -> None:
    """Press the button of the console."""
    if (client := world.client) is not None:
        kept = (client.secret, world.now) if world.two_secrets else (None, None)
        world.client = replace(client, secret=world.fresh("nobodys"), previous_secret=kept[0], previous_since=kept[1])


def _tamper_with_copies(world: BotWorld) -> None:
    for place, entry in world.copies.items():
        world.copies[place] = StoredEntry({"token": Sensitive("x")}, entry.version + 1, OWNER)


DAMAGES: dict[str, Callable[[BotWorld], None]] = {
    "the client is deleted": _with(client=None, held=frozenset()),
    "the roles are unmapped": _with(held=frozenset()),
    "the roles are exchanged": _with(held=frozenset({realm_role("admin")})),
    "the service account is deleted": _with(subject="another-account", held=frozenset()),
    "the secret is deleted in Vault": _with(stored_client=None),
    "the newest version of the secret is deleted in Vault": _with(stored_client=StoredEntry({}, 1, OWNER)),
    "the tokens are deleted in Vault": lambda world: world.stored_tokens.clear(),
    "the secret is changed in Keycloak": _with_client(secret=Sensitive("of a stranger")),
    "the secret is gone in Keycloak": _with_client(secret=None),
    "the client is disabled": _with_client(description="by hand", enabled=False),
    "the flags of the client are changed": _with_client(flags={}),
    "notBefore is moved to now": _with_client(not_before=int(NOW.timestamp())),
    "notBefore is moved to tomorrow": _with_client(not_before=int(NOW.timestamp()) + 86400),
    "an address is added to the client": _with_client(uris={"redirectUris": ("https://evil.example/*",)}),
    "the secret is changed in Vault": _tamper_with_secret,
    "the tokens are changed in Vault": _tamper_with_tokens,
    "the tokens are replaced by garbage": _garbage_for_tokens,
    "the status forgot the secret": _remember(secret_version=None),
    "the status forgot the tokens": _remember(ask_hashes={}),
    "a withdrawal was begun": _remember(withdrawn=True),
    "another role is asked for": _want(realm_roles=frozenset({"fl-more"})),
    "another audience is asked for": _want(audiences=frozenset({"other"})),
    "another lifetime is asked for": _want(lifetime=timedelta(minutes=7)),
    "other tokens are asked for": _want(tokens=("audit", "third")),
    "no token is asked for": _want(tokens=()),
    "the secret is regenerated in the console": _regenerate,
    "a previous secret is added": _with_client(previous_secret=Sensitive("of a stranger"), previous_since=NOW),
    "copies are changed in Vault": _tamper_with_copies,
    "copies are deleted in Vault": lambda world: world.copies.clear(),
    "everything is to be replaced now": lambda world: setattr(world, "request", REQUESTS[3]),
    "the realm's policy for two secrets is taken away": _with(two_secrets=False),
    "opaque tokens are asked for": _want(tokens=(TOKENS[2],)),
    "opaque tokens with a copy are asked for": _want(tokens=(TOKENS[4],)),
    "a copy is asked for": _want(tokens=(TOKENS[3],)),
    "a rotation is asked for": _want(rotation=DesiredSecretRotation(timedelta(minutes=6), timedelta(minutes=1))),
    "time goes by": lambda world: setattr(world, "now", world.now + timedelta(minutes=2)),
}


@st.composite
def damaged(draw: st.DrawFn) -> BotWorld:
    """Draw a bot that was settled some time ago and to which a few things happened since."""
    age = draw(st.sampled_from([0.0, 0.3, 0.6, 0.9, 2.0]))
    wanted = draw(BOTS)
    world = settled(wanted, age=age * wanted.lifetime)
    world.two_secrets = draw(st.booleans())
    for happens in draw(st.lists(st.sampled_from(sorted(DAMAGES)), max_size=3)):
        DAMAGES[happens](world)
    return world


def worlds() -> st.SearchStrategy[BotWorld]:
    """Draw any state that a bot can be found in: ours, with whatever crashes and hands made of it."""
    return st.one_of(damaged(), chaos())


@given(worlds(), st.booleans())
def test_nothing_is_published_before_its_proof(world: BotWorld, look: bool) -> None:  # noqa: FBT001 - drawn
    """Client, then roles, then proof, then Vault; each published token was minted, each published secret proven."""
    plan = world.plan(look=look)
    ranks = [RANK[type(step)] for step in plan]
    assert ranks == sorted(ranks)
    for i, step in enumerate(plan):
        before = plan[:i]
        if isinstance(step, PublishToken):
            made = (MintToken, MakeToken, EndPreviousToken)
            moved = WithdrawCopy(step.name) in before
            assert moved or any(isinstance(one, made) and one.name == step.name for one in before)
        if isinstance(step, PublishSecret):
            assert any(isinstance(one, (MintToken, ProveSecret)) for one in before)
    minted = [step.name for step in plan if isinstance(step, (MintToken, MakeToken, EndPreviousToken))]
    published = [step.name for step in plan if isinstance(step, PublishToken)]
    assert [name for name in published if WithdrawCopy(name) not in plan or name in minted] == minted
    assert len(set(minted)) == len(minted)
    updates = sum(isinstance(step, (CreateClient, UpdateClient)) for step in plan)
    assert updates <= (2 if KeepSecret() in plan else 1)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9], ids=["new", "in the middle of its life", "due for renewal"])
@pytest.mark.parametrize("first", DAMAGES)
def test_after_any_two_damages_one_pass_settles_everything(first: str, share: float) -> None:
    """Whatever two things happen to a settled bot at whatever age, one pass mends both and the next does nothing."""
    bot = desired(tokens=("default", "audit"))
    for happens in DAMAGES.values():
        world = settled(bot, age=share * bot.lifetime)
        DAMAGES[first](world)
        happens(world)
        world.run()
        _assert_settled(world)


@given(worlds())
def test_a_plan_carried_out_leaves_nothing_to_do(world: BotWorld) -> None:
    """From any state one pass leads to what is desired, and the next one writes nothing."""
    world.run()
    _assert_settled(world)


@given(worlds(), st.lists(st.integers(0, 12), max_size=4))
def test_any_number_of_crashes_converges(world: BotWorld, crashes: Sequence[int]) -> None:
    """However often and wherever passes are cut off, one whole pass afterwards settles everything."""
    for steps in crashes:
        world.run(steps=steps)
    world.run()
    _assert_settled(world)


@given(worlds())
def test_what_was_withdrawn_never_comes_back(world: BotWorld) -> None:
    """After a withdrawal was begun, neither the secret nor a token of before is published again."""
    world.recorded = replace(world.recorded, withdrawn=True)
    former = {entry.data["token"] for entry in world.stored_tokens.values() if "token" in entry.data}
    former |= {entry.data["previous_token"] for entry in world.stored_tokens.values() if "previous_token" in entry.data}
    secrets = {world.client.secret} if world.client is not None else set()
    secrets |= {world.stored_client.data.get("client_secret")} if world.stored_client is not None else set()
    world.run()
    assert world.client is not None
    assert world.client.secret not in secrets
    assert world.client.previous_secret is None
    assert not former & {entry.data["token"] for entry in world.stored_tokens.values()}


@given(worlds())
def test_a_pass_that_only_renews_touches_no_client_and_no_secret(world: BotWorld) -> None:
    """Without a look at Keycloak only tokens are minted, published and withdrawn."""
    allowed = (MintToken, MakeToken, EndPreviousToken, PublishToken, DeliverToken, WithdrawCopy, WithdrawToken)
    assert all(isinstance(step, allowed) for step in world.plan(look=False))


@given(worlds(), st.booleans())
def test_the_same_observation_has_the_same_plan(world: BotWorld, look: bool) -> None:  # noqa: FBT001 - drawn
    """Planning is a function: it changes nothing and depends on nothing else."""
    before = world.observe(look=look)
    plan: tuple[BotStep, ...] = world.plan(look=look)
    assert world.plan(look=look) == plan
    assert world.observe(look=look) == before


@given(worlds(), st.integers(0, 100))
def test_a_settled_bot_does_nothing_until_a_renewal_is_due(world: BotWorld, hundredths: int) -> None:
    """No token is renewed before its beat, every jwt is after two thirds of its life, and nothing else is made."""
    world.run()
    world.request = None
    world.now += hundredths / 100 * world.desired.lifetime
    plan = world.plan()
    renewed = {step.name for step in plan if isinstance(step, MintToken)}
    claims = {
        name: world.signed[entry.data["token"].reveal()]
        for name, entry in world.stored_tokens.items()
        if opaque_in(entry.data) is None
    }
    lived = {name: (world.now - one.issued_at) / (one.expires_at - one.issued_at) for name, one in claims.items()}
    due = {name for name, one in claims.items() if world.now >= renewal_due_at(one.issued_at, one.expires_at, UID)}
    assert {name for name, share in lived.items() if share >= 0.67} <= renewed
    assert renewed == due
    made = (MintToken, MakeToken, EndPreviousToken, PublishToken, DeliverToken)
    ended = (EndPreviousSecret, ProveSecret, PublishSecret, KeepSecret, UpdateClient)
    assert all(isinstance(step, (*made, *ended)) for step in plan)
    assert not any(isinstance(step, UpdateClient) and step.fields for step in plan)


def _assert_settled(world: BotWorld) -> None:
    world.request = None  # the status says now that it was carried out
    again = world.plan()
    if any(step == KeepSecret() or (isinstance(step, UpdateClient) and step.rotation) for step in again):
        world.run()  # a replacement that was due begins once the secret left over from before has ended
    wanted: frozenset[Role] = roles_of(world.desired)
    assert world.plan() == ()
    assert world.plan(look=False) == ()
    assert world.client is not None
    assert world.client.secret
    assert client_differences(desired_client(world.desired, secret=None), world.client) == ()
    assert world.held == wanted
    assert world.stored_client is not None
    assert world.stored_client.data == client_entry(world.desired, world.client.secret, world.client.previous_secret)
    assert set(world.stored_tokens) == set(world.desired.token_names)
    for name, entry in world.stored_tokens.items():
        token = world.desired.token(name)
        assert token is not None
        place = delivered_to(entry.data)
        assert place == (token.delivery.location(world.subject) if token.delivery is not None else None)
        if place is not None:
            assert token.delivery is not None
            assert world.copies[place].data == copy_of(entry.data, token.delivery.key)
        if token.type == OPAQUE:
            held = opaque_in(entry.data)
            assert held is not None
            assert held.expires_at > world.now
            continue
        claims = world.signed[entry.data["token"].reveal()]
        assert token_faults(claims, world.desired.expectation()) == ()
        assert claims.issued_at.timestamp() >= world.client.not_before
        assert claims.subject == world.subject
