"""Tests of which namespaces a grant is about."""

from __future__ import annotations

from typing import Any

import pytest

from tests.domain.rules import TENANT, grants, judged, realm_role


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


def test_an_empty_selector_reads_as_every_namespace() -> None:
    """A rule that covers every namespace says so in words."""
    rules = grants({"namespaces": {"selector": {}}})
    assert str(rules[0]) == "grants[0] for [every namespace] (nothing but to exist)"
