"""Bots with everything that they can have, and what mounts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.e2e.authority import claims_of
from tests.e2e.estate import Estate
from tests.e2e.rotating import COPY_MOUNT, FILES, Held, Rotating, annotate, rotating_bot
from tests.e2e.tenancy import Body, pod_identity
from tests.matrix.lives import ASKED, ENDS, Life, Operation

SCOPES = ("fl-matrix-a", "fl-matrix-b")
ROLES = ("fl-client", "fl-member")
PODS = "PodIdentity (client)"
_WRITTEN = {
    Operation.ROTATE: (1, 1, 2),  # the opaque token once more, without the one before
    Operation.OVERLAP_ENDS: (1, 0, 0),
    Operation.REPLACE: (1, 0, 0),
}
"""How often secret, jwt and opaque token are written."""
_LONG, _SHORT = "1h", "10s"
_SPARE = "users/{subject}/spare/{name}"


@dataclass(slots=True)
class _Facts:
    """What is known of one bot from outside."""

    changed: bool = False
    overlap: str = _LONG
    before: Held | None = None
    subject: str = ""
    secrets: set[str] = field(default_factory=set)
    """That were ended."""
    tokens: set[str] = field(default_factory=set)
    """Likewise."""


@dataclass(slots=True)
class Bots(Life):
    """A bot with tokens of both types, copies, roles and a scope, and the PodIdentity of the same name."""

    kind: ClassVar[str] = "BotClient"
    title: ClassVar[str] = "BotClient"
    operations: ClassVar[tuple[Operation, ...]] = tuple(Operation)
    facts: dict[str, _Facts] = field(default_factory=dict)

    def act(self, operation: Operation, name: str) -> None:
        """Do it, after everything was noted that this is to end."""
        facts = self.facts.setdefault(name, _Facts())
        if operation not in {Operation.CREATE, Operation.RESUME}:
            self._note(operation, name, facts)
        match operation:
            case Operation.CREATE:
                self.tenant.apply(self._bot(name), self._pod(name))
            case Operation.CHANGE:
                facts.changed = True
                self.tenant.apply(self._bot(name))
            case Operation.ROTATE:
                annotate(self.tenant, name, rotate=f"all-{ASKED}")
            case Operation.OVERLAP_ENDS:
                facts.overlap = _SHORT
                self.tenant.apply(self._bot(name))
            case Operation.REPLACE:
                annotate(self.tenant, name, rotate=f"secret-{ASKED}")
            case Operation.REVOKE_NOW:
                annotate(self.tenant, name, revoke_now=ASKED)
            case Operation.SUSPEND | Operation.RESUME:
                self.tenant.apply(self._bot(name, suspend=operation is Operation.SUSPEND))
            case Operation.DELETE:
                self.tenant.delete(self.kind, name)

    def meanwhile(self, operation: Operation, name: str) -> None:
        """Be the pods, which mint by themselves as long as they are let."""
        facts = self.facts[name]
        if operation in ENDS and facts.before is not None:
            answer = self.authority.request_token(self._one(name).client_id, facts.before.secret)
            if answer.status == 200:
                facts.tokens.add(answer.body["access_token"])

    def settled(self, operation: Operation, name: str) -> bool:
        """Tell whether bot and consumer are done."""
        if operation in {Operation.SUSPEND, Operation.DELETE}:
            gone = not self.get(name) if operation is Operation.DELETE else self.says(name, "Suspended")
            return gone and set(self._mounted(name).values()) == {""}
        one, status = self._one(name), self.status(name)
        if not (self.ready(name) and self.ready(name, "PodIdentity")):
            return False
        if operation is Operation.REVOKE_NOW and status.get("revokedNow") != ASKED:
            return False
        if not self._carried_out(operation, status):
            return False
        client, jwt, listed = (one.entry(leaf) for leaf in ("client", "tokens/default", "tokens/list"))
        if operation is Operation.OVERLAP_ENDS and "previous_client_secret" in client:
            return False
        if operation is Operation.ROTATE and {"previous_token"} & {*listed, *one.copy()}:
            return False
        if not (client and jwt and listed):
            return False
        held = {"secret": client["client_secret"], "token": jwt["token"], "list": listed["token"]}
        return self._mounted(name) == held

    @staticmethod
    def _carried_out(operation: Operation, status: Body) -> bool:
        """Tell whether the status says that what was asked for was done."""
        secret = (status.get("secret") or {}).get("rotatedFor")
        tokens = {token.get("rotatedFor") for token in status.get("tokens") or ()}
        match operation:
            case Operation.ROTATE:
                return secret == f"all-{ASKED}" and tokens == {f"all-{ASKED}"}
            case Operation.REPLACE:
                return bool(secret == f"secret-{ASKED}")
        return True

    def check(self, operation: Operation, name: str) -> None:
        """See that both sides of everything agree, and that what was ended is refused."""
        facts, one = self.facts[name], self._one(name)
        refused = {secret: one.accepts(secret) for secret in facts.secrets}
        assert not any(refused.values()), f"{sum(refused.values())} of {len(refused)} former secrets are accepted"
        dead = [self.authority.admin_api_status(token) for token in facts.tokens]
        assert set(dead) <= {401}, f"former tokens are answered {dead}"
        if operation in {Operation.SUSPEND, Operation.DELETE}:
            self._assert_no_copy(facts, name)
            return
        if operation is Operation.ROTATE:
            assert facts.before is not None
            one.assert_two_secrets(facts.before)
            assert one.held().jwt != facts.before.jwt
            assert one.held().opaque != facts.before.opaque
        else:
            one.assert_one_of_each()
        if operation in _WRITTEN:
            self._assert_written(operation, one, facts.before)
        role = ROLES[facts.changed]
        self._assert_tokens(one, role, facts)
        status = self.status(name)
        facts.subject = status["serviceAccountSubject"]
        assert self.authority.service_account_roles(status["clientUuid"]) == {role}
        client = self.authority.client(one.client_id) or {}
        assert set(client["defaultClientScopes"]) & set(SCOPES) == {SCOPES[facts.changed]}

    def estate(self, operation: Operation, name: str) -> Estate:
        """Return client, entries and Secret."""
        if operation in {Operation.SUSPEND, Operation.DELETE}:
            return Estate((), (), (), (name,))
        leaves = ("client", "tokens/default", "tokens/list", "tokens/spare")
        extra = () if self.facts[name].changed else ("tokens/extra",)
        vault = tuple(f"bots/{name}/{leaf}" for leaf in (*leaves, *extra))
        return Estate((f"{self.tenant.namespace}.{name}",), (), vault, (name,))

    def owner_of(self, row: str) -> str:
        """Say that Secrets, and the status of who mounts, are of the PodIdentity."""
        pods = row.endswith((" secrets", " secrets/<name>")) or " podidentities/" in row
        return PODS if pods else self.title

    def clean(self) -> None:
        """Delete those who mount, too."""
        for name in self.names:
            self.tenant.delete(self.kind, name)
            self.tenant.delete("PodIdentity", name)

    def _one(self, name: str) -> Rotating:
        return Rotating(self.tenant, self.authority, name)

    def _mounted(self, name: str) -> dict[str, str]:
        return dict((self.tenant.secret(name) or {"text": {}})["text"])

    def _bot(self, name: str, **spec: Any) -> Body:
        facts = self.facts[name]
        manifest = rotating_bot(name, facts.overlap, opaque_overlap=_SHORT)
        spare = {"name": "spare", "lifetime": "1h"}
        if not facts.changed:
            spare |= {"vaultMount": COPY_MOUNT, "vaultPath": _SPARE}
        tokens = [*manifest["spec"]["tokens"], spare]
        if not facts.changed:
            tokens.append({"name": "extra", "lifetime": "1h"})
        manifest["spec"] |= {
            "federationRef": {"name": self.ground.federation},
            "description": f"changed: {facts.changed}",
            "realmRoles": [ROLES[facts.changed]],
            "defaultScopes": [SCOPES[facts.changed]],
            "tokens": tokens,
            **spec,
        }
        return manifest

    def _pod(self, name: str) -> Body:
        return pod_identity(name, files=FILES)

    def _note(self, operation: Operation, name: str, facts: _Facts) -> None:
        one = self._one(name)
        held = one.held()
        facts.before = held
        tokens = {one.entry(f"tokens/{leaf}").get("token") for leaf in ("default", "spare", "extra")} - {None}
        if operation in ENDS:
            # One that was minted beside the operator is good for as long as its client is.
            tokens.add(self.authority.request_token(one.client_id, held.secret).body["access_token"])
        if operation is Operation.CHANGE or operation in ENDS:
            facts.tokens |= tokens
        if operation is Operation.OVERLAP_ENDS:
            facts.secrets.add(one.entry("client")["previous_client_secret"])
        if operation is Operation.REPLACE or operation in ENDS:
            facts.secrets.add(held.secret)

    @staticmethod
    def _assert_written(operation: Operation, one: Rotating, before: Held | None) -> None:
        """See that nothing was replaced twice, whatever was cut off: each entry has as many versions as it takes."""
        assert before is not None
        written = tuple(now - then for now, then in zip(one.held().versions, before.versions, strict=True))
        assert written == _WRITTEN[operation], f"secret, jwt and opaque token were written {written} times"

    def _assert_tokens(self, one: Rotating, role: str, facts: _Facts) -> None:
        for leaf in ("default", "spare"):
            token = one.entry(f"tokens/{leaf}")["token"]
            assert self.authority.introspect(token)["active"] is True, f"token {leaf} is not active"
            assert set(claims_of(token)["realm_access"]["roles"]) & set(ROLES) == {role}
        spare = self._copy(self.status(one.name)["serviceAccountSubject"], one.name)
        assert bool(spare) is not facts.changed, f"copy of token spare: {bool(spare)}"
        if spare:
            assert spare["token"] == one.entry("tokens/spare")["token"]

    def _assert_no_copy(self, facts: _Facts, name: str) -> None:
        for path in (_SPARE, "users/{subject}/federated/{name}"):
            answer = self._answer(path.format(subject=facts.subject, name=name))
            assert answer == {}, f"{path} is still there"

    def _copy(self, subject: str, name: str) -> dict[str, Any]:
        return self._answer(_SPARE.format(subject=subject, name=name))

    def _answer(self, path: str) -> dict[str, Any]:
        answer = self.tenant.stack.api("vault").answer("GET", f"/v1/{COPY_MOUNT}/{path}")
        return dict(answer.body["data"]) if answer.status == 200 else {}
