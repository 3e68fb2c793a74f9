"""What is remembered of deleted clients, so that none made anew takes their tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fedid.adapters.metrics import Metrics
from fedid.adapters.node_keys import new_node_key, readable_node_key
from fedid.adapters.signing_keys import new_signing_key, readable_key
from fedid.domain.sensitive import Sensitive
from fedid.reconcile.directory import Directory
from fedid.reconcile.world import World
from tests.fakes.identity_provider import FakeIdentityProvider

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class _Unused:
    """Stands for collaborators that nothing here calls."""


@pytest.fixture
def world() -> World:
    """A world that remembers nothing yet."""
    unused = _Unused()
    return World(
        cluster=unused,  # type: ignore[arg-type]
        clock=unused,  # type: ignore[arg-type]
        factory=unused,  # type: ignore[arg-type]
        directory=Directory(),
        wake=unused,  # type: ignore[arg-type]
        installation_id="i",
        fresh_secret=lambda: Sensitive("x"),
        fresh_token=lambda: Sensitive("0" * 64),
        fresh_password=lambda *_: Sensitive("1" * 24),
        fresh_key=new_signing_key,
        read_key=readable_key,
        fresh_node_key=new_node_key,
        read_node_key=readable_node_key,
        own_subject=str,
        audit=lambda *_, **__: None,
        meter=Metrics(),
        sidecars=unused,  # type: ignore[arg-type]
    )


class _Clock:
    """Keycloak's, moved by hand."""

    def __init__(self) -> None:
        """Start at noon."""
        self.instant = NOON

    def __call__(self) -> datetime:
        """Return the instant."""
        return self.instant


@pytest.fixture
def clock() -> _Clock:
    """Keycloak's clock."""
    return _Clock()


@pytest.fixture
def keycloak(clock: _Clock) -> FakeIdentityProvider:
    """A realm whose clock is known up to a second."""
    provider = FakeIdentityProvider(now=clock)
    provider.clock_uncertainty = timedelta(seconds=1)
    return provider


def test_a_deletion_is_remembered_by_the_latest_second_that_it_can_have_been(
    world: World, keycloak: FakeIdentityProvider
) -> None:
    """The upper bound of Keycloak's clock counts, not the lower one."""
    assert world.note_deletion("a", keycloak) == NOON + timedelta(seconds=1)


def test_an_absence_is_noted_once_and_not_again_while_it_is_waited_for(
    world: World, keycloak: FakeIdentityProvider, clock: _Clock
) -> None:
    """The pass that comes back a second later finds the same instant, and so may go on."""
    first = world.note_absence("a", keycloak)
    clock.instant += timedelta(seconds=2)
    assert world.note_absence("a", keycloak) == first
    assert keycloak.server_now() > first


def test_an_absence_long_after_another_is_noted_anew(
    world: World, keycloak: FakeIdentityProvider, clock: _Clock
) -> None:
    """What was noted about a client an hour ago says nothing about the one that took its id meanwhile."""
    world.note_deletion("a", keycloak)
    clock.instant += timedelta(hours=1)
    assert world.note_absence("a", keycloak) == clock.instant + timedelta(seconds=1)


def test_the_newest_deletion_of_a_client_id_counts_and_the_oldest_ids_are_forgotten(
    world: World, keycloak: FakeIdentityProvider, clock: _Clock
) -> None:
    """The memory is bounded, and a deletion that was just noted is never what goes."""
    world.note_deletion("a", keycloak)
    for number in range(10_000):
        if number == 9_000:
            clock.instant += timedelta(seconds=5)
            world.note_deletion("a", keycloak)
        world.note_deletion(str(number), keycloak)
    assert len(world.last_deletions) == 10_000
    assert world.last_deletions["a"] == NOON + timedelta(seconds=6)
    assert "0" not in world.last_deletions
