"""SuperNodes of a SuperLink, each of a bot of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fedid.domain.super_node import NodeRecord
from tests.e2e.estate import Estate
from tests.e2e.rotating import annotate
from tests.e2e.tenancy import Body, bot, pod_identity
from tests.matrix.lives import ASKED, ENDS, NOTHING, Life, Operation

_LONG, _SHORT = "1h", "1s"
_MAKES_A_KEY = frozenset({Operation.CREATE, Operation.ROTATE, Operation.REVOKE_NOW, Operation.RESUME})
_HAS_NONE = frozenset({Operation.SUSPEND, Operation.DELETE})


@dataclass(slots=True)
class _Facts:
    changed: bool = False
    overlap: str = _LONG
    before: str = ""
    """Id of the key that was in use."""
    ended: set[str] = field(default_factory=set)
    """Ids of keys, likewise."""
    made: int = 0
    """Keys that it takes so far."""


@dataclass(slots=True)
class SuperNodes(Life):
    """PodIdentities that are SuperNodes."""

    kind: ClassVar[str] = "PodIdentity"
    title: ClassVar[str] = "PodIdentity (SuperNode)"
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation.CREATE,
        Operation.CHANGE,
        Operation.ROTATE,
        Operation.OVERLAP_ENDS,
        Operation.REVOKE_NOW,
        Operation.SUSPEND,
        Operation.RESUME,
        Operation.DELETE,
    )
    facts: dict[str, _Facts] = field(default_factory=dict)

    def act(self, operation: Operation, name: str) -> None:
        """Do it, after everything was noted that this is to end."""
        facts = self.facts.setdefault(name, _Facts())
        facts.made += operation in _MAKES_A_KEY
        if operation is Operation.OVERLAP_ENDS:
            facts.ended.add(facts.before)
        elif entry := self._entry(name):
            facts.before = entry["key_id"]
            if operation in ENDS:
                facts.ended |= {entry["key_id"], entry.get("previous_key_id", entry["key_id"])}
        match operation:
            case Operation.CREATE:
                self.tenant.apply(self._bot(name), self._node(name))
            case Operation.CHANGE:
                facts.changed = True
                self.tenant.apply(self._node(name))
            case Operation.ROTATE:
                annotate(self.tenant, name, kind=self.kind, rotate=f"secret-{ASKED}")
            case Operation.OVERLAP_ENDS:
                facts.overlap = _SHORT
                self.tenant.apply(self._node(name))
            case Operation.REVOKE_NOW:
                annotate(self.tenant, name, kind=self.kind, revoke_now=ASKED)
            case Operation.SUSPEND | Operation.RESUME:
                self.tenant.apply(self._bot(name, suspend=operation is Operation.SUSPEND))
            case Operation.DELETE:
                self.tenant.delete(self.kind, name)
                self.tenant.delete("BotClient", _bot_of(name))

    def settled(self, operation: Operation, name: str) -> bool:
        """Tell whether node, bot and Secret are done."""
        secret, of_bot = self.tenant.secret(name), _bot_of(name)
        if operation is Operation.DELETE:
            return not self.get(name) and not self.get(of_bot, "BotClient") and secret is None
        files, status = dict((secret or {"text": {}})["text"]), self.status(name)
        if operation is Operation.SUSPEND:
            over = self.says(of_bot, "Suspended", "BotClient") and "superNode" not in status
            return over and set(files.values()) == {""}
        entry = self._entry(name)
        if not (self.ready(name) and entry and files.get("supernode.key") == entry["private_key"]):
            return False
        match operation:
            case Operation.CHANGE:
                return self._mount_path(name) in files["supernode.args"]
            case Operation.ROTATE:
                return bool(status["superNode"].get("rotatedFor") == f"secret-{ASKED}")
            case Operation.OVERLAP_ENDS:
                return "previous_key_id" not in entry
            case Operation.REVOKE_NOW:
                return bool(status.get("revokedNow") == ASKED)
        return True

    def check(self, operation: Operation, name: str) -> None:
        """See that the SuperLink lets in the key in Vault, during an overlap the one before, and no other of ours."""
        facts, nodes = self.facts[name], self.ground.super_link.nodes_of(self.tenant.namespace, name)
        assert len(nodes) == facts.made, f"{len(nodes)} keys were registered, and {facts.made} are enough"
        good = Counter(node.key_id for node in nodes if not node.ended)
        assert not facts.ended & good.keys(), "a former key is let in"
        if operation in _HAS_NONE:
            assert not good, f"{len(good)} keys are let in"
            return
        entry = self._entry(name)
        former = [facts.before] if operation is Operation.ROTATE else []
        assert entry.get("previous_key_id") == (former[0] if former else None)
        assert "pending_key_id" not in entry
        assert good == Counter([entry["key_id"], *former]), f"{len(good)} keys are let in"
        assert self.status(name)["nodeId"] == _id_of(nodes, entry["key_id"])

    def estate(self, operation: Operation, name: str) -> Estate:
        """Return the bot's client, the entries and the Secret."""
        match operation:
            case Operation.DELETE:
                return NOTHING
            case Operation.SUSPEND:
                return Estate((), (), (), (name,))
        of_bot = _bot_of(name)
        vault = (f"bots/{of_bot}/client", f"bots/{of_bot}/tokens/default", f"pods/{name}/keys/supernode")
        return Estate((f"{self.tenant.namespace}.{of_bot}",), (), vault, (name,))

    def clean(self) -> None:
        """Delete their bots, too."""
        for name in self.names:
            self.tenant.delete(self.kind, name)
            self.tenant.delete("BotClient", _bot_of(name))

    def _entry(self, name: str) -> dict[str, Any]:
        return self.authority.vault(f"fedid/{self.tenant.namespace}/pods/{name}/keys/supernode") or {}

    def _mount_path(self, name: str) -> str:
        return "/run/changed" if self.facts[name].changed else "/run/first"

    def _bot(self, name: str, **spec: Any) -> Body:
        return bot(_bot_of(name), federationRef={"name": self.ground.federation}, **spec)

    def _node(self, name: str) -> Body:
        link = self.ground.super_link
        block = {
            "superLink": {"url": link.url, "caBundle": link.ca_bundle, "account": "None"},
            "mountPath": self._mount_path(name),
            "rotation": {"overlap": self.facts[name].overlap},
        }
        return pod_identity(name, _bot_of(name), platform={"flower": {"superNode": block}})


def _bot_of(name: str) -> str:
    return f"{name}-bot"


def _id_of(nodes: list[NodeRecord], key_id: str) -> str:
    return next(str(node.node_id) for node in nodes if node.key_id == key_id)
