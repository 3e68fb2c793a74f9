"""Tests of what a FederationUser becomes, and of the plan that leads there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.grants import Ask, AskKind, Verdict
from fedid.domain.realm import UserRecord
from fedid.domain.resources import parse_federation_user
from fedid.domain.user import (
    CreateUser,
    EndSessions,
    JoinGroup,
    LeaveGroup,
    MapRoles,
    ObservedUser,
    UnmapRoles,
    UpdateUser,
    UserStep,
    asks_of_user,
    desired_user,
    granted_realm_roles,
    plan_user,
    user_differences,
)
from tests.domain.samples import OWNER, body, realm_role
from tests.domain.user_model import GROUP_IDS, UserWorld

MEMBER = realm_role("fl-member")
ANA = UserRecord(
    user_id=None,
    username="ana",
    owner=OWNER,
    object_name="FederationUser/site-a/ana",
    enabled=True,
    email="ana@site-a.example",
    first_name="Ana",
    last_name="Novak",
    groups=frozenset({"/sites/a"}),
)


def verdict(*denied: Ask) -> Verdict:
    """Return what grants might say of the user."""
    return Verdict(namespace_matched=True, denied=frozenset(denied), max_token_lifetime=None, message="")


def settled(**changes: Any) -> UserWorld:
    """Return the world after the user of design.md was made, with one session open."""
    world = UserWorld(replace(ANA, **changes), frozenset({MEMBER}))
    world.run()
    world.sessions = 1
    return world


def test_the_user_of_the_design_becomes_a_definite_user() -> None:
    """The example of design.md, granted in full, is the sample that the other tests start from."""
    spec = parse_federation_user(body("FederationUser"))
    assert desired_user(spec, verdict(), owner=OWNER) == ANA
    assert granted_realm_roles(spec, verdict()) == {"fl-member"}
    assert desired_user(spec, verdict(), owner=OWNER, user_id="1") == replace(ANA, user_id="1")


def test_what_is_denied_is_left_out() -> None:
    """Groups and roles that no grant covers never become part of what is made."""
    spec = parse_federation_user(
        body("FederationUser", {"username": "ana", "groups": ["/sites/a", "/admins"], "realmRoles": ["a", "b"]})
    )
    said = verdict(Ask(AskKind.GROUP, "/admins"), Ask(AskKind.REALM_ROLE, "b"), Ask(AskKind.GROUP, "a"))
    assert desired_user(spec, said, owner=OWNER).groups == {"/sites/a"}
    assert granted_realm_roles(spec, said) == {"a"}


def test_a_user_asks_for_its_groups_and_roles() -> None:
    """Each group and each role is one ask; a name and an address are none."""
    assert asks_of_user(parse_federation_user(body("FederationUser"))) == {
        Ask(AskKind.GROUP, "/sites/a"),
        Ask(AskKind.REALM_ROLE, "fl-member"),
    }
    assert asks_of_user(parse_federation_user(body("FederationUser", {"username": "ana"}))) == set()


def test_an_address_is_compared_as_keycloak_stores_it() -> None:
    """Keycloak stores addresses in lower case, so an older manifest with capitals is no drift for ever."""
    spec = parse_federation_user(body("FederationUser", {"username": "ana", "email": "Ana@Site-A.example"}))
    assert desired_user(spec, verdict(), owner=OWNER).email == "ana@site-a.example"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({}, (), id="as desired"),
        pytest.param({"username": "anna"}, ("username",), id="renamed by hand"),
        pytest.param({"enabled": False}, ("enabled",), id="disabled by hand"),
        pytest.param({"email": "x@example.org"}, ("email",), id="another address"),
        pytest.param({"email": None}, ("email",), id="no address"),
        pytest.param({"first_name": "Anna"}, ("firstName",), id="another first name"),
        pytest.param({"last_name": ""}, ("lastName",), id="no last name"),
        pytest.param({"object_name": None}, ("attributes[fedid.object]",), id="the name of the object"),
        pytest.param({"attributes": {"locale": ("sl",)}}, (), id="an attribute that is not ours"),
        pytest.param({"user_id": "1", "groups": frozenset()}, (), id="id and groups are compared elsewhere"),
        pytest.param(
            {"first_name": None, "email": None, "enabled": False},
            ("enabled", "email", "firstName"),
            id="several at once",
        ),
    ],
)
def test_each_change_of_a_user_is_named(changes: dict[str, Any], named: tuple[str, ...]) -> None:
    """Exactly the fields that were changed by hand are named, by Keycloak's names."""
    assert user_differences(ANA, replace(ANA, **changes)) == named


@pytest.mark.parametrize("untold", [None, ""])
def test_nothing_and_an_empty_text_are_the_same(untold: str | None) -> None:
    """What a spec leaves out and Keycloak tells as empty is no difference."""
    wanted = replace(ANA, email=None, first_name=None, last_name=None)
    assert user_differences(wanted, replace(wanted, email=untold, first_name=untold, last_name=untold)) == ()


def test_every_field_of_a_user_is_compared_or_left_alone_on_purpose() -> None:
    """A field that is added to the record must be compared, or be listed here with its reason."""
    compared = {"username", "enabled", "email", "first_name", "last_name", "object_name"}
    elsewhere = {
        "user_id",  # what it was read by
        "owner",  # decides before anything is compared
        "groups",  # by the plan, with their ids
        "attributes",  # passed back unchanged
    }
    assert {field.name for field in fields(UserRecord)} == compared | elsewhere


def nothing(_: UserWorld) -> None:
    """Change nothing."""


def change(**changes: Any) -> Callable[[UserWorld], None]:
    """Change fields of the account by hand."""

    def happens(world: UserWorld) -> None:
        assert world.user is not None
        world.user = replace(world.user, **changes)

    return happens


def want(**changes: Any) -> Callable[[UserWorld], None]:
    """Change the spec."""

    def happens(world: UserWorld) -> None:
        world.desired = replace(world.desired, **changes)

    return happens


def suspended_long_ago(world: UserWorld) -> None:
    """Enable in the spec a user who was disabled earlier."""
    assert world.user is not None
    world.user = replace(world.user, enabled=False)


def delete(world: UserWorld) -> None:
    """Delete the account by hand."""
    world.user, world.groups, world.held, world.sessions = None, {}, frozenset(), 0


SITUATIONS = [
    pytest.param(nothing, (), id="everything is settled: nothing to do"),
    pytest.param(delete, (CreateUser(), MapRoles(frozenset({MEMBER}))), id="deleted by hand: made anew with its roles"),
    pytest.param(change(first_name="Anna"), (UpdateUser(("firstName",)),), id="a name was changed by hand: put back"),
    pytest.param(want(email=None), (UpdateUser(("email",)),), id="the address was taken out of the spec"),
    pytest.param(
        want(enabled=False),
        (UpdateUser(("enabled",)), EndSessions()),
        id="suspended: disabled first, so that no session can begin, then sessions end",
    ),
    pytest.param(
        suspended_long_ago,
        (EndSessions(), UpdateUser(("enabled",))),
        id="enabled again: sessions end first, since those of before would be good again",
    ),
    pytest.param(
        lambda world: world.groups.update({"/admins": GROUP_IDS["/admins"]}),
        (LeaveGroup("/admins", GROUP_IDS["/admins"]),),
        id="joined to a group by hand: left",
    ),
    pytest.param(
        lambda world: world.groups.clear(),
        (JoinGroup("/sites/a", GROUP_IDS["/sites/a"]),),
        id="taken out of a group by hand: joined",
    ),
    pytest.param(
        want(groups=frozenset({"/sites/b", "/admins"})),
        (
            LeaveGroup("/sites/a", GROUP_IDS["/sites/a"]),
            JoinGroup("/admins", GROUP_IDS["/admins"]),
            JoinGroup("/sites/b", GROUP_IDS["/sites/b"]),
        ),
        id="other groups in the spec: rights go before rights come",
    ),
    pytest.param(
        lambda world: setattr(world, "held", frozenset({realm_role("admin")})),
        (UnmapRoles(frozenset({realm_role("admin")})), MapRoles(frozenset({MEMBER}))),
        id="roles were exchanged by hand: the strange one goes before ours comes",
    ),
    pytest.param(
        lambda world: setattr(world, "roles", frozenset()),
        (UnmapRoles(frozenset({MEMBER})),),
        id="a role was taken out of the spec",
    ),
    pytest.param(
        lambda world: setattr(world, "held", frozenset({realm_role("fl-member", role_id="former")})),
        (UnmapRoles(frozenset({realm_role("fl-member", role_id="former")})), MapRoles(frozenset({MEMBER}))),
        id="a role was made anew under its name: mapped anew",
    ),
]


@pytest.mark.parametrize(("happens", "plan"), SITUATIONS)
def test_each_situation_has_its_plan(happens: Callable[[UserWorld], None], plan: tuple[UserStep, ...]) -> None:
    """From a settled user, what happened leads to exactly these steps in this order."""
    world = settled()
    happens(world)
    assert world.plan() == plan


@pytest.mark.parametrize(("happens", "plan"), SITUATIONS)
def test_each_plan_settles_its_situation(happens: Callable[[UserWorld], None], plan: tuple[UserStep, ...]) -> None:
    """Carrying the plan out leaves nothing to do, and a plan of nothing changed nothing."""
    world = settled()
    happens(world)
    before = replace(world, groups=dict(world.groups))
    world.run()
    assert world.plan() == ()
    assert bool(plan) == (world != before)


def test_a_user_without_roles_is_only_created() -> None:
    """The groups come with the create, and there is no call for no roles."""
    assert plan_user(ANA, ObservedUser(), frozenset(), GROUP_IDS) == (CreateUser(),)


def test_a_disabled_user_who_is_made_has_no_sessions_to_end() -> None:
    """A create ends no sessions."""
    assert plan_user(replace(ANA, enabled=False), ObservedUser(), frozenset(), GROUP_IDS) == (CreateUser(),)


@pytest.mark.parametrize("suspended", [1, 2], ids=["cut off before its sessions ended", "carried out"])
@pytest.mark.parametrize("enabled", [0, 1, 2], ids=["not begun", "cut off before the update", "carried out"])
def test_no_session_outlives_a_suspension(suspended: int, enabled: int) -> None:
    """Wherever suspending and enabling again are cut off, a session of before is not good afterwards."""
    world = settled()
    world.desired = replace(world.desired, enabled=False)
    world.run(steps=suspended)
    world.desired = replace(world.desired, enabled=True)
    world.run(steps=enabled)
    world.run()
    assert world.user is not None
    assert world.user.enabled
    assert world.sessions == 0
    assert world.plan() == ()


ROLES = st.frozensets(
    st.sampled_from([MEMBER, realm_role("admin"), realm_role("fl-member", role_id="former")]), max_size=3
)
PATHS = st.frozensets(st.sampled_from(sorted(GROUP_IDS)))
WISHES = st.builds(
    lambda enabled, email, groups: replace(ANA, enabled=enabled, email=email, groups=groups),
    st.booleans(),
    st.sampled_from([None, "ana@site-a.example"]),
    PATHS,
)


@st.composite
def worlds(draw: st.DrawFn) -> UserWorld:
    """Draw any state that a user can be found in."""
    world = UserWorld(draw(WISHES), draw(st.sampled_from([frozenset(), frozenset({MEMBER})])))
    if draw(st.booleans()):
        world.user = replace(
            draw(WISHES), user_id="1", groups=frozenset(), first_name=draw(st.sampled_from([None, "", "Ana", "Anna"]))
        )
        world.groups = {path: GROUP_IDS[path] for path in draw(PATHS)}
        world.held = draw(ROLES)
        world.sessions = draw(st.integers(0, 1))
    return world


@given(worlds(), st.lists(st.integers(0, 8), max_size=4))
def test_any_number_of_crashes_converges(world: UserWorld, crashes: list[int]) -> None:
    """However often and wherever passes are cut off, one whole pass settles everything and the next does nothing."""
    for steps in crashes:
        world.run(steps=steps)
    world.run()
    assert world.plan() == ()
    assert world.user is not None
    assert user_differences(world.desired, world.user) == ()
    assert set(world.groups) == world.desired.groups
    assert world.held == world.roles


RANK = {
    CreateUser: 0,
    EndSessions: 1,
    UpdateUser: 1,
    LeaveGroup: 2,
    UnmapRoles: 3,
    JoinGroup: 4,
    MapRoles: 5,
}
"""The account, then rights that go, then rights that come."""


@given(worlds())
def test_rights_go_before_rights_come(world: UserWorld) -> None:
    """The account comes first, and nothing is given before everything is taken that the spec does not name."""
    plan = world.plan()
    ranks = [RANK[type(step)] for step in plan]
    assert ranks == sorted(ranks)
    assert plan == world.plan()


@given(worlds())
def test_a_change_of_enabled_always_ends_sessions(world: UserWorld) -> None:
    """Sessions end with every change of `enabled`, on the disabled side of it, and at no other time."""
    plan = world.plan()
    flips = world.user is not None and world.user.enabled != world.desired.enabled
    assert (EndSessions() in plan) == flips
    if flips:
        (update,) = (i for i, step in enumerate(plan) if isinstance(step, UpdateUser))
        assert (plan.index(EndSessions()) > update) == (not world.desired.enabled)
