"""Claims and client scopes of a bot: granted, proven, compared, and revoked with the token that says too much."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.domain.conditions import condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION
from fedid.domain.sensitive import Sensitive
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

BOT = ObjectKey(BOT_CLIENT, NAMESPACE, "trainer")
CLIENT_ID = f"{NAMESPACE}.trainer"


def want(operator: SmallOperator, **spec: Any) -> None:
    """Apply the bot with its one token and these fields."""
    operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", {"tokens": [{"name": "default"}], **spec})


def grant(operator: SmallOperator, **rule: Any) -> None:
    """Let the namespace ask for this, and for nothing else."""
    spec = operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
    rules = [{"namespaces": {"names": [NAMESPACE]}, **rule}]
    operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": rules})


def published(operator: SmallOperator) -> Sensitive:
    """Return the token that lies in Vault."""
    entry = operator.store.entries[f"fedid/{NAMESPACE}/bots/trainer/tokens/default"]
    return Sensitive(entry.shown(operator.clock.now())["token"])


def said(operator: SmallOperator, token: Sensitive) -> dict[str, str]:
    """Return the further claims of a token."""
    return dict(operator.provider.realm.tokens[token.reveal()].extra)


def ready(operator: SmallOperator) -> tuple[str, str]:
    """Return status and reason of `Ready`."""
    found = condition_of(operator.status(BOT_CLIENT, "trainer")["conditions"], "Ready")  # type: ignore[arg-type]
    assert found is not None
    return found["status"], found["reason"]


@pytest.fixture
async def operator() -> SmallOperator:
    """A bot with one claim."""
    made = SmallOperator()
    grant(made, claims=["fl_*", "tier"])
    want(made, claims={"fl_site": "a", "tier": "2"})
    await made.advance(5)
    assert ready(made) == ("True", "Ready")
    return made


async def test_a_token_says_what_is_declared(operator: SmallOperator) -> None:
    """And a second pass writes nothing."""
    assert said(operator, published(operator)) == {"fl_site": "a", "tier": "2"}
    before = len(operator.provider.writes)
    await operator.look()
    assert len(operator.provider.writes) == before


@pytest.mark.parametrize("claims", [{"fl_site": "b", "tier": "2"}, {"fl_site": "a"}, {}])
async def test_a_claim_that_changes_or_goes_ends_the_token(operator: SmallOperator, claims: dict[str, str]) -> None:
    """At once, not at the end of its life."""
    old = published(operator)
    want(operator, claims=claims)
    await operator.settle()
    assert said(operator, published(operator)) == claims
    assert not operator.provider.realm.accepts(old)
    assert operator.provider.realm.accepts(published(operator))


async def test_a_claim_that_comes_leaves_the_old_token_its_life(operator: SmallOperator) -> None:
    """It says nothing that the new one does not."""
    old = published(operator)
    want(operator, claims={"fl_site": "a", "tier": "2", "fl_more": "x"})
    await operator.settle()
    assert published(operator) != old
    assert operator.provider.realm.accepts(old)


async def test_a_claim_added_by_hand_goes(operator: SmallOperator) -> None:
    """From the client, before the next token is minted."""
    client = operator.provider.realm.client(CLIENT_ID)
    assert client is not None
    operator.provider.realm.add_mapper(client.client_uuid, "by_hand")
    want(operator, claims={"fl_site": "a", "tier": "2", "fl_more": "x"})
    await operator.settle()
    assert set(said(operator, published(operator))) == {"fl_site", "tier", "fl_more"}


async def test_without_a_rule_nothing_is_made_and_a_narrowed_one_takes_it_back(operator: SmallOperator) -> None:
    """The token that says it ends, and what is covered goes on."""
    old = published(operator)
    grant(operator, claims=["tier"])
    await operator.look()
    assert ready(operator) == ("False", "NotGranted")
    assert said(operator, published(operator)) == {"tier": "2"}
    assert not operator.provider.realm.accepts(old)
    fresh = SmallOperator()
    want(fresh, claims={"fl_site": "a"})
    await fresh.advance(5)
    assert ready(fresh) == ("False", "NotGranted")
    assert fresh.provider.realm.clients == {}


async def test_a_claim_of_the_protocol_is_never_made(operator: SmallOperator) -> None:
    """Though the API server let it in and a rule says `*`."""
    grant(operator, claims=["*", "sub"])
    want(operator, claims={"sub": "admin", "realm_access.roles": "admin", "fl_site": "a"})
    await operator.settle()
    assert ready(operator) == ("False", "NotGranted")
    client = operator.provider.realm.client(CLIENT_ID)
    assert client is not None
    assert [mapper.name for mapper in client.mappers] == ["claim fl_site"]


@pytest.fixture
async def scoped() -> SmallOperator:
    """A bot with scopes of both kinds; `phone` is an optional one of the realm's."""
    made = SmallOperator()
    for name in ("fl-a", "fl-b", "fl-c"):
        made.provider.realm.add_scope(name)
    grant(made, scopes=["fl-*", "phone"])
    want(made, defaultScopes=["fl-a", "phone"], optionalScopes=["fl-b"])
    await made.advance(5)
    assert ready(made) == ("True", "Ready")
    return made


def scopes(operator: SmallOperator) -> tuple[set[str], set[str]]:
    """Return what the client has beyond the defaults of the realm, and what it lacks of the optional ones."""
    client, realm = operator.provider.realm.client(CLIENT_ID), operator.provider.realm
    assert client is not None
    assert realm.default_scopes <= client.default_scopes
    assert not client.default_scopes & client.optional_scopes
    more = client.default_scopes - realm.default_scopes
    return more, set(client.optional_scopes ^ realm.optional_scopes)


async def test_scopes_come_on_top_of_the_realms_own(scoped: SmallOperator) -> None:
    """A declared default goes before the realm's optional; a second pass writes nothing."""
    assert scopes(scoped) == ({"fl-a", "phone"}, {"fl-b", "phone"})
    before = len(scoped.provider.writes)
    await scoped.look()
    assert len(scoped.provider.writes) == before


async def test_scopes_changed_by_hand_are_put_back(scoped: SmallOperator) -> None:
    """Added, taken away, or moved; those of the realm as well."""
    realm = scoped.provider.realm
    client = realm.client(CLIENT_ID)
    assert client is not None
    realm.give_scope(client.client_uuid, "fl-c")
    for name in ("fl-a", "fl-b", "roles"):
        realm.take_scope(client.client_uuid, name)
    realm.give_scope(client.client_uuid, "fl-b")
    await scoped.look()
    assert scopes(scoped) == ({"fl-a", "phone"}, {"fl-b", "phone"})
    told = [event.message for event in scoped.cluster.events if event.reason == "DriftRepaired"]
    assert told == [
        "Changed by hand and put back: client scopes added (fl-b, fl-c), client scopes removed (fl-a, fl-b, roles)"
    ]


async def test_a_default_scope_that_goes_ends_the_token(scoped: SmallOperator) -> None:
    """It says what the mappers of the scope put there; an optional one was in none of them."""
    old = published(scoped)
    want(scoped, defaultScopes=["fl-a", "phone"], optionalScopes=[])
    await scoped.settle()
    assert published(scoped) == old
    want(scoped, defaultScopes=["phone"])
    await scoped.settle()
    assert scopes(scoped) == ({"phone"}, {"phone"})
    assert published(scoped) != old
    assert not scoped.provider.realm.accepts(old)


async def test_a_scope_that_is_missing_is_waited_for(scoped: SmallOperator) -> None:
    """Nothing is made of a bot before; and the message says what to do."""
    want(scoped, defaultScopes=["fl-a", "fl-x"])
    await scoped.settle()
    assert ready(scoped) == ("False", "ScopeMissing")
    scoped.provider.realm.add_scope("fl-x")
    await scoped.advance(60)
    assert ready(scoped) == ("True", "Ready")
    fresh = SmallOperator()
    grant(fresh, scopes=["*"])
    want(fresh, optionalScopes=["fl-x"])
    await fresh.settle()
    assert ready(fresh) == ("False", "ScopeMissing")
    assert fresh.provider.realm.clients == {}


async def test_a_scope_that_is_not_granted_is_not_given(scoped: SmallOperator) -> None:
    """It goes when its rule goes, with the token that has it."""
    old = published(scoped)
    grant(scoped, scopes=["phone"])
    await scoped.look()
    assert ready(scoped) == ("False", "NotGranted")
    assert scopes(scoped) == ({"phone"}, {"phone"})
    assert not scoped.provider.realm.accepts(old)


async def test_a_bot_without_scopes_costs_no_more_calls() -> None:
    """Client, account, and a token: nothing is asked about scopes before it is made."""
    made = SmallOperator()
    want(made)
    await made.settle()
    sweep = {"probe", "clients_page", "users_page", "role_members", "group_members", "groups", "realm_groups"}
    made_with = [call.operation for call in made.provider.calls if call.operation not in sweep]
    assert made_with[:2] == ["create_client", "mint"]
    assert not {"read_client", "role_mappings", "service_account_id"} & {*made_with}
