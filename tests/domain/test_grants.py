"""Tests of grants: which asks each kind of entry covers, and which no entry ever does."""

from __future__ import annotations

import pytest

from fedid.domain.grants import RESERVED_CLIENTS, Ask, AskKind, parse_grants
from fedid.domain.judgement import judge
from tests.domain.rules import grants, judged

_LISTS = [
    AskKind.REALM_ROLE,
    AskKind.GROUP,
    AskKind.AUDIENCE,
    AskKind.CLIENT_ID,
    AskKind.ATTRIBUTE,
    AskKind.IDENTITY_PROVIDER,
]


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
