"""Constant change: identities are made, changed, rotated, suspended, deleted and made anew, by a seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from tests.e2e.authority import Authority
from tests.e2e.tenancy import MERGE, Tenant, bot, pod_identity, unique, user

TOKENS = [{"name": "default", "lifetime": "60s"}]
ROLES = ("fl-client", "fl-member")
KEPT_TOKENS = 500
"""Of the identities that were deleted, the newest."""


@dataclass(slots=True)
class Churn:
    """Bots with a consumer each, and people, of one namespace; what is done to them is counted."""

    tenant: Tenant
    authority: Authority
    chance: random.Random
    bots: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    ended: dict[str, str] = field(default_factory=dict)
    """Token to the uid of the deleted bot that had it."""

    @classmethod
    def begin(cls, tenant: Tenant, seed: int, *, bots: int, people: int) -> Churn:
        """Make the first of them."""
        churn = cls(tenant, Authority(tenant.stack), random.Random(seed))  # noqa: S311 - not for a secret
        churn.bots = [f"bot-{number}" for number in range(bots)]
        churn.people = [unique("soak") for _ in range(people)]
        for name in churn.bots:
            churn._make_bot(name)
        for name in churn.people:
            tenant.apply(user(name))
        return churn

    def settle(self) -> None:
        """Wait until all are Ready."""
        for name in self.bots:
            self.tenant.ready("PodIdentity", name, seconds=600)
        for name in self.people:
            self.tenant.ready("FederationUser", name, seconds=600)

    def act(self) -> None:
        """Do one thing to one of them."""
        if self.chance.random() < 0.2:
            self._to_a_person(self.chance.choice(self.people))
        else:
            self._to_a_bot(self.chance.choice(self.bots))

    def resume(self) -> None:
        """Take back every suspension."""
        for name in self.bots:
            self._change("BotClient", name, spec={"suspend": False})
        for name in self.people:
            self._change("FederationUser", name, spec={"suspend": False})

    def alive_after_deletion(self) -> list[str]:
        """Return the uids of bots that are gone and of whose tokens Keycloak still takes one."""
        there = {body["metadata"]["uid"] for body in self.tenant.all_of("BotClient")}
        gone = {token: uid for token, uid in self.ended.items() if uid not in there}
        return sorted({uid for token, uid in gone.items() if self.authority.admin_api_status(token) != 401})

    def _to_a_bot(self, name: str) -> None:
        match self.chance.choices(("roles", "rotate", "revoke-now", "suspend", "anew"), (4, 4, 1, 1, 2))[0]:
            case "roles":
                self.done["changed"] += 1
                self._change("BotClient", name, spec={"realmRoles": [self.chance.choice(ROLES)]})
            case "rotate":
                self.done["rotated"] += 1
                self._change("BotClient", name, metadata=_annotated("rotate", unique("r")))
            case "revoke-now":
                self.done["revoked"] += 1
                self._change("BotClient", name, metadata=_annotated("revoke-now", unique("n")))
            case "suspend":
                self.done["suspended or resumed"] += 1
                suspended = ((self.tenant.get("BotClient", name) or {}).get("spec") or {}).get("suspend", False)
                self._change("BotClient", name, spec={"suspend": not suspended})
            case _:
                self.done["deleted and made anew"] += 1
                self._remember(name)
                self.tenant.delete("BotClient", name)
                self.tenant.gone("BotClient", name, seconds=300)
                self._make_bot(name)

    def _to_a_person(self, name: str) -> None:
        if self.chance.random() < 0.7:
            self.done["changed"] += 1
            spec = {"realmRoles": [self.chance.choice(ROLES)], "groups": [self.chance.choice(("/sites/a", "/sites/b"))]}
            self._change("FederationUser", name, spec=spec)
        else:
            self.done["deleted and made anew"] += 1
            self.tenant.delete("FederationUser", name)
            self.tenant.gone("FederationUser", name, seconds=300)
            self.tenant.apply(user(name))

    def _make_bot(self, name: str) -> None:
        self.tenant.apply(bot(name, tokens=TOKENS), pod_identity(name))

    def _remember(self, name: str) -> None:
        """Keep the published token of a bot that is about to go."""
        body = self.tenant.get("BotClient", name)
        entry = self.authority.vault(f"fedid/{self.tenant.namespace}/bots/{name}/tokens/default")
        if body is not None and entry is not None:
            self.ended[entry["token"]] = body["metadata"]["uid"]
            while len(self.ended) > KEPT_TOKENS:
                del self.ended[next(iter(self.ended))]

    def _change(self, kind: str, name: str, **patch: object) -> None:
        self.tenant.stack.kube("PATCH", self.tenant.path(kind, name), patch, headers=MERGE, accept=(404,))


def _annotated(what: str, value: str) -> dict[str, dict[str, str]]:
    return {"annotations": {f"fedid.io/{what}": value}}
