"""A SuperLink, and the bot and the person whom OpenFGA lets into it; by whole passes on the fakes."""

from __future__ import annotations

from typing import Any

from fedid.domain.conditions import ConditionType, condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, POD_IDENTITY
from fedid.errors import BackendUnavailableError
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

LABELS = {"grid": "blue"}
SELECTED = {"selector": {"matchLabels": LABELS}}
STORE = "01JSTORE000000000000000000"
OPENFGA = {"url": "https://openfga", "storeId": STORE, "auth": {"none": {}}}
RULE: dict[str, Any] = {
    "namespaces": {"names": [NAMESPACE]},
    "oidcFlows": ["device"],
    "openFgaObjects": ["service:{namespace}-*"],
}
OBJECT = "service:site-a-grid"
FGA = {"url": "https://openfga", "storeId": STORE, "modelId": "m", "object": OBJECT, "users": SELECTED}
AWAY = BackendUnavailableError("no answer", backend="openfga")
BOT, USER, LINK = (
    ObjectKey(kind, NAMESPACE, name)
    for kind, name in ((BOT_CLIENT, "trainer"), (FEDERATION_USER, "ana"), (POD_IDENTITY, "superlink"))
)


class Grid(SmallOperator):
    """A SuperLink, a bot and a person that are let in."""

    def __init__(self) -> None:
        """Start with a grant, OpenFGA, the bot and the person."""
        super().__init__()
        self.federate()
        self.bot()
        self.user()

    @classmethod
    async def begun(cls) -> Grid:
        """Return it once everything is in order."""
        grid = cls()
        grid.link()
        await grid.advance(20)
        assert grid.users() == {grid.of(BOT), grid.of(USER)}
        assert grid.told(ConditionType.READY) == ("True", "Ready"), grid.status(POD_IDENTITY, "superlink")
        return grid

    def federate(self, *rules: dict[str, Any], openfga: Any = OPENFGA) -> None:
        """Apply the Federation."""
        spec = {**self.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"], "openFga": openfga}
        spec = {name: value for name, value in spec.items() if value is not None}
        self.cluster.apply(FEDERATION, None, "local", {**spec, "grants": list(rules or (RULE,))})

    def bot(self, *, name: str = "trainer", labels: Any = LABELS, namespace: str = NAMESPACE, **spec: Any) -> None:
        """Apply a bot."""
        whole = {"tokens": [{"name": "default"}], **spec}
        self.cluster.apply(BOT_CLIENT, namespace, name, whole, labels=labels)

    def user(self, *, labels: Any = LABELS, namespace: str = NAMESPACE, **spec: Any) -> None:
        """Apply the person."""
        self.cluster.apply(FEDERATION_USER, namespace, "ana", {"username": "ana", **spec}, labels=labels)

    def link(self, *, accepts: Any = SELECTED, namespace: str = NAMESPACE, **fga: Any) -> None:
        """Apply the SuperLink; `fga` is what is different in its block."""
        block = {name: value for name, value in {**FGA, **fga}.items() if value is not None}
        spec = {"role": "server", "oidcClient": {}, "platform": {"flower": {"superLink": {"version": "1.33"}}}}
        spec["platform"]["flower"]["superLink"]["openFga"] = block
        self.cluster.apply(POD_IDENTITY, namespace, "superlink", spec | ({"accepts": accepts} if accepts else {}))

    def of(self, key: ObjectKey) -> str:
        """Return the user that an account is in OpenFGA."""
        status = self.cluster.bodies[key]["status"]
        return "flwr_aid:" + str(status.get("serviceAccountSubject") or status["userId"])

    def users(self, object_: str = OBJECT) -> set[str]:
        """Return who is let in."""
        return {one.user for one in self.tuples.tuples if one.object == object_}

    def told(self, kind: ConditionType, key: ObjectKey = LINK) -> tuple[str, str] | None:
        """Return status and reason of a condition."""
        found = self.condition(kind, key)
        return (found["status"], found["reason"]) if found else None

    def condition(self, kind: ConditionType, key: ObjectKey = LINK) -> Any:
        """Return a condition."""
        return condition_of((self.cluster.bodies[key].get("status") or {}).get("conditions") or (), kind)

    def written(self) -> tuple[int, str, str]:
        """Return what moves with every write to OpenFGA, the SuperLink's object or the Federation."""
        objects = (self.cluster.bodies[key]["metadata"] for key in (LINK, ObjectKey(FEDERATION, "", "local")))
        link, federation = (str(metadata["resourceVersion"]) for metadata in objects)
        return len(self.tuples.writes), link, federation

    def fail_authorities(self) -> None:
        """Let Keycloak and Vault be away."""
        for fake, name in ((self.provider, "keycloak"), (self.store, "vault")):
            fake.failures.add("*", BackendUnavailableError("no answer", backend=name), times=None)
