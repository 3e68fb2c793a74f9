"""The plan of a signing bot, for any state and any crash: no key is lost, none of a stranger's is ever trusted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedid.domain.bot_keys import JWKS, public_keys_in
from fedid.domain.bot_steps import CreateClient, EndKeys, ProveSecret, PublishKey, Recorded, StageKey, UpdateClient
from fedid.domain.realm import CLIENT_SECRET
from fedid.domain.rotation import RotationRequest
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import StoredEntry
from tests.domain.key_model import OVERLAP, KeyWorld, settled
from tests.domain.samples import OWNER

REQUEST = RotationRequest("secret", tokens=False, secret=True)


def _ask(world: KeyWorld) -> None:
    world.request = REQUEST


def _time_goes_by(world: KeyWorld) -> None:
    world.now += OVERLAP + timedelta(seconds=1)


def _pod_reads(world: KeyWorld) -> None:
    world.mount()


def _foreign_current(world: KeyWorld) -> None:
    made = world.stranger()
    data = dict(world.stored.data) if world.stored is not None else {}
    world.write({**data, "private_key": made.private_key, "key_id": Sensitive(made.key_id)})


def _foreign_pending(world: KeyWorld) -> None:
    made = world.stranger()
    data = dict(world.stored.data) if world.stored is not None else {}
    world.write({**data, "pending_private_key": made.private_key, "pending_key_id": Sensitive(made.key_id)})


def _foreign_previous(world: KeyWorld) -> None:
    made = world.stranger()
    data = dict(world.stored.data) if world.stored is not None else {}
    world.write({**data, "previous_private_key": made.private_key, "previous_key_id": Sensitive(made.key_id)})


def _garbage(world: KeyWorld) -> None:
    world.write({"private_key": Sensitive("x"), "issued_at": Sensitive("y"), "note": Sensitive("z")})


def _marked_only(world: KeyWorld) -> None:
    world.stored = StoredEntry({}, world.stored.version if world.stored is not None else 0, OWNER)


def _no_entry(world: KeyWorld) -> None:
    world.stored = None


def _foreign_list(world: KeyWorld) -> None:
    if world.client is not None:
        world.list_keys([world.stranger()])


def _longer_list(world: KeyWorld) -> None:
    if world.client is not None:
        listed = [*public_keys_in(world.client.attributes).values(), world.stranger().public_key]
        told = {**world.client.attributes, JWKS: json.dumps({"keys": listed})}
        world.client = replace(world.client, attributes=told)


def _exchanged_everywhere(world: KeyWorld) -> None:
    """Somebody who can write to both puts a key into both."""
    made = world.stranger()
    data = dict(world.stored.data) if world.stored is not None else {}
    world.write({**data, "private_key": made.private_key, "key_id": Sensitive(made.key_id)})
    if world.client is not None:
        world.list_keys([made])


def _broken_list(world: KeyWorld) -> None:
    if world.client is not None:
        world.client = replace(world.client, attributes={**world.client.attributes, JWKS: "[1"})


def _no_client(world: KeyWorld) -> None:
    world.client = None


def _another_authenticator(world: KeyWorld) -> None:
    if world.client is not None:
        world.client = replace(world.client, authenticator=CLIENT_SECRET)


def _forgotten(world: KeyWorld) -> None:
    world.recorded = Recorded()


def _withdrawn(world: KeyWorld) -> None:
    world.recorded = replace(world.recorded, withdrawn=True)


HAPPENINGS: list[Callable[[KeyWorld], None]] = [
    _ask, _time_goes_by, _pod_reads, _foreign_current, _foreign_pending, _foreign_previous, _garbage, _marked_only,
    _no_entry, _foreign_list, _longer_list, _broken_list, _no_client, _another_authenticator, _forgotten, _withdrawn,
]  # fmt: skip


ORDINARY: list[Callable[[KeyWorld], None]] = [_ask, _time_goes_by, _pod_reads]


def assert_settled(world: KeyWorld) -> None:
    """See one key in use, the list and Vault alike, and nothing to do until something is due."""
    for _ in range(3):  # a replacement that was asked for, and the end of what it left
        world.request = None
        world.mount()
        world.run()
        _time_goes_by(world)
        world.now += timedelta(minutes=10)
    assert world.plan() == ()
    held = world.held
    assert held.current is not None
    assert (held.pending, held.previous) == (None, None)
    assert world.listed == {held.current.key_id}
    assert world.client is not None
    assert public_keys_in(world.client.attributes)[held.current.key_id] == held.current.public_key
    assert not world.listed & world.strangers


def test_the_order() -> None:
    """In Vault, listed, proven, in use; then both, then the new one alone, the old one seen refused before it goes."""
    world = KeyWorld()
    assert [type(step) for step in world.run()] == [StageKey, CreateClient, EndKeys, ProveSecret, PublishKey]
    world.mount()
    assert world.plan() == ()
    world.request = REQUEST
    assert [type(step) for step in world.run()] == [StageKey, UpdateClient, ProveSecret, PublishKey]
    assert len(world.listed) == 2
    assert world.plan() == ()
    _time_goes_by(world)
    assert world.plan() == ()  # the pod has the old one
    world.mount()
    assert [type(step) for step in world.run()] == [UpdateClient, EndKeys, ProveSecret, PublishKey]
    assert_settled(world)


@pytest.mark.parametrize("crashes", [(a, b) for a in range(5) for b in range(5)])
def test_crashes_in_a_rotation(crashes: tuple[int, int]) -> None:
    """What the pod has is good at every instant, wherever passes end, in the first half and in the second."""
    world = settled()
    world.request = REQUEST
    first = world.mounted
    for phase, steps in enumerate(crashes):
        world.run(steps=steps)
        assert world.mounted in world.listed
        world.run()
        assert world.mounted in world.listed
        if phase == 0:
            world.mount()
            assert world.mounted != first
            _time_goes_by(world)
    assert world.mounted in world.listed
    assert first not in world.listed
    assert_settled(world)


@settings(max_examples=150, deadline=None)
@given(
    st.booleans(),
    st.lists(st.one_of(st.sampled_from(HAPPENINGS), st.integers(0, 6)), max_size=8),
)
def test_whatever_happens_it_converges(
    made: bool,  # noqa: FBT001 - drawn
    events: Sequence[Callable[[KeyWorld], None] | int],
) -> None:
    """After any hands and any crashes, in any order: one key, ours; a stranger's is never on the list for our doing."""
    world = settled() if made else KeyWorld()
    for event in events:
        if isinstance(event, int):
            world.run(steps=event)
        else:
            event(world)
    world.run()
    assert not world.listed & world.strangers
    assert_settled(world)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(ORDINARY), st.integers(0, 6), st.none()), max_size=12))
def test_without_hands_the_pod_is_never_refused(events: Sequence[Callable[[KeyWorld], None] | int | None]) -> None:
    """Whatever is asked for and wherever passes end: the key that a pod read last is good until it could read the next.

    Consumers that cannot be reached are given up in the end, so time goes by only as fast as they read.
    """
    world = settled()
    for event in events:
        if event is None:
            world.run()
        elif isinstance(event, int):
            world.run(steps=event)
        else:
            event(world)
        if event is _time_goes_by:
            world.mount()
        assert world.mounted in world.listed


UNTRUSTED = [
    _foreign_current, _garbage, _no_entry, _foreign_list, _broken_list, _withdrawn, _exchanged_everywhere,
]  # fmt: skip


@pytest.mark.parametrize("what", UNTRUSTED)
def test_what_is_not_trusted_is_replaced(what: Callable[[KeyWorld], None]) -> None:
    """Neither the old key nor what was put in its place is good after one pass."""
    world = settled()
    old = world.listed
    what(world)
    world.run()
    assert not world.listed & (old | world.strangers)
    assert_settled(world)


@pytest.mark.parametrize("what", [_longer_list, _another_authenticator, _forgotten, _foreign_previous, _no_client])
def test_what_is_trusted_stays(what: Callable[[KeyWorld], None]) -> None:
    """The bot's own key is as good as before; what was added is not."""
    world = settled()
    old = world.listed
    what(world)
    world.run()
    assert world.listed == old
    assert_settled(world)
