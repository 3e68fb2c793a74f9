"""Grants in force at admission: a namespace in which they are, Federations, and what the API server says."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.chart.grant_cases import HERE
from tests.e2e.tenancy import MERGE, PLURALS
from tests.e2e.waiting import eventually
from tests.testbed.cluster import JUDGED_LABEL
from tests.testbed.operator_process import federation_manifest
from tests.testbed.rest import Answer
from tests.testbed.stack import Stack

OURS = "/apis/fedid.io/v1alpha1"

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """A namespace in which the chart's policies judge what is applied."""

    stack: Stack
    name: str

    def at_home(self, value: Any) -> Any:
        """Return the value with this namespace's name in the place of the one that stands for it."""
        return json.loads(json.dumps(value).replace(HERE, self.name))

    def path(self, kind: str, name: str = "") -> str:
        """Return the API path of an object, or of the collection."""
        return f"{OURS}/namespaces/{self.name}/{PLURALS[kind]}{f'/{name}' if name else ''}"

    def ask(self, method: str, path: str, body: Body | None = None, *, user: str = "", query: str = "") -> Answer:
        """Ask the API server, as somebody else if a user is given."""
        headers = {"Impersonate-User": user} if user else {}
        headers |= MERGE if method == "PATCH" else {}
        return self.stack.api("kube").answer(method, f"{path}{query}", body, headers=headers)

    def would_make(self, kind: str, spec: Body, **metadata: Any) -> Answer:
        """Ask for an object called `trainer`, without any effect."""
        body = manifest(kind, spec, **(metadata or {"name": "trainer"}))
        return self.ask("POST", self.path(kind), body, query="?dryRun=All")

    @contextmanager
    def holding(self, kind: str, spec: Body, name: str = "trainer", **metadata: Any) -> Iterator[str]:
        """Make an object past the policies, which do not judge while the label is off, and give its path."""
        path = self.path(kind, name)
        self.judge(on=False)
        made = self.ask("POST", self.path(kind), manifest(kind, spec, name=name, **metadata))
        assert made.status == 201, made.text
        self.judge(on=True)
        try:
            yield path
        finally:
            self.stack.kube("PATCH", path, {"metadata": {"finalizers": None}}, headers=MERGE, accept=(404,))
            self.stack.kube("DELETE", path, accept=(404,))

    def judge(self, *, on: bool) -> None:
        """Put the policies in force here, or out of force, and wait until the API server goes by that."""
        labels = {key: value if on else None for key, value in JUDGED_LABEL.items()}
        self.stack.kube("PATCH", f"/api/v1/namespaces/{self.name}", {"metadata": {"labels": labels}}, headers=MERGE)
        probe: Body = {"federationRef": {"name": "nothing-granted"}}
        wanted = 403 if on else 201
        for kind, spec in (("BotClient", probe), ("FederationUser", {"username": "ana", **probe})):
            eventually(lambda k=kind, s=spec: self.would_make(k, s).status == wanted, f"{kind} judged: {on}")


def manifest(kind: str, spec: Body, **metadata: Any) -> Body:
    """Return the manifest of one of our kinds."""
    return {"apiVersion": "fedid.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def federation(stack: Stack, name: str, grants: Iterable[Mapping[str, Any]], *, default: bool = False) -> Body:
    """Return a Federation of the stack with these rules."""
    found = federation_manifest(stack)
    return {
        **found,
        "metadata": {"name": name},
        "spec": {**found["spec"], "default": default, "grants": [*grants]},
    }


@contextmanager
def judged(
    stack: Stack, labels: Mapping[str, str], rules: Mapping[str, Iterable[Mapping[str, Any]]]
) -> Iterator[Judged]:
    """Make a namespace with these labels and Federations with these rules, and have the API server go by them.

    Args:
        stack: Whose.
        labels: Of the namespace.
        rules: By name of the Federation; beside them there is `nothing-granted`.
    """
    name = f"judged-{secrets.token_hex(4)}"
    here = Judged(stack, name)
    metadata = {"name": name, "labels": {**labels, **JUDGED_LABEL}}
    stack.kube("POST", "/api/v1/namespaces", {"metadata": metadata})
    # The last one, which the API server knows only when it knows the others: it tells of them in this order.
    made = {**{one: here.at_home([*some]) for one, some in rules.items()}, "nothing-granted": []}
    try:
        for one, grants in made.items():
            stack.kube("POST", f"{OURS}/federations", federation(stack, one, grants))
        here.judge(on=True)
        yield here
    finally:
        for one in made:
            stack.kube("DELETE", f"{OURS}/federations/{one}", accept=(404,))
        stack.kube("DELETE", f"/api/v1/namespaces/{name}", accept=(404,))
