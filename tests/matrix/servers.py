"""Servers that sign users in with a Keycloak client of their own, and a public one beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.e2e.estate import Estate
from tests.e2e.rotating import annotate
from tests.e2e.tenancy import Body
from tests.matrix.attribution import ADMIN
from tests.matrix.lives import ASKED, ENDS, NOTHING, Life, Operation

ADDRESSES = "https://{namespace}.apps.example:12345"
_KEY = "DRIVERLESS_AI_AUTH_OPENID_CLIENT_SECRET"


@dataclass(slots=True)
class _Facts:
    changed: bool = False
    before: str = ""
    secrets: set[str] = field(default_factory=set)
    """That were ended."""


@dataclass(slots=True)
class Servers(Life):
    """Driverless AI, at first with its Python client."""

    kind: ClassVar[str] = "PodIdentity"
    title: ClassVar[str] = "PodIdentity (server)"
    # The end of an overlap waits for the pods' files, which is minutes where nobody tells kubelet; a bot has the same.
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation.CREATE,
        Operation.CHANGE,
        Operation.ROTATE,
        Operation.REVOKE_NOW,
        Operation.DELETE,
    )
    # Of two secrets it is seen of both that they end.
    builds_on: ClassVar[Mapping[Operation, Operation]] = {Operation.REVOKE_NOW: Operation.ROTATE}
    facts: dict[str, _Facts] = field(default_factory=dict)

    def act(self, operation: Operation, name: str) -> None:
        """Do it, after everything was noted that this is to end."""
        facts = self.facts.setdefault(name, _Facts())
        if operation is not Operation.CREATE:
            entry = self._entry(name)
            facts.before = entry["client_secret"]
            if operation in ENDS:
                facts.secrets |= {facts.before, entry.get("previous_client_secret", facts.before)}
        match operation:
            case Operation.ROTATE:
                annotate(self.tenant, name, kind=self.kind, rotate=f"secret-{ASKED}")
            case Operation.REVOKE_NOW:
                annotate(self.tenant, name, kind=self.kind, revoke_now=ASKED)
            case Operation.DELETE:
                self.tenant.delete(self.kind, name)
            case _:
                facts.changed = facts.changed or operation is Operation.CHANGE
                self.tenant.apply(self._server(name))

    def settled(self, operation: Operation, name: str) -> bool:
        """Tell whether the server and its clients are done."""
        if operation is Operation.DELETE:
            return not self.get(name) and self.tenant.secret(name) is None
        status = self.status(name)
        if not self.ready(name):
            return False
        entry = self._entry(name)
        mounted = (self.tenant.secret(name) or {"text": {}})["text"].get(_KEY)
        if not entry or mounted != entry["client_secret"]:
            return False
        match operation:
            case Operation.ROTATE:
                return bool(status["oidcClient"].get("rotatedFor") == f"secret-{ASKED}")
            case Operation.REVOKE_NOW:
                return bool(status.get("revokedNow") == ASKED)
        return True

    def check(self, operation: Operation, name: str) -> None:
        """See that Keycloak and Vault agree about the clients, and that what was ended is refused."""
        facts, client_id = self.facts[name], f"{self.tenant.namespace}.{name}.server"
        assert not any(self._accepts(client_id, secret) for secret in facts.secrets), "a former secret is accepted"
        if operation is Operation.DELETE:
            return
        entry, client = self._entry(name), self.authority.client(client_id) or {}
        assert self._accepts(client_id, entry["client_secret"]), "the published secret is refused"
        assert client["secret"] == entry["client_secret"]
        previous = self.tenant.stack.api("keycloak").answer(
            "GET", f"{ADMIN}/clients/{client['id']}/client-secret/rotated"
        )
        kept = previous.body.get("value") if previous.status == 200 else None
        assert kept == entry.get("previous_client_secret")
        if operation is Operation.ROTATE:
            assert kept == facts.before
            assert self._accepts(client_id, facts.before), "the former secret is refused within its overlap"
        assert client["redirectUris"] == [f"{self._address(name)}/oidc/callback"]
        assert (self.authority.client(f"{client_id}.public") is None) is facts.changed

    def estate(self, operation: Operation, name: str) -> Estate:
        """Return clients, entry and Secret."""
        if operation is Operation.DELETE:
            return NOTHING
        client_id = f"{self.tenant.namespace}.{name}.server"
        public = () if self.facts[name].changed else (f"{client_id}.public",)
        return Estate((client_id, *public), (), (f"pods/{name}/client",), (name,))

    def _accepts(self, client_id: str, secret: str) -> bool:
        """Tell whether Keycloak takes the secret, and only then says that such a client gets no token of its own."""
        return "service account" in self.authority.request_token(client_id, secret).body["error_description"]

    def _entry(self, name: str) -> dict[str, Any]:
        return self.authority.vault(f"fedid/{self.tenant.namespace}/pods/{name}/client") or {}

    def _address(self, name: str) -> str:
        address = ADDRESSES.format(namespace=self.tenant.namespace)
        return f"{address}/{name}" if self.facts[name].changed else address

    def _server(self, name: str) -> Body:
        facts = self.facts[name]
        platform: dict[str, Any] = {"gate": {"claim": "groups", "objectPath": "'/sites/a' in $.groups"}}
        if not facts.changed:
            platform["pythonClient"] = {}
        spec = {
            "role": "server",
            "federationRef": {"name": self.ground.federation},
            "oidcClient": {"baseUrl": self._address(name), "secretRotation": {"overlap": "1h"}},
            "platform": {"driverlessAi": platform},
        }
        return {"kind": self.kind, "metadata": {"name": name}, "spec": spec}
