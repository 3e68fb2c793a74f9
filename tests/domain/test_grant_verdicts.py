"""Tests of what the grants of a Federation say together: what is denied, for how long, and in which words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.grants import Ask, AskKind, parse_grants
from tests.domain.rules import HERE, TENANT, grants, judged, realm_role
from tests.domain.samples import FEDERATION


def test_nothing_matches_nothing_is_granted() -> None:
    """Without a rule about the namespace nothing may exist, even if nothing is asked for."""
    for rules in ((), grants({"namespaces": {"names": ["site-b"]}, "realmRoles": ["*"], "maxTokenLifetime": "1h"})):
        verdict = judged(rules, realm_role("fl-client"))
        assert not verdict.namespace_matched
        assert not verdict.granted
        assert verdict.denied == {realm_role("fl-client")}
        assert verdict.max_token_lifetime is None
        assert not judged(rules).granted


def test_a_rule_without_lists_lets_identities_exist() -> None:
    """A rule about the namespace grants existence, and nothing that it does not list."""
    rules = grants({})
    assert judged(rules).granted
    assert judged(rules, realm_role("fl-client")).denied == {realm_role("fl-client")}


def test_different_asks_may_be_covered_by_different_rules() -> None:
    """Two rules that match the namespace cover together what neither covers alone."""
    rules = grants({"realmRoles": ["fl-*"]}, {"audiences": ["superlink"]})
    asks = (realm_role("fl-client"), Ask(AskKind.AUDIENCE, "superlink"))
    assert judged(rules, *asks).granted
    assert not judged(rules[:1], *asks).granted
    assert not judged(rules[1:], *asks).granted


def test_one_ask_is_covered_by_one_rule_or_not() -> None:
    """What a client role is covered by stands in one rule: the client of one and the role of another do not add up."""
    rules = grants({"clientRoles": {"superlink": ["submit"]}}, {"clientRoles": {"other": ["run"]}})
    assert judged(rules, Ask(AskKind.CLIENT_ROLE, "run", "superlink")).denied
    assert judged(rules, Ask(AskKind.CLIENT_ROLE, "run", "other")).granted


def test_a_rule_about_another_namespace_covers_nothing() -> None:
    """A list counts only in a rule that matches the namespace."""
    rules = grants({}, {"namespaces": {"names": ["site-b"]}, "realmRoles": ["*"]})
    assert judged(rules, realm_role("fl-client")).denied == {realm_role("fl-client")}


def test_only_what_is_not_covered_is_denied() -> None:
    """The verdict names exactly the asks that no rule covers."""
    rules = grants({"realmRoles": ["fl-*"]})
    verdict = judged(rules, realm_role("fl-client"), realm_role("admin"), Ask(AskKind.GROUP, "/sites/a"))
    assert verdict.denied == {realm_role("admin"), Ask(AskKind.GROUP, "/sites/a")}
    assert not verdict.granted


@pytest.mark.parametrize(
    ("lifetimes", "widest"),
    [
        pytest.param([None], None, id="no rule sets a limit: there is none"),
        pytest.param(["1h"], timedelta(hours=1), id="one limit"),
        pytest.param(["10m", "1h", "30m"], timedelta(hours=1), id="the widest of several"),
        pytest.param([None, "10m"], timedelta(minutes=10), id="a rule without a limit does not lift that of another"),
    ],
)
def test_the_widest_limit_of_matching_rules_counts(lifetimes: list[str | None], widest: timedelta | None) -> None:
    """The limit is the widest that any rule about the namespace sets."""
    rules = grants(*({"maxTokenLifetime": lifetime} if lifetime else {} for lifetime in lifetimes))
    assert judged(rules).max_token_lifetime == widest


def test_the_limit_of_another_namespace_does_not_count() -> None:
    """A wide limit for others widens nothing here."""
    rules = grants({"maxTokenLifetime": "10m"}, {"namespaces": {"names": ["site-b"]}, "maxTokenLifetime": "24h"})
    assert judged(rules).max_token_lifetime == timedelta(minutes=10)


def test_the_message_of_a_denial_names_the_asks_and_the_rules_that_match() -> None:
    """Who is denied something reads what exactly, which rules there are for the namespace, and what to do."""
    rules = grants(
        {
            "realmRoles": ["fl-*", "viewer"],
            "clientRoles": {"superlink": ["submit", "run-*"]},
            "maxTokenLifetime": "1h30m",
        },
        {"namespaces": {"names": ["site-b"]}, "realmRoles": ["admin"]},
    )
    asks = (realm_role("admin"), Ask(AskKind.CLIENT_ROLE, "delete", "superlink"), realm_role("fl-client"))
    assert judged(rules, *asks).message == (
        "Federation local does not grant namespace site-a: clientRoles: superlink/delete, realmRoles: admin. "
        "Rules that match the namespace: grants[0] for site-a (realmRoles: fl-*, viewer; "
        "clientRoles: superlink/(submit, run-*); maxTokenLifetime: 1h30m). "
        "Take it out of the spec, or ask the platform team for a grant."
    )


def test_the_message_without_a_matching_rule_names_the_rules_that_exist() -> None:
    """Who is under no rule reads whom the existing rules are about."""
    expressions = [
        {"key": "zone", "operator": "NotIn", "values": ["x", "y"]},
        {"key": "a", "operator": "Exists"},
        {"key": "b", "operator": "DoesNotExist"},
    ]
    rules = grants(
        {"namespaces": {"names": ["site-c", "site-b"]}},
        {"namespaces": {"selector": {"matchLabels": {"t": "1", "a": "2"}, "matchExpressions": expressions}}},
        {"namespaces": {"names": ["site-d"], "selector": {"matchLabels": {"u": "1"}}}, "groups": ["/sites/*"]},
    )
    assert judged(rules, realm_role("fl-client"), labels={}).message == (
        "No grant of Federation local is about namespace site-a, so nothing is made. Rules that exist: "
        "grants[0] for site-b, site-c (nothing but to exist); "
        "grants[1] for [a=2,t=1,zone notin (x,y),a,!b] (nothing but to exist); "
        "grants[2] for site-d, [u=1] (groups: /sites/*). "
        "Ask the platform team to label the namespace or to add a grant."
    )


def test_the_message_without_any_rule_says_so() -> None:
    """A Federation without grants says that there are none."""
    assert "Rules that exist: none." in judged(()).message


def test_the_message_of_a_grant_names_the_rules_that_are_used() -> None:
    """What is granted says by which rules."""
    rules = grants({}, {"namespaces": {"names": ["site-b"]}}, {"realmRoles": ["*"]})
    assert judged(rules).message == "Covered by grants[0] of Federation local."
    assert judged(rules, realm_role("fl-client")).message == "Covered by grants[2] of Federation local."


def test_the_grants_of_the_design_are_read() -> None:
    """The example of design.md grants the example of design.md, to tenants only."""
    rules = parse_grants(FEDERATION)
    asks = (realm_role("fl-client"), Ask(AskKind.GROUP, "/sites/a"), Ask(AskKind.AUDIENCE, "superlink"))
    verdict = judged(rules, *asks)
    assert verdict.granted
    assert verdict.max_token_lifetime == timedelta(hours=1)
    assert not judged(rules, *asks, labels={}).namespace_matched
    assert parse_grants({}) == ()


NAMES = st.text(alphabet="ab-*", max_size=3)
ASKS = st.frozensets(
    st.one_of(
        st.builds(Ask, st.sampled_from([AskKind.REALM_ROLE, AskKind.GROUP, AskKind.AUDIENCE]), NAMES),
        st.builds(Ask, st.just(AskKind.CLIENT_ROLE), NAMES, st.sampled_from(["one", "broker"])),
    ),
    max_size=4,
)
RULES = st.lists(
    st.fixed_dictionaries(
        {"namespaces": st.sampled_from([HERE, {"names": ["site-b"]}, {"selector": {"matchLabels": {"t": "1"}}}])},
        optional={
            "realmRoles": st.lists(NAMES, max_size=3),
            "groups": st.lists(NAMES, max_size=3),
            "audiences": st.lists(NAMES, max_size=3),
            "clientRoles": st.dictionaries(st.sampled_from(["one", "broker"]), st.lists(NAMES, max_size=3)),
            "maxTokenLifetime": st.sampled_from(["1m", "1h"]),
        },
    ),
    max_size=4,
)


@given(ASKS, ASKS, RULES, st.sampled_from([{}, {"t": "1"}]))
def test_asks_are_judged_one_by_one(
    asks: frozenset[Ask], more: frozenset[Ask], rules: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    """What is denied does not depend on what else is asked for, and every denied ask was asked."""
    parsed = parse_grants({"grants": rules})
    together = judged(parsed, *(asks | more), labels=labels)
    assert together.denied == judged(parsed, *asks, labels=labels).denied | judged(parsed, *more, labels=labels).denied
    assert together.denied <= asks | more
    assert together.granted == (together.namespace_matched and not together.denied)


@given(ASKS, RULES, st.sampled_from([{}, {"t": "1"}]), st.data())
def test_taking_a_rule_away_never_grants_more(
    asks: frozenset[Ask], rules: list[dict[str, Any]], labels: dict[str, str], data: st.DataObject
) -> None:
    """Fewer rules never deny fewer asks and never match where more did not."""
    fewer = data.draw(st.lists(st.sampled_from(rules), unique_by=id) if rules else st.just([]))
    before = judged(parse_grants({"grants": rules}), *asks, labels=labels)
    after = judged(parse_grants({"grants": fewer}), *asks, labels=labels)
    assert before.denied <= after.denied
    assert before.namespace_matched or not after.namespace_matched


@given(ASKS, RULES)
def test_every_denied_ask_is_named(asks: frozenset[Ask], rules: list[dict[str, Any]]) -> None:
    """A denial where rules match names each denied ask and each rule that matches, and nobody has to guess."""
    parsed = parse_grants({"grants": rules})
    verdict = judged(parsed, *asks)
    for ask in verdict.denied if verdict.namespace_matched else ():
        assert str(ask) in verdict.message
    for rule in parsed if not verdict.granted else ():
        if rule.matches("site-a", TENANT) or not verdict.namespace_matched:
            assert f"grants[{rule.index}]" in verdict.message
