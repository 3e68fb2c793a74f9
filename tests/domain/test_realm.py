"""Tests of role drift: compared by id, since a role made anew under its name is another one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.realm import Role, RoleMappings, role_changes
from tests.domain.samples import client_role, realm_role

A, B = realm_role("a"), realm_role("b")
SUBMIT = client_role("superlink", "submit")
ANEW = realm_role("a", role_id="made-anew")
ROLES = st.frozensets(st.builds(Role, st.sampled_from("12345"), st.sampled_from("ab")), max_size=4)


@pytest.mark.parametrize(
    ("held", "wanted", "removed", "added"),
    [
        pytest.param(None, {A}, set(), {A}, id="nothing known: everything is mapped"),
        pytest.param(RoleMappings(frozenset({A}), frozenset({SUBMIT})), {A, SUBMIT}, set(), set(), id="as wanted"),
        pytest.param(RoleMappings(frozenset({A, B}), frozenset()), {A}, {B}, set(), id="one too many"),
        pytest.param(
            RoleMappings(frozenset({A}), frozenset({SUBMIT})), {A}, {SUBMIT}, set(), id="a client role too many"
        ),
        pytest.param(RoleMappings(frozenset(), frozenset()), {A, SUBMIT}, set(), {A, SUBMIT}, id="all are missing"),
        pytest.param(RoleMappings(frozenset({ANEW}), frozenset()), {A}, {ANEW}, {A}, id="the same name, another role"),
        pytest.param(RoleMappings(frozenset({A}), frozenset()), set(), {A}, set(), id="none is wanted"),
    ],
)
def test_roles_are_compared_by_id(
    held: RoleMappings | None, wanted: set[Role], removed: set[Role], added: set[Role]
) -> None:
    """What is mapped and not wanted goes, what is wanted and not mapped comes."""
    assert role_changes(held, frozenset(wanted)) == (frozenset(removed), frozenset(added))


@given(ROLES, ROLES, ROLES)
def test_carrying_out_the_changes_leaves_nothing_to_change(
    realm: frozenset[Role], client: frozenset[Role], wanted: frozenset[Role]
) -> None:
    """After the changes exactly the wanted ids are mapped, and a second look changes nothing."""
    removed, added = role_changes(RoleMappings(realm, client), wanted)
    after = ((realm | client) - removed) | added
    assert {role.role_id for role in after} == {role.role_id for role in wanted}
    assert role_changes(RoleMappings(after, frozenset()), wanted) == (frozenset(), frozenset())
    assert not removed & added
