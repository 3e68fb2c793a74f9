"""Tests of the plan that leads to a user: each situation, and general rules for any state that one can be found in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.user import (
    AppliedToUser,
    DesiredUser,
    applied_by,
)
from fedid.domain.user_plan import plan_user
from fedid.domain.user_steps import (
    CreateUser,
    EnableUser,
    EndSessions,
    JoinGroup,
    LeaveGroup,
    LinkIdentity,
    MapRoles,
    Notice,
    ObservedUser,
    PublishPassword,
    SendActions,
    StagePassword,
    UnlinkIdentity,
    UnmapRoles,
    UpdateUser,
    UserStep,
)
from tests.domain.samples import OWNER, realm_role
from tests.domain.user_model import ANA, GROUP_IDS, MEMBER, UserWorld, link_to, settled


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


def adopt(world: UserWorld) -> None:
    """Be told to take over an account that somebody else made."""
    strange = replace(ANA.record, user_id="9", owner=None, object_name=None, first_name="Anna", groups=frozenset())
    world.user, world.groups, world.held = strange, {"/admins": GROUP_IDS["/admins"]}, frozenset()
    world.recorded, world.desired = False, replace(world.desired, adopt=True)


LINK = link_to("university", "u-1")
SITUATIONS = [
    pytest.param(nothing, (), id="everything is settled: nothing to do"),
    pytest.param(delete, (CreateUser(), MapRoles(frozenset({MEMBER}))), id="deleted by hand: made anew with its roles"),
    pytest.param(change(first_name="Anna"), (UpdateUser(("firstName",)),), id="a name was changed by hand: put back"),
    pytest.param(want(email=None), (UpdateUser(("email",)),), id="the address was taken out of the spec"),
    pytest.param(
        want(attributes={"site": ("a",)}), (UpdateUser(("attributes[site]",)),), id="an attribute came into the spec"
    ),
    pytest.param(
        want(enabled=False),
        (UpdateUser(("enabled",)), EndSessions()),
        id="disabled first, so that no session can begin, then sessions end",
    ),
    pytest.param(
        suspended_long_ago,
        (EndSessions(), EnableUser()),
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
    pytest.param(want(links={"university": LINK}), (LinkIdentity(LINK),), id="a link came into the spec"),
    pytest.param(
        adopt,
        (
            EndSessions(),
            UpdateUser(("firstName", "attributes[fedid.owner]", "attributes[fedid.object]")),
            LeaveGroup("/admins", GROUP_IDS["/admins"]),
            JoinGroup("/sites/a", GROUP_IDS["/sites/a"]),
            MapRoles(frozenset({MEMBER})),
        ),
        id="taken over: its sessions were not opened for us, and what others gave it goes",
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


def test_a_password_is_in_vault_before_the_user_is_made_and_published_after() -> None:
    """And the mail goes last, when the account is whole."""
    desired = replace(ANA, initial_password=True, notify=True, required_actions=frozenset({"UPDATE_PASSWORD"}))
    plan = plan_user(desired, ObservedUser(), frozenset({MEMBER}), GROUP_IDS)
    mail = SendActions(frozenset({"UPDATE_PASSWORD"}))
    made = (CreateUser(), PublishPassword(), MapRoles(frozenset({MEMBER})), mail)
    assert plan == (StagePassword(), *made)
    assert plan_user(desired, ObservedUser(password_pending=True), frozenset({MEMBER}), GROUP_IDS) == made


NOTIFIED = replace(ANA, notify=True, required_actions=frozenset({"VERIFY_EMAIL", "UPDATE_PASSWORD"}))


@pytest.mark.parametrize(
    ("left", "notice", "recorded", "sent"),
    [
        pytest.param({"VERIFY_EMAIL"}, Notice.NONE, False, {"VERIFY_EMAIL"}, id="a crash came before the mail"),
        pytest.param({"VERIFY_EMAIL"}, Notice.NONE, True, None, id="asked for when the account was there already"),
        pytest.param({"VERIFY_EMAIL"}, Notice.SENT, True, None, id="it was sent"),
        pytest.param({"VERIFY_EMAIL"}, Notice.FAILED, True, {"VERIFY_EMAIL"}, id="there was no mail server"),
        pytest.param({"CONFIGURE_TOTP"}, Notice.FAILED, True, None, id="all is done that was asked for"),
    ],
)
def test_a_mail_is_sent_once_and_for_what_is_left_to_do(
    left: set[str], notice: Notice, *, recorded: bool, sent: set[str] | None
) -> None:
    """Whoever has done everything is left in peace."""
    user = replace(NOTIFIED.record, user_id="1", required_actions=frozenset(left))
    observed = ObservedUser(user=user, groups=GROUP_IDS_OF_ANA, recorded=recorded, notice=notice)
    plan = plan_user(NOTIFIED, observed, frozenset(), GROUP_IDS)
    assert plan == ((SendActions(frozenset(sent)),) if sent is not None else ())


GROUP_IDS_OF_ANA = {"/sites/a": GROUP_IDS["/sites/a"]}


@pytest.mark.parametrize(
    ("held", "wanted", "applied", "plan"),
    [
        pytest.param("u-1", None, {"university"}, (UnlinkIdentity("university"),), id="taken out of the spec"),
        pytest.param("u-1", None, set(), (), id="the user made it"),
        pytest.param("u-2", "u-1", {"university"}, (UnlinkIdentity("university"), LinkIdentity(LINK)), id="moved"),
        pytest.param("u-2", "u-1", set(), (UnlinkIdentity("university"), LinkIdentity(LINK)), id="to somebody else"),
        pytest.param("u-1", "u-1", set(), (), id="the user made the very same"),
    ],
)
def test_a_link_goes_if_it_was_ours_or_leads_to_somebody_else(
    held: str, wanted: str | None, applied: set[str], plan: tuple[UserStep, ...]
) -> None:
    """What the manifest says holds, and what it never said stays."""
    desired = replace(ANA, links={"university": link_to("university", wanted)} if wanted else {})
    user = replace(ANA.record, user_id="1", links=frozenset({link_to("university", held)}))
    observed = ObservedUser(user=user, groups=GROUP_IDS_OF_ANA, applied=AppliedToUser(links=frozenset(applied)))
    assert plan_user(desired, observed, frozenset(), GROUP_IDS) == plan


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
ATTRIBUTES = st.dictionaries(st.sampled_from(["site", "locale"]), st.sampled_from([("a",), ("b", "c")]))
LINKS = st.dictionaries(st.sampled_from(["university", "hospital"]), st.sampled_from(["1", "2"]))
WISHES = st.builds(
    lambda enabled, email, groups, attributes, links, verified, password: replace(
        ANA,
        enabled=enabled,
        email=email,
        groups=groups,
        attributes=attributes,
        links={alias: link_to(alias, whom) for alias, whom in links.items()},
        email_verified=verified and email is not None,
        initial_password=password,
        required_actions=frozenset({"UPDATE_PASSWORD"} if password else ()),
    ),
    st.booleans(),
    st.sampled_from([None, "ana@site-a.example"]),
    PATHS,
    ATTRIBUTES,
    LINKS,
    st.booleans(),
    st.booleans(),
)


@st.composite
def worlds(draw: st.DrawFn) -> UserWorld:
    """Draw any state that a user can be found in."""
    world = UserWorld(draw(WISHES), draw(st.sampled_from([frozenset(), frozenset({MEMBER})])))
    if draw(st.booleans()):
        found = draw(WISHES)
        world.user = replace(
            found.record,
            user_id="1",
            groups=frozenset(),
            first_name=draw(st.sampled_from([None, "", "Ana", "Anna"])),
            owner=draw(st.sampled_from([OWNER, OWNER, None])),
        )
        world.groups = {path: GROUP_IDS[path] for path in draw(PATHS)}
        world.held = draw(ROLES)
        world.sessions = draw(st.integers(0, 1))
        world.applied = applied_by(draw(WISHES))
        world.recorded = draw(st.booleans())
    return world


@given(worlds(), st.lists(st.integers(0, 12), max_size=4))
def test_any_number_of_crashes_converges(world: UserWorld, crashes: list[int]) -> None:
    """However often and wherever passes are cut off, one whole pass settles everything and the next does nothing."""
    for steps in crashes:
        world.run(steps=steps)
    world.run()
    assert world.plan() == ()
    assert world.user is not None
    assert (world.user.enabled, world.user.email or None) == (world.desired.enabled, world.desired.email)
    assert world.user.attributes.items() >= dict(world.desired.attributes).items()
    assert all(world.link(alias) == link.user_id for alias, link in world.desired.links.items())
    assert set(world.groups) == world.desired.groups
    assert world.held == world.roles


@given(WISHES, st.lists(st.integers(0, 12), max_size=4))
def test_a_password_is_made_once_and_vault_has_the_one_that_keycloak_took(
    desired: DesiredUser, crashes: list[int]
) -> None:
    """Wherever the making of a user is cut off."""
    world = UserWorld(desired, frozenset({MEMBER}))
    for steps in crashes:
        world.run(steps=steps)
    world.run()
    assert world.made == int(desired.initial_password)
    assert world.password == world.current
    assert world.pending is None


@given(WISHES, WISHES, WISHES)
def test_what_a_manifest_gave_goes_with_it(first: DesiredUser, by_user: DesiredUser, last: DesiredUser) -> None:
    """Of attributes, links and verified addresses, what the manifest gave goes, and what the user has besides stays."""
    world = UserWorld(first, frozenset())
    world.run()
    assert world.user is not None
    own = {name: values for name, values in by_user.attributes.items() if name not in first.attributes}
    links = {link for alias, link in by_user.links.items() if alias not in first.links}
    world.user = replace(
        world.user, attributes={**world.user.attributes, **own}, links=world.user.links | frozenset(links)
    )
    world.desired = last
    world.run()
    assert world.user.attributes == {**own, **last.attributes}
    held = {link.alias: link.user_id for link in world.user.links}
    wanted = {link.alias: link.user_id for link in links} | {a: link.user_id for a, link in last.links.items()}
    assert held == wanted
    assert world.user.email_verified == last.email_verified


RANK = {
    PublishPassword: 0,
    StagePassword: 0,
    CreateUser: 0,
    EndSessions: 1,
    UpdateUser: 1,
    UnlinkIdentity: 2,
    LeaveGroup: 2,
    UnmapRoles: 3,
    JoinGroup: 4,
    MapRoles: 5,
    LinkIdentity: 6,
    EnableUser: 7,
}
"""The account, then rights that go, then rights that come; a login only after all of them."""


@given(worlds())
def test_rights_go_before_rights_come(world: UserWorld) -> None:
    """The account comes first, and nothing is given before everything is taken that the spec does not name."""
    plan = world.plan()
    ranks = [RANK[type(step)] for step in plan if type(step) is not PublishPassword]
    assert ranks == sorted(ranks)
    assert plan == world.plan()


@given(worlds())
def test_a_change_of_enabled_always_ends_sessions(world: UserWorld) -> None:
    """Sessions end with every change of `enabled`, on the disabled side of it, at a take-over, and at no other time."""
    plan, user = world.plan(), world.user
    if user is None:
        assert EndSessions() not in plan
        return
    flips, strange = user.enabled != world.desired.enabled, user.owner != world.desired.owner
    assert (EndSessions() in plan) == (flips or strange)
    if flips and world.desired.enabled:
        assert plan.index(EndSessions()) < plan.index(EnableUser())
    elif flips:
        ended = max(i for i, step in enumerate(plan) if step == EndSessions())
        assert ended > next(i for i, step in enumerate(plan) if isinstance(step, UpdateUser))
