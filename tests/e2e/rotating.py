"""Bots that rotate, what of them is good at any moment, and what both sides must know of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.authority import ADMIN, Authority
from tests.e2e.tenancy import MERGE, Body, Tenant, bot, pod_identity
from tests.e2e.waiting import eventually
from tests.testbed.keycloak_realm import SECRET_POLICY
from tests.testbed.stack import Stack

PATIENCE_SECONDS = 120.0
FILES = {"token": "{token:default}", "list": "{token:list}", "secret": "{clientSecret}"}
COPY_MOUNT = "secrets"


def rotating_bot(
    name: str, overlap: str, *, opaque_overlap: str = "20s", lifetime: str = "1h", copied: bool = True
) -> Body:
    """Return a bot with one token of each type, a copy, and a secret that may be replaced without an overlap too."""
    copy = {"vaultMount": COPY_MOUNT, "vaultPath": "users/{subject}/federated/{name}"} if copied else {}
    tokens = [
        {"name": "default", "lifetime": lifetime},
        {"name": "list", "type": "opaque", "lifetime": "1h", "overlap": opaque_overlap, **copy},
    ]
    return bot(name, tokens=tokens, secretRotation={"overlap": overlap, "allowInterruption": True})


def annotate(tenant: Tenant, name: str, *, kind: str = "BotClient", **annotations: str) -> None:
    """Set annotations of an object below `fedid.io/` (with `_` for `-`)."""
    told = {f"fedid.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    tenant.stack.kube("PATCH", tenant.path(kind, name), {"metadata": {"annotations": told}}, headers=MERGE)


@contextmanager
def policy_disabled(stack: Stack) -> Iterator[None]:
    """Have the realm keep one secret only; the operator learns it within half a minute, or at its start."""
    path = f"{ADMIN}/client-policies/policies"

    def switch(*, on: bool) -> None:
        policies = stack.keycloak("GET", path)["policies"]
        changed = [{**one, "enabled": on if one["name"] == SECRET_POLICY else one["enabled"]} for one in policies]
        stack.keycloak("PUT", path, {"policies": changed})

    switch(on=False)
    try:
        yield
    finally:
        switch(on=True)


@dataclass(frozen=True, slots=True)
class Held:
    """What somebody who reads everything of a bot holds at one moment."""

    secret: str
    jwt: str
    opaque: str
    versions: tuple[int, int, int]
    """Of the secret, the jwt and the opaque token in Vault."""


@dataclass(frozen=True, slots=True)
class Rotating:
    """One rotating bot, looked at from all sides."""

    tenant: Tenant
    authority: Authority
    name: str
    copied: bool = True
    """Whether the opaque token lies in a platform's folder too."""

    @property
    def client_id(self) -> str:
        """Of its client."""
        return f"{self.tenant.namespace}.{self.name}"

    def apply(self, overlap: str, **changes: str) -> None:
        """Apply it, with what mounts it; arguments as for `rotating_bot`."""
        self.tenant.apply(rotating_bot(self.name, overlap, copied=self.copied, **changes))
        self.tenant.apply(pod_identity(self.name, files=FILES))

    def status(self) -> dict[str, Any]:
        """Return its status."""
        return dict((self.tenant.get("BotClient", self.name) or {}).get("status") or {})

    def entry(self, leaf: str) -> dict[str, Any]:
        """Return what lies in Vault."""
        return self.authority.vault(f"fedid/{self.tenant.namespace}/bots/{self.name}/{leaf}") or {}

    def version(self, leaf: str) -> int:
        """Return how often something was written to Vault."""
        found = self.authority.vault_metadata(f"fedid/{self.tenant.namespace}/bots/{self.name}/{leaf}") or {}
        return int(found.get("current_version", 0))

    def held(self) -> Held:
        """Return what is published."""
        found = [self._entry(leaf) for leaf in ("client", "tokens/default", "tokens/list")]
        client, jwt, opaque = (entry for entry, _ in found)
        first, second, third = (version for _, version in found)
        return Held(client["client_secret"], jwt["token"], opaque["token"], (first, second, third))

    def _entry(self, leaf: str) -> tuple[dict[str, Any], int]:
        """Return what lies in Vault, with its version."""
        path = f"/v1/secret/data/fedid/{self.tenant.namespace}/bots/{self.name}/{leaf}"
        data = self.tenant.stack.api("vault").call("GET", path)["data"]
        return data["data"], int(data["metadata"]["version"])

    def held_or_none(self) -> Held | None:
        """Return what is published, None if not all of it is."""
        return self.held() if all(self.entry(leaf) for leaf in ("client", "tokens/default", "tokens/list")) else None

    def copy(self) -> dict[str, Any]:
        """Return the copy in the platform's folder."""
        path = f"/v1/{COPY_MOUNT}/users/{self.status()['serviceAccountSubject']}/federated/{self.name}"
        answer = self.tenant.stack.api("vault").answer("GET", path)
        return dict(answer.body["data"]) if answer.status == 200 else {}

    def secrets_in_keycloak(self) -> tuple[str, str | None]:
        """Return the secret of the client, and the one before if that is good too."""
        uuid = self.status()["clientUuid"]
        client = self.tenant.stack.keycloak("GET", f"{ADMIN}/clients/{uuid}")
        answer = self.tenant.stack.api("keycloak").answer("GET", f"{ADMIN}/clients/{uuid}/client-secret/rotated")
        return client["secret"], answer.body.get("value") if answer.status == 200 else None

    def accepts(self, secret: str) -> bool:
        """Tell whether Keycloak takes the secret."""
        return self.authority.request_token(self.client_id, secret).status == 200

    def handled(self, **wanted: str) -> None:
        """Wait until it is Ready, has carried out what was asked, and its consumers hold what Vault holds."""
        eventually(
            lambda: self.carried_out().items() >= wanted.items(),
            f"{self.name} has carried out {wanted}",
            seconds=PATIENCE_SECONDS,
        )
        self.tenant.ready("BotClient", self.name, seconds=PATIENCE_SECONDS)
        self.tenant.ready("PodIdentity", self.name, seconds=PATIENCE_SECONDS)
        eventually(self.consumers_agree, f"Secret {self.name} holds what Vault holds", seconds=PATIENCE_SECONDS)

    def carried_out(self) -> dict[str, str]:
        """Return for which value of the annotation the secret was replaced, and all tokens, if it is one for all."""
        status = self.status()
        tokens = {token.get("rotatedFor", "") for token in status.get("tokens") or ()}
        secret = (status.get("secret") or {}).get("rotatedFor", "")
        return {"secret": secret, "tokens": tokens.pop() if len(tokens) == 1 else ""}

    def mounted(self, key: str) -> str:
        """Return what is mounted at this moment."""
        return str((self.tenant.secret(self.name) or {})["text"][key])

    def consumers_agree(self, held: Held | None = None) -> bool:
        """Tell whether the mounted Secret holds what Vault holds, or held when somebody looked."""
        held, mounted = held or self.held(), (self.tenant.secret(self.name) or {})["text"]
        return mounted == {"token": held.jwt, "list": held.opaque, "secret": held.secret}

    def settled(self) -> None:
        """Wait until no overlap is left anywhere, as Keycloak, Vault and the copy tell."""

        def over() -> bool:
            no_secret = "previous_client_secret" not in self.entry("client") and self.secrets_in_keycloak()[1] is None
            return no_secret and not {"previous_token"} & {*self.entry("tokens/list"), *self.copy()}

        eventually(over, f"{self.name} has no former credential left", seconds=PATIENCE_SECONDS)

    def assert_two_secrets(self, before: Held) -> None:
        """See that the secret in use and the former are good, that both sides know both, and that there is no third."""
        entry = self.entry("client")
        assert entry["previous_client_secret"] == before.secret != entry["client_secret"]
        assert self.secrets_in_keycloak() == (entry["client_secret"], before.secret), self.name
        assert self.accepts(before.secret)
        assert self.accepts(entry["client_secret"])

    def assert_one_of_each(self) -> None:
        """See that what Vault holds is all that is good, and that it is the same for everybody."""
        held = self.held()
        assert self.secrets_in_keycloak() == (held.secret, None), self.name
        assert self.accepts(held.secret)
        assert self.authority.introspect(held.jwt)["active"] is True
        assert self.consumers_agree(held)
        assert {"previous_token", "previous_ends_at"}.isdisjoint(self.entry("tokens/list"))
        copy = self.copy()
        assert bool(copy) == self.copied
        if copy:
            assert copy["token"] == held.opaque
            assert "previous_token" not in copy
