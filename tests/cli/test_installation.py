"""What `check-installation` makes of what it finds."""

from __future__ import annotations

from typing import Any

import pytest

from fedid.adapters.kubernetes.rights import Right, needed_rights
from fedid.cli.installation import access_secrets, crd_finding, federation_findings, operator_finding, rights_findings
from fedid.cli.report import Finding, report_of
from fedid.domain.resources import PLURALS
from tests.testbed.ports import free_port

RECORDS = {"identityapprovals/status", "revocationreceipts/status"}
"""What has no status."""
ALL = frozenset(name for plural in PLURALS.values() for name in (plural, f"{plural}/status") if name not in RECORDS)


def federation(name: str = "local", **condition: str) -> dict[str, Any]:
    """Return a Federation that says this of `Ready`."""
    status = {"conditions": [{"type": "Ready", **condition}]} if condition else {}
    auth = {"clientCredentials": {"secretName": f"{name}-access"}}
    return {"metadata": {"name": name}, "spec": {"keycloak": {"auth": auth}}, "status": status}


@pytest.mark.parametrize("gone", sorted(ALL))
def test_each_resource_must_be_served(gone: str) -> None:
    """One that the API server does not serve is named, with the way to bring it."""
    assert crd_finding(ALL).well
    finding = crd_finding(ALL - {gone})
    assert not finding.well
    assert gone in finding.text
    assert "helm upgrade" in finding.text


def test_each_missing_right_is_named() -> None:
    """A right that lacks is a line of its own; otherwise one line says how many there are."""
    missing = [Right("patch", "pods", namespace="site-a"), Right("get", "secrets", name="a", namespace="b")]
    texts = [str(finding) for finding in rights_findings(9, missing)]

    assert [text.partition(": ")[0] for text in texts] == [
        "FAIL  the ServiceAccount may not patch pods in namespace site-a",
        "FAIL  the ServiceAccount may not get secrets a in namespace b",
    ]
    assert [str(f) for f in rights_findings(9, [])] == [
        "ok    the ServiceAccount has all 9 rights that the operator needs"
    ]


def test_each_federation_is_reported() -> None:
    """In its own words; one that is not Ready, or says nothing, fails the check."""
    found = federation_findings(
        [
            federation(status="True", reason="Ready", message=""),
            federation("b", status="False", reason="VaultSealed", message="unseal it"),
            federation("c"),
        ]
    )

    assert [finding.well for finding in found] == [True, False, False]
    assert found[1].text == "Federation b is not Ready, VaultSealed: unseal it"
    assert [finding.well for finding in federation_findings([])] == [True], "a fresh installation is well"


def test_secrets_that_federations_name_are_asked_for() -> None:
    """The very Secrets, each once, so that a role with names is enough."""
    secrets = access_secrets([federation("a"), federation("b")])
    rights = needed_rights("fedid-system", ["site-a"], [*secrets, *secrets])

    assert secrets == ["a-access", "b-access"]
    assert len(rights) == len(set(rights))
    assert Right("get", "secrets", namespace="fedid-system", name="b-access") in rights
    assert not [right for right in rights if right.resource in {"secrets", "pods"} and not right.namespace]


def test_secrets_of_every_way_in_are_asked_for() -> None:
    """Those for Vault too; a way that needs none names none."""
    ways = [
        ({"privateKeyJwt": {"secretName": "key"}}, {"approle": {"secretName": "approle", "mount": "approle"}}),
        ({"serviceAccountToken": {}}, {"token": {"secretName": "token"}}),
        ({"serviceAccountToken": {"clientId": "fedid"}}, {"jwt": {"role": "fedid"}}),
        ({"clientCredentials": {"secretName": "key"}}, {"kubernetes": {"role": "fedid"}}),
    ]
    specs = [{"spec": {"keycloak": {"auth": keycloak}, "vault": {"auth": vault}}} for keycloak, vault in ways]
    assert access_secrets(specs) == ["approle", "key", "token"]


async def test_an_operator_that_does_not_answer_fails() -> None:
    """The finding says where it was looked for."""
    port = free_port()
    finding = await operator_finding(f"http://127.0.0.1:{port}")

    assert not finding.well
    assert f"127.0.0.1:{port}" in finding.text


def test_one_failure_fails_the_report() -> None:
    """Every finding is a line, and the last line counts."""
    report = report_of([Finding(well=True, text="a"), Finding(well=False, text="b")])

    assert report.text == "ok    a\nFAIL  b\n1 of 2 checks failed"
    assert report.exit_code == 1
    assert report_of([Finding(well=True, text="a")]).exit_code == 0
