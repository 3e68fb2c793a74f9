"""Tests of the plan of a bot, one pass at a time: the first one, one after a crash, one that only renews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fedid.domain.bot_plan import plan_bot
from fedid.domain.bot_steps import (
    AddRoles,
    BotStep,
    CreateClient,
    ObservedBot,
    ProveSecret,
    PublishSecret,
    PublishToken,
    UpdateClient,
)
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
from tests.domain.bot_changes import (
    BOT,
    DEFAULT,
    ROLES,
    ROLES_CHANGED,
    both,
    change_client,
    change_stored_client,
    client_of,
    delete_client,
    empty_vault,
    later,
    mint,
    nothing,
)
from tests.domain.bot_model import BotWorld, settled
from tests.domain.samples import NOW, OWNER, UID, desired


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


def test_a_client_deleted_by_hand_keeps_no_secret_that_vault_does_not_hold() -> None:
    """A path that is only marked has no secret to keep."""
    observed = ObservedBot(keycloak_seen=True, stored_client=StoredEntry({}, 0, OWNER))
    steps = plan_bot(BOT, observed, ROLES, UID, NOW)
    assert steps[0] == CreateClient(keep_secret=False)
    assert PublishSecret(0) in steps
