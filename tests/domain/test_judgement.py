"""Tests of verdicts: what roles bring along, what rules demand, how many identities there may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.conditions import Reason
from fedid.domain.grants import Ask, AskKind, parse_grants
from fedid.domain.judgement import Standing, Verdict, judge

HERE = {"names": ["site-a"]}
ADMIN = Ask(AskKind.CLIENT_ROLE, "view-users", "realm-management")
GROUP = Ask(AskKind.GROUP, "/sites/a")
EXPIRES = Standing(expires=True)


def role(name: str) -> Ask:
    """Ask for a realm role."""
    return Ask(AskKind.REALM_ROLE, name)


def judged(
    rules: list[Mapping[str, Any]],
    *asks: Ask,
    standing: Standing | None = None,
    brings: Mapping[Ask, set[Ask]] | None = None,
) -> Verdict:
    """Return the verdict of rules about `site-a`."""
    grants = parse_grants({"grants": [{"namespaces": HERE, **rule} for rule in rules]})
    brought = {ask: frozenset(some) for ask, some in (brings or {}).items()}
    return judge(asks, grants, federation="local", namespace="site-a", labels={}, standing=standing, brings=brought)


def approved(*asks: Ask) -> Standing:
    """Return the standing of an identity that was approved for these asks."""
    return Standing(approved=frozenset(ask.signature for ask in asks))


class TestBroughtAlong:
    """A role or group counts with what it brings along."""

    @pytest.mark.parametrize(
        ("rules", "granted"),
        [
            pytest.param([{"realmRoles": ["fl-*"]}], False, id="what it brings is not listed"),
            pytest.param([{"realmRoles": ["fl-*", "billing"]}], True, id="what it brings is listed too"),
            pytest.param([{"realmRoles": ["fl-*"]}, {"realmRoles": ["billing"]}], True, id="by another rule"),
            pytest.param([{"realmRoles": ["billing"]}], False, id="it is not listed itself"),
        ],
    )
    @pytest.mark.parametrize("ask", [role("fl-top"), GROUP])
    def test_each_part_is_judged(self, rules: list[Mapping[str, Any]], ask: Ask, *, granted: bool) -> None:
        """Every part must be covered; a group as well as a role."""
        if ask is GROUP and granted:
            rules = [*rules, {"groups": ["/sites/*"]}]
        verdict = judged(rules, ask, brings={ask: {role("billing")}})
        assert verdict.granted is granted
        assert verdict.denied == (frozenset() if granted else {ask})

    def test_the_part_is_named(self) -> None:
        """Who is denied a role reads what it brings that is too much, and nothing of what is not."""
        told = judged([{"realmRoles": ["fl-*"]}], role("fl-top"), brings={role("fl-top"): {role("b"), role("fl-x")}})
        assert "realmRoles: fl-top (it brings realmRoles: b)." in told.message

    @pytest.mark.parametrize(
        ("listed", "granted"), [(["fl-*"], False), (["*"], False), (["fl-top"], True), (["fl-*", "fl-top"], True)]
    )
    def test_what_administers_the_realm_is_named_in_full(self, listed: list[str], *, granted: bool) -> None:
        """A composite with roles of Keycloak's own clients is covered by its whole name alone, and they by theirs."""
        rule = {"realmRoles": listed, "clientRoles": {"realm-management": ["view-users"]}}
        verdict = judged([rule], role("fl-top"), brings={role("fl-top"): {ADMIN}})
        assert verdict.granted is granted
        assert granted or "a rule must name it in full" in verdict.message
        assert not judged([{"realmRoles": listed}], role("fl-top"), brings={role("fl-top"): {ADMIN}}).granted

    def test_a_group_that_gives_such_roles_is_named_in_full_too(self) -> None:
        """By the whole path."""
        roles = {"clientRoles": {"realm-management": ["view-users"]}}
        assert not judged([{"groups": ["/sites/*"], **roles}], GROUP, brings={GROUP: {ADMIN}}).granted
        assert judged([{"groups": ["/sites/a"], **roles}], GROUP, brings={GROUP: {ADMIN}}).granted


class TestDemands:
    """`requireExpiry` and `requireApproval`."""

    def test_expiry(self) -> None:
        """What only such a rule covers is for those that end by themselves; so is existence where no other matches."""
        rules: list[Mapping[str, Any]] = [{"realmRoles": ["fl-*"], "requireExpiry": True}]
        for asks in ((role("fl-a"),), ()):
            verdict = judged(rules, *asks)
            assert (verdict.granted, verdict.may_exist, verdict.reason) == (False, False, Reason.NOT_GRANTED)
            assert "grants[0]" in verdict.message
            assert "set spec.expiresAt" in verdict.message
            assert judged(rules, *asks, standing=EXPIRES).granted

    def test_approval(self) -> None:
        """Without one it waits and may not exist; the one for its asks lets it; one for other asks does not."""
        rules: list[Mapping[str, Any]] = [{"realmRoles": ["fl-*"], "requireApproval": True}]
        for asks in ((role("fl-a"),), ()):
            verdict = judged(rules, *asks)
            assert (verdict.may_exist, verdict.waits) == (False, True)
            assert verdict.reason is Reason.WAITING_FOR_APPROVAL
            assert verdict.under_approval
            assert "grants[0] of Federation local wants an IdentityApproval" in verdict.message
            given = judged(rules, *asks, standing=approved(*asks))
            assert given.granted
            assert given.under_approval
        wider = judged(rules, role("fl-a"), role("fl-b"), standing=approved(role("fl-a")))
        assert (wider.denied, wider.may_exist, wider.waits) == ({role("fl-b")}, True, True)

    def test_approval_of_what_comes_along(self) -> None:
        """A role that grew waits anew."""
        rules: list[Mapping[str, Any]] = [{"realmRoles": ["*"], "requireApproval": True}]
        ask = role("fl-top")
        assert judged(rules, ask, brings={ask: {role("a")}}, standing=approved(ask, role("a"))).granted
        grown = judged(rules, ask, brings={ask: {role("a"), role("b")}}, standing=approved(ask, role("a")))
        assert (grown.denied, grown.waits) == ({ask}, True)

    def test_the_most_lenient_rule_is_used(self) -> None:
        """A demand does not count for what another rule covers without it, in whatever order the rules stand."""
        strict = {"realmRoles": ["fl-a", "fl-b"], "requireApproval": True, "requireExpiry": True}
        free = {"realmRoles": ["fl-a"]}
        for rules, used in (([strict, free], 1), ([free, strict], 0)):
            verdict = judged(rules, role("fl-a"))
            assert verdict.granted
            assert verdict.rules == (used,)
            assert not verdict.under_approval
            assert judged(rules, role("fl-b")).denied == {role("fl-b")}

    def test_what_is_denied_for_good_waits_for_nothing(self) -> None:
        """With an ask that no rule lists the reason is NotGranted; an approval would not help."""
        verdict = judged([{"realmRoles": ["fl-*"], "requireApproval": True}], role("fl-a"), role("x"))
        assert verdict.reason is Reason.NOT_GRANTED
        assert "realmRoles: x" in verdict.message

    def test_both_demands(self) -> None:
        """Who does not expire is told that first; then it waits."""
        rules: list[Mapping[str, Any]] = [{"realmRoles": ["a"], "requireApproval": True, "requireExpiry": True}]
        assert judged(rules, role("a")).reason is Reason.NOT_GRANTED
        assert judged(rules, role("a"), standing=EXPIRES).reason is Reason.WAITING_FOR_APPROVAL

    def test_what_to_do_is_never_cut_off(self) -> None:
        """Of very many asks the first few are named."""
        asks = [role(f"fl-{number:03}" + "x" * 200) for number in range(64)]
        told = judged([{"realmRoles": ["fl-*"], "requireApproval": True}], *asks).message
        assert str(asks[0]) in told
        assert "and 58 more (requireApproval)" in told


class TestNumber:
    """`maxIdentities`."""

    @pytest.mark.parametrize(("limits", "places"), [([2], 2), ([2, 3], 3), ([3, 2], 3), ([None, 1], 1), ([None], None)])
    def test_the_widest_limit_counts(self, limits: list[int | None], places: int | None) -> None:
        """As many as the widest limit have a place; a rule without one lifts none."""
        rules = [{"maxIdentities": limit} if limit else {} for limit in limits]
        for older in range(5):
            verdict = judged(rules, standing=Standing(older=older))
            assert verdict.granted is (places is None or older < places)

    def test_the_rule_and_the_count_are_named(self) -> None:
        """It may not exist, and no approval would help."""
        verdict = judged([{}, {"maxIdentities": 2, "requireApproval": True}], standing=Standing(older=2))
        assert (verdict.may_exist, verdict.waits, verdict.reason) == (False, False, Reason.NOT_GRANTED)
        assert (
            "grants[1] of Federation local lets namespace site-a have 2 identities (maxIdentities)" in verdict.message
        )


NAMES = st.sampled_from(["a", "b", "ab", "view"])
ASKS = st.one_of(
    st.builds(Ask, st.just(AskKind.REALM_ROLE), NAMES),
    st.builds(Ask, st.just(AskKind.CLIENT_ROLE), NAMES, st.sampled_from(["one", "broker"])),
)
PATTERNS = st.lists(st.sampled_from(["a", "a*", "b", "*", "view"]), max_size=2)
RULES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "realmRoles": PATTERNS,
            "clientRoles": st.dictionaries(st.sampled_from(["one", "broker"]), PATTERNS),
            "requireExpiry": st.booleans(),
            "requireApproval": st.booleans(),
            "maxIdentities": st.integers(1, 3),
        },
    ),
    max_size=3,
)
BRINGS = st.dictionaries(ASKS, st.sets(ASKS, max_size=2), max_size=3)
STANDINGS = st.builds(
    Standing,
    st.booleans(),
    st.one_of(st.none(), st.frozensets(ASKS.map(lambda ask: ask.signature), max_size=3)),
    st.integers(0, 3),
)


@given(st.frozensets(ASKS, max_size=3), RULES, BRINGS, STANDINGS)
def test_what_comes_along_never_grants_more(
    asks: frozenset[Ask], rules: list[Mapping[str, Any]], brings: dict[Ask, set[Ask]], standing: Standing
) -> None:
    """With more to be covered no fewer asks are denied, and what is denied was asked."""
    plain, whole = (judged(rules, *asks, standing=standing, brings=some) for some in (None, brings))
    assert plain.denied <= whole.denied <= asks
    for ask in asks - whole.denied if whole.namespace_matched else ():
        for part in (ask, *brings.get(ask, ())):
            assert part not in judged(rules, part, standing=standing).denied


@given(st.frozensets(ASKS, max_size=3), RULES, BRINGS, STANDINGS)
def test_meeting_every_demand_denies_no_more_and_the_reason_is_one_of_three(
    asks: frozenset[Ask], rules: list[Mapping[str, Any]], brings: dict[Ask, set[Ask]], standing: Standing
) -> None:
    """An expiry and an approval of everything help or change nothing; who waits needs an approval and nothing else."""
    everything = asks.union(*brings.values())
    signatures = frozenset(ask.signature for ask in everything)
    before = judged(rules, *asks, standing=standing, brings=brings)
    after = judged(rules, *asks, standing=Standing(True, signatures, standing.older), brings=brings)
    assert after.denied <= before.denied
    assert after.may_exist or not before.may_exist
    if before.reason is Reason.WAITING_FOR_APPROVAL:
        helped = Standing(standing.expires, signatures, standing.older)
        assert judged(rules, *asks, standing=helped, brings=brings).granted
    assert (before.reason is Reason.GRANTED) is before.granted
