"""Pods that mount a changed Secret are told, so that kubelet looks at it now: on a real API server, without kubelet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fedid.domain.pods import NUDGE_ANNOTATION
from tests.e2e.authority import Authority
from tests.e2e.operating import Proxies
from tests.e2e.running import Operator
from tests.e2e.tenancy import Tenant, bot, pod_identity
from tests.e2e.waiting import eventually, steadily
from tests.fakes.pods import pod_manifest
from tests.testbed.faults import Exchange, HoldAnswer, Status, requests_to

SELECTED = {"pods": {"selector": {"matchLabels": {"app": "trainer"}}}}
MOUNTING = {"by-volume": {"mounts": ["trainer"]}, "by-projection": {"projects": ["trainer"]}}
OTHERS: dict[str, dict[str, Any]] = {
    "other-secret": {"mounts": ["another"]},
    "environment": {"reads": ["trainer"]},
}


@dataclass(frozen=True, slots=True)
class Site:
    """A tenant with pods, and what passes the proxy on the way to them."""

    tenant: Tenant
    proxies: Proxies

    def run(self, name: str, app: str = "trainer", **how: Any) -> None:
        """Create a pod that no node runs."""
        namespace = self.tenant.namespace
        self.tenant.stack.kube(
            "POST", f"/api/v1/namespaces/{namespace}/pods", pod_manifest(namespace, name, {"app": app}, **how)
        )

    def annotation(self, name: str) -> str | None:
        """Return what a pod was last nudged with."""
        pod = self.tenant.stack.kube("GET", f"/api/v1/namespaces/{self.tenant.namespace}/pods/{name}")
        found: str | None = (pod["metadata"].get("annotations") or {}).get(NUDGE_ANNOTATION)
        return found

    def patches(self) -> tuple[Exchange, ...]:
        """Return the operator's patches of pods since the record was last cleared."""
        path = f"/api/v1/namespaces/{self.tenant.namespace}/pods/[^/]+"
        return self.proxies.kubernetes.exchanges(requests_to(path, "PATCH"))

    def told(self) -> dict[str, int]:
        """Return how often each pod was patched with success."""
        return dict(Counter(e.path.rpartition("/")[2] for e in self.patches() if e.forwarded and e.status == 200))

    def version(self) -> str:
        """Return the resourceVersion of the Secret."""
        return str((self.tenant.secret("trainer") or {})["metadata"]["resourceVersion"])

    def told_twice(self) -> None:
        """Wait until every mounting pod was told twice of the Secret as it is, and see that it is not told again."""
        eventually(lambda: self.told() == dict.fromkeys(MOUNTING, 2), "told twice")
        assert {self.annotation(name) for name in MOUNTING} == {f"{self.version()}-2"}
        steadily(lambda: self.told() == dict.fromkeys(MOUNTING, 2), "nobody is told a third time", seconds=3)

    def pods_status(self) -> dict[str, Any]:
        """Return `status.pods`."""
        body = self.tenant.get("PodIdentity", "trainer") or {}
        found: dict[str, Any] = (body.get("status") or {}).get("pods") or {}
        return found


@pytest.fixture
def site(tenant: Tenant, stranger: Tenant, proxies: Proxies) -> Iterator[Site]:
    """Pods that mount the Secret and pods that do not, all before there is one; told of the first one."""
    made = Site(tenant, proxies)
    for name, how in {**MOUNTING, **OTHERS}.items():
        made.run(name, **how)
    made.run("other-app", "other", mounts=["trainer"])
    Site(stranger, proxies).run("elsewhere", mounts=["trainer"])
    proxies.clear()
    tenant.apply(bot("trainer"), pod_identity("trainer", **SELECTED))
    tenant.ready("PodIdentity", "trainer")
    made.told_twice()
    proxies.clear()
    yield made
    assert [made.annotation(name) for name in (*OTHERS, "other-app")] == [None] * 3
    assert Site(stranger, proxies).annotation("elsewhere") is None


def test_a_changed_secret_is_told_at_once_and_again(site: Site) -> None:
    """The first nudge comes within the pass, the second two seconds later, and the status tells it in one write."""
    site.tenant.apply(pod_identity("trainer", files={"bearer": "{token}"}, **SELECTED))
    site.told_twice()
    for name in MOUNTING:
        first, second = (e for e in site.patches() if e.path.endswith(f"/{name}"))
        assert (second.at - first.at).total_seconds() >= 1.9
    status = (site.tenant.get("PodIdentity", "trainer") or {})["status"]
    assert status["pods"]["nudgedHash"] == status["secretHash"]
    assert (status["pods"]["selected"], status["pods"]["mounting"], status["pods"]["nudged"]) == (4, 2, 2)
    own = f"/apis/fedid.io/v1alpha1/namespaces/{site.tenant.namespace}/podidentities/trainer/status"
    assert len(site.proxies.kubernetes.exchanges(requests_to(own, "PATCH"))) == 1


def test_each_renewal_is_told(site: Site, authority: Authority) -> None:
    """The nudge follows the Secret; each time the pods are told by another value."""
    site.tenant.apply(bot("trainer", tokens=[{"name": "default", "lifetime": "24s"}]))
    versions = {site.version()}
    for _ in range(2):
        token = site.tenant.mounted("trainer", "token")
        eventually(lambda old=token: site.tenant.mounted("trainer", "token") != old, "a renewed token")  # type: ignore[misc]
        version = site.version()
        eventually(
            lambda now=version: all((site.annotation(n) or "").startswith(f"{now}-") for n in MOUNTING),  # type: ignore[misc]
            "told of the renewal",
        )
        versions.add(version)
    assert len(versions) == 3
    assert authority.introspect(site.tenant.mounted("trainer", "token"))["active"] is True


def test_a_withdrawal_is_told(site: Site) -> None:
    """The bot goes: the files of its pods are to be empty soon."""
    site.tenant.delete("BotClient", "trainer")
    site.tenant.emptied("trainer")
    site.told_twice()
    site.tenant.gone("BotClient", "trainer")
    path = f"/api/v1/namespaces/{site.tenant.namespace}/secrets/trainer"
    (emptied,) = site.proxies.kubernetes.exchanges(requests_to(path, "PUT"))
    assert min(e.at for e in site.patches()) >= emptied.at, "nobody is told before there is something to see"


CHANGES = {
    "a change": lambda t: t.apply(pod_identity("trainer", files={"bearer": "{token}"}, **SELECTED)),
    "a withdrawal": lambda t: t.delete("BotClient", "trainer"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_crash_between_the_secret_and_the_nudge(site: Site, operator: Operator, case: str) -> None:
    """The Secret is written and the operator dies before it knows: the next one tells the pods, twice in all."""
    path = f"/api/v1/namespaces/{site.tenant.namespace}/secrets/trainer"
    rule = site.proxies.kubernetes.inject(HoldAnswer(), requests_to(path, "PUT"), times=1)
    CHANGES[case](site.tenant)
    eventually(lambda: rule.hits, "the Secret is written")
    before = site.version()
    operator.kill()
    assert site.patches() == ()
    site.proxies.heal()
    operator.start()
    site.told_twice()
    assert site.version() == before


def test_a_crash_between_the_nudges(site: Site, operator: Operator) -> None:
    """The first nudge and the status are written, then the operator dies: the second one comes after the restart."""
    own = f"/apis/fedid.io/v1alpha1/namespaces/{site.tenant.namespace}/podidentities/trainer/status"
    rule = site.proxies.kubernetes.inject(HoldAnswer(), requests_to(own, "PATCH"), times=1)
    site.tenant.apply(pod_identity("trainer", files={"bearer": "{token}"}, **SELECTED))
    eventually(lambda: rule.hits and site.told() == dict.fromkeys(MOUNTING, 1), "told once")
    operator.kill()
    site.proxies.heal()
    operator.start()
    site.told_twice()


def test_a_restart_tells_nobody(site: Site, operator: Operator) -> None:
    """Everybody was told twice a moment ago, and the pods themselves say so."""
    assert operator.stop() == 0
    site.proxies.clear()
    operator.start()
    eventually(lambda: operator.passes("PodIdentity") >= 1, "a pass")
    steadily(lambda: site.patches() == (), "nobody is told", seconds=4)


def test_without_the_right_the_identity_works_and_says_what_to_give(site: Site) -> None:
    """A 403 for the list of pods fails nothing: an Event and the status say what to do, and a later pass makes good."""
    pods = f"/api/v1/namespaces/{site.tenant.namespace}/pods"
    message = 'pods is forbidden: User "operator" cannot list resource "pods" in API group "" in the namespace'
    denied = Status(403, json.dumps({"kind": "Status", "reason": "Forbidden", "code": 403, "message": message}))
    site.proxies.kubernetes.inject(denied, requests_to(pods, "GET"))
    site.tenant.apply(pod_identity("trainer", files={"bearer": "{token}"}, **SELECTED))
    site.tenant.mounted("trainer", "bearer")
    site.tenant.ready("PodIdentity", "trainer")
    told = eventually(lambda: site.pods_status().get("message"), "what to give")
    assert "may not list pods" in told
    assert "helm upgrade" in told
    assert site.tenant.event("trainer", "NudgeRefused")["type"] == "Warning"
    assert site.patches() == ()
    site.proxies.heal()
    site.tenant.touch("PodIdentity", "trainer")
    site.told_twice()
    assert "message" not in site.pods_status()
