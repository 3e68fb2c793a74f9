"""Tests of grants: what a Federation lets the identities of a namespace ask for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedid.domain.grants import RESERVED_CLIENTS, Ask, AskKind, Grant, parse_grants
from fedid.domain.judgement import Verdict, judge
from tests.domain.samples import FEDERATION

TENANT = {"kubernetes.io/metadata.name": "site-a", "fedid.io/tenant": "true"}
HERE = {"names": ["site-a"]}


def grants(*rules: Mapping[str, Any]) -> tuple[Grant, ...]:
    """Return rules about `site-a`, unless a rule says whom it is about itself."""
    return parse_grants({"grants": [{"namespaces": HERE, **rule} for rule in rules]})


def judged(
    rules: tuple[Grant, ...], *asks: Ask, namespace: str = "site-a", labels: Mapping[str, str] = TENANT
) -> Verdict:
    """Return the verdict on asks of an identity in a namespace."""
    return judge(asks, rules, federation="local", namespace=namespace, labels=labels)


_LISTS = [
    AskKind.REALM_ROLE,
    AskKind.GROUP,
    AskKind.AUDIENCE,
    AskKind.CLIENT_ID,
    AskKind.ATTRIBUTE,
    AskKind.IDENTITY_PROVIDER,
]


def realm_role(name: str) -> Ask:
    """Ask for a realm role."""
    return Ask(AskKind.REALM_ROLE, name)


@pytest.mark.parametrize(
    ("pattern", "value", "covered"),
    [
        pytest.param("fl-client", "fl-client", True, id="a full name covers itself"),
        pytest.param("fl-client", "fl-client2", False, id="a full name covers nothing longer"),
        pytest.param("fl-client", "fl-clien", False, id="a full name covers nothing shorter"),
        pytest.param("fl-client", "FL-client", False, id="case matters"),
        pytest.param("fl-*", "fl-client", True, id="a beginning covers what begins so"),
        pytest.param("fl-*", "fl-", True, id="a beginning covers itself"),
        pytest.param("fl-*", "fl", False, id="a beginning covers nothing shorter than itself"),
        pytest.param("fl-*", "x-fl-client", False, id="a beginning covers nothing that only contains it"),
        pytest.param("*", "anything", True, id="a lone asterisk covers everything"),
        pytest.param("f*t", "flt", False, id="an asterisk within is no wildcard"),
        pytest.param("f*t", "f*t", True, id="an asterisk within is itself"),
        pytest.param("f**", "f*x", True, id="only the last asterisk is a wildcard"),
        pytest.param("f**", "fx", False, id="of two asterisks the first is itself"),
        pytest.param("fl.client", "flxclient", False, id="a dot is no regular expression"),
        pytest.param("[a-z]*", "abc", False, id="brackets are no glob"),
        pytest.param("fl-?", "fl-a", False, id="a question mark is no glob"),
        pytest.param("fl-client", "", False, id="nothing is not covered by something"),
    ],
)
@pytest.mark.parametrize("kind", _LISTS)
def test_a_list_covers_full_names_and_beginnings(kind: AskKind, pattern: str, value: str, *, covered: bool) -> None:
    """An entry is a full name, or a beginning with one asterisk at its end, and nothing else is a wildcard."""
    assert judged(grants({kind: [pattern]}), Ask(kind, value)).granted is covered


@pytest.mark.parametrize("listed", _LISTS)
@pytest.mark.parametrize("asked", [kind for kind in AskKind if kind is not AskKind.TOKEN_LIFETIME])
def test_a_list_covers_its_own_kind_only(listed: AskKind, asked: AskKind) -> None:
    """A role of a name does not let anyone have a group, an audience or a client of that name."""
    verdict = judged(grants({listed: ["*"]}), Ask(asked, "same-name", "superlink" if asked == "clientRoles" else ""))
    assert verdict.granted is (listed is asked)


@pytest.mark.parametrize(
    ("listed", "client", "role", "covered"),
    [
        pytest.param({"superlink": ["submit"]}, "superlink", "submit", True, id="a full name"),
        pytest.param({"superlink": ["run-*"]}, "superlink", "run-all", True, id="a beginning"),
        pytest.param({"superlink": ["submit"]}, "other", "submit", False, id="the same role of another client"),
        pytest.param({"super*": ["submit"]}, "superlink", "submit", False, id="a client id is never a wildcard"),
        pytest.param({"*": ["*"]}, "superlink", "submit", False, id="not even a lone asterisk"),
        pytest.param({"superlink": []}, "superlink", "submit", False, id="an empty list covers nothing"),
        pytest.param({}, "superlink", "submit", False, id="no list covers nothing"),
    ],
)
def test_client_roles_are_listed_by_client(
    listed: dict[str, list[str]], client: str, role: str, *, covered: bool
) -> None:
    """A client role is covered by an entry under the very client that has it."""
    assert judged(grants({"clientRoles": listed}), Ask(AskKind.CLIENT_ROLE, role, client)).granted is covered


@pytest.mark.parametrize("client", sorted(RESERVED_CLIENTS))
def test_no_wildcard_covers_a_role_of_keycloaks_own_clients(client: str) -> None:
    """A role that administers the realm is granted by its full name or not at all."""
    ask = Ask(AskKind.CLIENT_ROLE, "manage-users", client)
    assert not judged(grants({"clientRoles": {client: ["*", "manage-*"]}}), ask).granted
    assert judged(grants({"clientRoles": {client: ["manage-users"]}}), ask).granted


@pytest.mark.parametrize("client", sorted({*RESERVED_CLIENTS, "fl-realm"}))
@pytest.mark.parametrize("kind", [AskKind.AUDIENCE, AskKind.CLIENT_ID])
def test_no_wildcard_covers_the_name_of_keycloaks_own_clients(kind: AskKind, client: str) -> None:
    """A token that is for `account` opens Keycloak's own API, so that audience is written out or not granted."""
    assert not judged(grants({kind: ["*", f"{client[:2]}*"]}), Ask(kind, client)).granted
    assert judged(grants({kind: [client]}), Ask(kind, client)).granted


def test_the_clients_that_administer_other_realms_are_reserved_too() -> None:
    """In the realm `master` the client `fl-realm` administers `fl`: no wildcard covers its roles."""
    wide, exact = ({"clientRoles": {"fl-realm": roles}} for roles in (["*"], ["view-users"]))
    ask = Ask(AskKind.CLIENT_ROLE, "view-users", "fl-realm")
    assert not judged(grants(wide), ask).granted
    assert judged(grants(exact), ask).granted


@pytest.mark.parametrize("path", ["/sites/../admins", "/sites/./a", "/sites//a", "/sites/"])
def test_a_group_path_that_leads_elsewhere_is_never_covered(path: str) -> None:
    """A prefix covers what lies below it, and not what begins like it."""
    assert not judged(grants({"groups": ["/sites/*", path]}), Ask(AskKind.GROUP, path)).granted


def test_the_reserved_clients_are_those_of_every_realm() -> None:
    """Exactly the clients that Keycloak makes in each realm are reserved."""
    assert set(RESERVED_CLIENTS) == {
        "account",
        "account-console",
        "admin-cli",
        "broker",
        "realm-management",
        "security-admin-console",
    }


@pytest.mark.parametrize(
    ("selector", "labels", "matched"),
    [
        pytest.param({"matchLabels": {"t": "1"}}, {"t": "1", "x": "y"}, True, id="a label with its value"),
        pytest.param({"matchLabels": {"t": "1"}}, {"t": "2"}, False, id="a label with another value"),
        pytest.param({"matchLabels": {"t": "1"}}, {}, False, id="a label that is not there"),
        pytest.param({"matchLabels": {"t": ""}}, {}, False, id="an empty value is not a missing label"),
        pytest.param({"matchLabels": {"t": "1", "u": "2"}}, {"t": "1"}, False, id="all labels must match"),
        pytest.param({"matchLabels": {"t": "1", "u": "2"}}, {"t": "1", "u": "2"}, True, id="all labels match"),
        pytest.param(("In", ["1", "2"]), {"t": "2"}, True, id="In: one of the values"),
        pytest.param(("In", ["1", "2"]), {"t": "3"}, False, id="In: none of the values"),
        pytest.param(("In", ["1"]), {}, False, id="In: no label"),
        pytest.param(("In", []), {"t": "1"}, False, id="In: no values"),
        pytest.param(("NotIn", ["1", "2"]), {"t": "3"}, True, id="NotIn: another value"),
        pytest.param(("NotIn", ["1", "2"]), {"t": "1"}, False, id="NotIn: one of the values"),
        pytest.param(("NotIn", ["1"]), {}, True, id="NotIn: no label, as in Kubernetes"),
        pytest.param(("Exists", []), {"t": ""}, True, id="Exists: there, if empty"),
        pytest.param(("Exists", []), {"u": "1"}, False, id="Exists: not there"),
        pytest.param(("DoesNotExist", []), {"u": "1"}, True, id="DoesNotExist: not there"),
        pytest.param(("DoesNotExist", []), {"t": ""}, False, id="DoesNotExist: there, if empty"),
        pytest.param(("Gt", ["1"]), {"t": "2"}, False, id="an operator of nodes matches nothing"),
        pytest.param(("in", ["1"]), {"t": "1"}, False, id="an operator in another case matches nothing"),
        pytest.param(("Maybe", []), {"t": "1"}, False, id="an unknown operator matches nothing"),
        pytest.param({"matchLabels": {}, "matchExpressions": []}, {}, True, id="an empty selector matches all"),
        pytest.param({}, {"t": "1"}, True, id="a selector without anything matches all, as in Kubernetes"),
        pytest.param(
            {"matchLabels": {"u": "1"}, "matchExpressions": [{"key": "t", "operator": "Exists"}]},
            {"u": "1"},
            False,
            id="labels and expressions must both hold: the expression does not",
        ),
        pytest.param(
            {"matchLabels": {"u": "1"}, "matchExpressions": [{"key": "t", "operator": "Exists"}]},
            {"t": "1"},
            False,
            id="labels and expressions must both hold: the label does not",
        ),
        pytest.param(
            {
                "matchExpressions": [
                    {"key": "t", "operator": "Exists"},
                    {"key": "u", "operator": "DoesNotExist", "values": None},
                ]
            },
            {"t": "1"},
            True,
            id="several expressions hold together",
        ),
    ],
)
def test_a_selector_matches_as_everywhere_in_kubernetes(
    selector: dict[str, Any] | tuple[str, list[str]], labels: dict[str, str], *, matched: bool
) -> None:
    """A rule is about the namespaces whose labels its selector picks; what we do not know picks nothing."""
    if isinstance(selector, tuple):
        operator, values = selector
        selector = {"matchExpressions": [{"key": "t", "operator": operator, "values": values}]}
    rules = grants({"namespaces": {"selector": selector}, "realmRoles": ["*"]})
    assert judged(rules, realm_role("a"), labels=labels).granted is matched


@pytest.mark.parametrize(
    ("namespaces", "matched"),
    [
        pytest.param({"names": ["site-a"]}, True, id="by name"),
        pytest.param({"names": ["site-b", "site-a"]}, True, id="by one of several names"),
        pytest.param({"names": ["site-b"]}, False, id="another name"),
        pytest.param({"names": ["site-*"]}, False, id="a name is never a wildcard"),
        pytest.param({"names": [], "selector": None}, False, id="nobody"),
        pytest.param({}, False, id="nothing said is nobody"),
        pytest.param(
            {"names": ["site-b"], "selector": {"matchLabels": TENANT}}, True, id="by label though not by name"
        ),
        pytest.param(
            {"names": ["site-a"], "selector": {"matchLabels": {"x": "y"}}}, True, id="by name though not by label"
        ),
    ],
)
def test_a_rule_is_about_names_and_what_the_selector_picks(namespaces: dict[str, Any], *, matched: bool) -> None:
    """A namespace is meant by its full name or by its labels; either is enough."""
    assert judged(grants({"namespaces": namespaces})).namespace_matched is matched


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


def test_an_empty_selector_reads_as_every_namespace() -> None:
    """A rule that covers every namespace says so in words."""
    rules = grants({"namespaces": {"selector": {}}})
    assert str(rules[0]) == "grants[0] for [every namespace] (nothing but to exist)"


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


@pytest.mark.parametrize("pattern", ["*", "sub", "realm_*", "realm_access.roles", "Sub"])
@pytest.mark.parametrize("name", ["sub", "realm_access", "realm_access.roles", "Sub", "sub\n"])
def test_no_rule_gives_a_claim_of_the_protocol_away(pattern: str, name: str) -> None:
    """Neither a wildcard nor the name itself."""
    ask = Ask(AskKind.CLAIM, name)
    assert judged(grants({"claims": [pattern]}), ask).denied == {ask}


def test_a_claim_is_covered_by_name_whatever_its_value() -> None:
    """Exactly or by its beginning; without a rule not at all."""
    site, tier = Ask(AskKind.CLAIM, "fl_site"), Ask(AskKind.CLAIM, "tier")
    rules = grants({"claims": ["fl_*"]}, {"claims": ["other"]})
    assert judged(rules, site).granted
    assert judged(rules, site, tier).denied == {tier}
    assert judged(grants({}), site).denied == {site}


@pytest.mark.parametrize("name", ["fedid.owner", "fedid.object", "Fedid.Owner", "fedid."])
@pytest.mark.parametrize("pattern", ["*", "fed*", "fedid.*", "fedid.owner", "Fedid.Owner"])
def test_no_rule_gives_away_our_own_attributes(name: str, pattern: str) -> None:
    """Whoever sets the owner mark of a user has the user."""
    assert not judged(grants({"attributes": [pattern]}), Ask(AskKind.ATTRIBUTE, name)).granted


@pytest.mark.parametrize("kind", [AskKind.ADOPT, AskKind.RETAIN, AskKind.EMAIL_VERIFIED])
def test_a_switch_is_granted_by_itself_alone(kind: AskKind) -> None:
    """No other rule and no wildcard turns it on, and a message says it as the rule does."""
    ask = Ask(kind, "true")
    assert judged(grants({str(kind): True}), ask).granted
    assert str(kind) + ": true" in str(grants({str(kind): True})[0])
    others = {"realmRoles": ["*"], "clientIds": ["*"], "claims": ["*"], "scopes": ["*"], str(kind): False}
    refused = judged(grants(others), ask)
    assert refused.denied == {ask}
    assert f"{kind}: true" in refused.message


@pytest.mark.parametrize(
    ("pattern", "url", "covered"),
    [
        ("https://superlink.example.org:8000", "https://superlink.example.org:8000", True),
        ("https://superlink.example.org:8000/*", "https://superlink.example.org:8000", True),
        ("https://superlink.example.org", "https://superlink.example.org:443", True),
        ("https://superlink.{namespace}.svc:8000", "https://superlink.site-a.svc:8000", True),
        ("https://superlink.{namespace}.svc:8000", "https://superlink.site-b.svc:8000", False),
        ("https://superlink.example.org:8000", "https://superlink.example.org:8001", False),
        ("https://superlink.example.org:8000", "http://superlink.example.org:8000", False),
        ("https://superlink.example.org*", "https://superlink.example.org.evil", False),
        ("https://superlink.example.org/*", "https://superlink.example.org.evil", False),
        ("https://superlink.example.org/*", "https://superlink.example.org@evil", False),
        ("https://*", "https://superlink.example.org", False),
        ("*", "https://superlink.example.org", False),
    ],
)
def test_a_superlink_is_compared_by_its_parts(pattern: str, url: str, *, covered: bool) -> None:
    """An address that only begins like the granted one is another server."""
    grants = parse_grants({"grants": [{"namespaces": {"names": ["site-a"]}, "superlinkUrls": [pattern]}]})
    ask = Ask(AskKind.SUPERLINK_URL, url)
    verdict = judge([ask], grants, federation="local", namespace="site-a", labels={})
    assert verdict.granted is covered


@pytest.mark.parametrize(
    ("pattern", "asked", "covered"),
    [
        ("service:grid", "service:grid", True),
        ("service:grid", "service:grid-2", False),
        ("service:{namespace}-*", "service:site-a-grid", True),
        ("service:{namespace}-*", "service:site-b-grid", False),
        ("service:*", "service:grid#owner", False),
        ("service:grid", "service:grid#owner", False),
        ("service:*#owner", "service:grid#owner", True),
        ("service:*#owner", "service:grid", False),
        ("service:*#owner", "service:grid#own", False),
    ],
)
def test_an_object_of_openfga_is_granted_with_one_relation(pattern: str, asked: str, *, covered: bool) -> None:
    """Flower's own unless another is named: a `*` reaches over objects and never over relations."""
    grants = parse_grants({"grants": [{"namespaces": {"names": ["site-a"]}, "openFgaObjects": [pattern]}]})
    ask = Ask(AskKind.OPENFGA_OBJECT, asked)
    assert judge([ask], grants, federation="local", namespace="site-a", labels={}).granted is covered
