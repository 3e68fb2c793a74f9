"""What the admission policy says to an ask is what the operator says, on a real API server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from fedid.domain.bot import asks_of_bot
from fedid.domain.federation_user import parse_federation_user
from fedid.domain.grants import parse_grants
from fedid.domain.judgement import Verdict, judge
from fedid.domain.naming import ObjectKey
from fedid.domain.oidc_client import parse_oidc_client
from fedid.domain.oidc_client_record import asks_of_oidc_client
from fedid.domain.resources import parse_bot_client, parse_federation
from fedid.domain.user import asks_of_user
from fedid.errors import InvalidSpecError
from fedid.platforms.table import client_needs
from fedid.reconcile.judging import bounded
from tests.chart.grant_cases import CASES, LABELS, Case
from tests.chart.judging import Body, Judged, federation, judged, manifest
from tests.e2e.waiting import eventually
from tests.testbed.cluster import SERVICE_ACCOUNT
from tests.testbed.stack import Stack

UID = "3d1b6c7e-0000-4000-8000-000000000001"
_SAID = re.compile(r"does not grant namespace \S+: (.*)\. Rules that match the namespace: (.*)\. Take it out")


@pytest.fixture(scope="module")
def here(stack: Stack) -> Iterator[Judged]:
    """The namespace of the cases, and a Federation for the rules of each."""
    with judged(stack, LABELS, {_name(number): case.rules for number, case in enumerate(CASES)}) as namespace:
        yield namespace


def _name(number: int) -> str:
    return f"case-{number}"


def verdict_of_the_operator(here: Judged, case: Case, name: str) -> Verdict | None:
    """Return what the operator says, None if the manifest means nothing to it."""
    body: Body = manifest(case.kind, here.at_home(case.spec), name="trainer", namespace=here.name, uid=UID)
    held = federation(here.stack, name, here.at_home([*case.rules]))
    held["metadata"]["uid"] = UID
    labels = {**LABELS, "kubernetes.io/metadata.name": here.name}
    rules = parse_grants(held["spec"])
    try:
        if case.kind == "BotClient":
            spec = parse_bot_client(body)
            asks = asks_of_bot(spec, parse_federation(held))
            return bounded(judge(asks, rules, federation=name, namespace=here.name, labels=labels), spec)
        if case.kind == "FederationUser":
            asks = asks_of_user(parse_federation_user(body))
        else:
            ((platform, options),) = body["spec"]["platform"].items()
            key = ObjectKey(case.kind, here.name, "trainer")
            client = parse_oidc_client(body["spec"], key, client_needs(platform, options))
            assert client is not None
            asks = asks_of_oidc_client(client)
        return judge(asks, rules, federation=name, namespace=here.name, labels=labels)
    except InvalidSpecError:
        return None


def _texts(asks: Any) -> set[str]:
    """Return asks as messages say them; of a lifetime only that it is too long: it can be written in many ways."""
    return {"maxTokenLifetime" if str(ask).startswith("maxTokenLifetime") else str(ask) for ask in asks}


@pytest.mark.parametrize(
    ("number", "case"), [pytest.param(number, case, id=case.title) for number, case in enumerate(CASES)]
)
def test_policy_and_operator_say_the_same(here: Judged, number: int, case: Case) -> None:
    """Both allow, or both refuse the very same asks and name the very same rules."""
    name = _name(number)
    verdict = verdict_of_the_operator(here, case, name)
    answer = here.would_make(case.kind, {**here.at_home(case.spec), "federationRef": {"name": name}})

    if case.left:
        assert verdict is None or not verdict.granted, "there is nothing to leave to the operator"
        assert answer.status == 201, answer.text
        return
    if verdict is None:
        assert answer.status in {403, 422}, answer.text
        return
    assert answer.status == (201 if verdict.granted else 403), (answer.text, verdict.message)
    if verdict.granted:
        return
    said = answer.body["message"]
    assert f"Federation {name} " in said
    assert "sk the platform team" in said
    if not verdict.namespace_matched:
        assert "No grant of Federation" in said
        assert "No grant of Federation" in verdict.message
        return
    found = _SAID.search(said)
    assert found is not None, said
    assert _texts(found[1].split(", ")) == _texts(verdict.denied)
    matching = [
        r
        for r in parse_grants({"grants": here.at_home([*case.rules])})
        if r.matches(here.name, {**LABELS, "kubernetes.io/metadata.name": here.name})
    ]
    assert found[2].split(", ") == [f"grants[{rule.index}]" for rule in matching]


def test_cases_are_of_both_kinds() -> None:
    """The table has a title for each case, and what is left to the operator is the exception."""
    assert len({case.title for case in CASES}) == len(CASES) >= 90
    assert sum(bool(case.left) for case in CASES) <= 4


def test_expressions_have_the_right_types(stack: Stack) -> None:
    """The API server's own type checking finds nothing to warn of in any of these policies."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

    def checked(name: str) -> Body | None:
        status: Body = stack.kube("GET", f"{path}/{SERVICE_ACCOUNT}-{name}").get("status", {})
        return status if "typeChecking" in status else None

    for name in ("bots", "users", "podids", "identities"):
        found = eventually(lambda name=name: checked(name), "type checking")["typeChecking"]
        assert found == {}, (name, found)
