"""A PodIdentity that is a SuperNode, on the fakes: what it is made of, what may fail, and how it is looked at."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from fedid.domain.conditions import condition_of
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, FEDERATION, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.errors import BackendUnavailableError
from tests.fakes.failures import Failures
from tests.fakes.node_registry import FakeNodeRegistry
from tests.reconcile.small_operator import NAMESPACE, SmallOperator

URL = "https://superlink.example.org:8000"
POD = ObjectKey(POD_IDENTITY, NAMESPACE, "trainer")
PATH = f"fedid/{NAMESPACE}/pods/trainer/keys/supernode"
AWAY = BackendUnavailableError("the SuperLink is away", backend="superlink")
VAULT_AWAY = BackendUnavailableError("Vault is away", backend="vault")
TOKENS = [{"name": "default", "lifetime": "1h"}]
"""Of a bot whose account owns its SuperNodes."""
LEAKED = {"fedid.io/revoke-now": "leaked-1"}
SECONDS = 1300.0
"""Longer than a resync, an overlap and the patience with a SuperNode together."""


class Crash(BaseException):
    """The process ends here."""


class Federated:
    """The operator with a Federation that grants a SuperLink, a bot, and a PodIdentity that is a SuperNode."""

    def __init__(self) -> None:
        """Apply the Federation, and nothing else yet."""
        self.operator = SmallOperator()
        self.registry = self.operator.super_links[URL] = FakeNodeRegistry()
        self.grant(URL)

    def grant(self, *urls: str) -> None:
        """Let the namespace register SuperNodes at these addresses, and no others."""
        rule = {"namespaces": {"names": [NAMESPACE]}, "superlinkUrls": list(urls)}
        spec = self.operator.cluster.bodies[ObjectKey(FEDERATION, "", "local")]["spec"]
        self.operator.cluster.apply(FEDERATION, None, "local", {**spec, "grants": [rule]})

    def bot(self, **spec: Any) -> None:
        """Apply the bot."""
        self.operator.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", spec)

    def pod(self, *, annotations: dict[str, str] | None = None, account: str = "None", **node: Any) -> None:
        """Apply the PodIdentity."""
        block = {"superLink": {"url": URL, "account": account}, "rotation": {"overlap": "1m"}, **node}
        spec = {
            "role": "client",
            "botClientRef": {"name": "trainer"},
            "platform": {"flower": {"superNode": block}},
        }
        self.operator.cluster.apply(POD_IDENTITY, NAMESPACE, "trainer", spec, annotations=annotations)

    async def begun(self) -> None:
        """Make both and let them become Ready."""
        self.bot()
        self.pod()
        await self.operator.advance(30)
        assert self.told("Ready") == ("True", "Ready")

    @property
    def status(self) -> dict[str, Any]:
        """The PodIdentity's."""
        return self.operator.status(POD_IDENTITY, "trainer")

    def told(self, about: str) -> tuple[str, str] | None:
        """Return status and reason of a condition."""
        found = condition_of(self.status.get("conditions") or (), about)  # type: ignore[arg-type]
        return (found["status"], found["reason"]) if found is not None else None

    def message(self, about: str) -> str:
        """Return what a condition says."""
        found = condition_of(self.status["conditions"], about)  # type: ignore[arg-type]
        return found["message"] if found is not None else ""

    @property
    def mounted(self) -> dict[str, str]:
        """What the Secret holds; empty if there is none."""
        secret = self.operator.cluster.secrets.get((NAMESPACE, "trainer"))
        return {key: value.reveal() for key, value in secret.data.items()} if secret is not None else {}

    @property
    def good(self) -> list[int]:
        """Ids of the nodes that are let in."""
        return [node.node_id for node in self.registry.records.values() if not node.ended]

    @property
    def proofs(self) -> list[str]:
        """Events that tell a proof."""
        return [event.message for event in self.operator.cluster.events if event.reason == "RevocationProven"]

    def failures(self) -> list[Failures]:
        """Return what can fail."""
        operator = self.operator
        return [operator.cluster.failures, operator.store.failures, self.registry.failures]

    def assert_in_order(self) -> None:
        """See one node, and the Secret, Vault and the status of one mind about it."""
        assert self.told("Ready") == ("True", "Ready"), self.status
        (node,) = [node for node in self.registry.records.values() if not node.ended]
        assert self.status["nodeId"] == str(node.node_id)
        assert self.status["superNode"]["keyId"] == node.key_id
        entry = self.operator.store.data_of(PATH)
        assert entry["private_key"] == self.mounted["supernode.key"]
        assert entry["key_id"] == node.key_id
        assert "pending_private_key" not in entry

    def assert_nothing_left(self) -> None:
        """See nothing that is let in, and nothing in Vault."""
        assert self.good == []
        assert PATH not in self.operator.store.entries


class Accounts(dict[str, str]):
    """Takes every token that the realm takes; so a SuperLink with account authentication does."""

    def __init__(self, federated: Federated) -> None:
        """Ask this realm."""
        super().__init__()
        self._realm = federated.operator.provider.realm

    def get(self, token: str, default: Any = None) -> Any:
        """Return whose it is."""
        claims = self._realm.tokens.get(token)
        return claims.subject if claims is not None and self._realm.accepts(Sensitive(token)) else default


async def with_account(federated: Federated) -> None:
    """Make a SuperNode that is owned by the bot's account."""
    federated.registry.accounts = Accounts(federated)
    federated.bot(tokens=TOKENS)
    federated.pod(account="Bot")
    await federated.operator.advance(30)
    federated.assert_in_order()


async def with_crashes(federated: Federated, number: int, act: Any) -> bool:
    """Do something and let the process end after so many effects, from 0; False if there were fewer."""
    counter = itertools.count()

    def due(_target: str) -> bool:
        return next(counter) == number

    for failures in federated.failures():
        failures.add("*", Crash(), at="after", when=due)  # type: ignore[arg-type]
    act()
    with contextlib.suppress(Crash):
        await federated.operator.advance(SECONDS)
    for failures in federated.failures():
        failures.clear()
    crashed = next(counter) > number
    if crashed:
        federated.operator.restart()
    await federated.operator.advance(SECONDS)
    return crashed
