"""A tenant's view: a namespace of its own, manifests, conditions, Secrets, Events."""

from __future__ import annotations

import base64
import itertools
import secrets as randomness
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.waiting import PATIENCE_SECONDS, eventually
from tests.testbed.stack import Stack

PLURALS = {
    "Federation": "federations",
    "BotClient": "botclients",
    "FederationUser": "federationusers",
    "PodIdentity": "podidentities",
}
MERGE = {"Content-Type": "application/merge-patch+json"}
_count = itertools.count()

Body = dict[str, Any]


def unique(stem: str) -> str:
    """Return a name that no other test, nor an earlier run, has."""
    return f"{stem}-{next(_count)}{randomness.token_hex(2)}"


def bot(name: str, **spec: Any) -> Body:
    """Return the BotClient of the quick start under another name."""
    wanted = {
        "realmRoles": ["fl-client"],
        "audiences": ["superlink"],
        "tokens": [{"name": "default", "lifetime": "1h"}],
    }
    return {"kind": "BotClient", "metadata": {"name": name}, "spec": {**wanted, **spec}}


def user(name: str, **spec: Any) -> Body:
    """Return a FederationUser."""
    wanted = {
        "username": name,
        "email": f"{name}@example.org",
        "firstName": "Ana",
        "lastName": "Novak",
        "realmRoles": ["fl-member"],
        "groups": ["/sites/a"],
    }
    return {"kind": "FederationUser", "metadata": {"name": name}, "spec": {**wanted, **spec}}


def pod_identity(name: str, bot_name: str | None = None, files: Mapping[str, str] | None = None, **spec: Any) -> Body:
    """Return a PodIdentity that mounts a token and the client's credentials."""
    templates = files or {
        "token": "{token}",
        "client.env": "CLIENT_ID={clientId}\nCLIENT_SECRET={clientSecret}\nTOKEN_URL={tokenUrl}\nISSUER={issuerUrl}\n",
    }
    wanted = {
        "role": "client",
        "botClientRef": {"name": bot_name or name},
        "platform": {"generic": {"files": dict(templates)}},
    }
    return {"kind": "PodIdentity", "metadata": {"name": name}, "spec": {**wanted, **spec}}


@dataclass(frozen=True, slots=True)
class Tenant:
    """One namespace with the tenant label (or without), and what its people do."""

    stack: Stack
    namespace: str
    _made: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def create(cls, stack: Stack, *, labelled: bool = True, name: str = "") -> Tenant:
        """Make a namespace, under a name of its own unless one is given."""
        name = name or unique("tenant")
        labels = {"fedid.io/tenant": "true"} if labelled else {}
        stack.kube("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        return cls(stack, name)

    def label(self, **labels: str | None) -> None:
        """Set labels of the namespace below `fedid.io/`; None takes one off."""
        patch = {"metadata": {"labels": {f"fedid.io/{name}": value for name, value in labels.items()}}}
        self.stack.kube("PATCH", f"/api/v1/namespaces/{self.namespace}", patch, headers=MERGE)

    def path(self, kind: str, name: str = "") -> str:
        """Return the API path of an object, or of the collection."""
        base = f"/apis/fedid.io/v1alpha1/namespaces/{self.namespace}/{PLURALS[kind]}"
        return f"{base}/{name}" if name else base

    def apply(self, *manifests: Body) -> None:
        """Apply manifests server-side, as kubectl does."""
        for manifest in manifests:
            kind, name = manifest["kind"], manifest["metadata"]["name"]
            body = {"apiVersion": "fedid.io/v1alpha1", **manifest}
            body["metadata"] = {**manifest["metadata"], "namespace": self.namespace}
            self.stack.kube(
                "PATCH",
                f"{self.path(kind, name)}?fieldManager=test&force=true",
                body,
                headers={"Content-Type": "application/apply-patch+yaml"},
            )
            if (kind, name) not in self._made:
                self._made.append((kind, name))

    def touch(self, kind: str, name: str) -> None:
        """Annotate an object, so that it is looked at now and not at its next turn."""
        patch = {"metadata": {"annotations": {"example.org/touched": randomness.token_hex(4)}}}
        self.stack.kube("PATCH", self.path(kind, name), patch, headers=MERGE, accept=(404,))

    def get(self, kind: str, name: str) -> Body | None:
        """Return an object, None if there is none."""
        answer = self.stack.api("kube").answer("GET", self.path(kind, name))
        return answer.body if answer.status == 200 else None

    def all_of(self, kind: str) -> list[Body]:
        """Return all objects of a kind."""
        found: list[Body] = self.stack.kube("GET", self.path(kind))["items"]
        return found

    def delete(self, kind: str, name: str) -> None:
        """Ask for an object's deletion; it may take a while."""
        self.stack.kube("DELETE", self.path(kind, name), accept=(404,))

    def gone(self, kind: str, name: str, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until an object is gone."""
        eventually(lambda: self.get(kind, name) is None, f"{kind}/{name} gone", seconds=seconds)

    def condition(self, kind: str, name: str, about: str = "Ready") -> Body | None:
        """Return a condition of an object."""
        return _condition(self.get(kind, name), about)

    def ready(self, kind: str, name: str, *, seconds: float = PATIENCE_SECONDS) -> Body:
        """Wait until an object is Ready in its newest generation, and return it."""

        def look() -> Body | None:
            body = self.get(kind, name)
            return body if body is not None and is_ready(body) else None

        try:
            return eventually(look, f"{kind}/{name} Ready", seconds=seconds)
        except AssertionError as error:
            message = f"{error}; condition: {self.condition(kind, name)}"
            raise AssertionError(message) from None

    def reason(self, kind: str, name: str, expected: str, about: str = "Ready", *, seconds: float = 60) -> Body:
        """Wait until a condition is False for a reason, and return it."""

        def look() -> Body | None:
            found = self.condition(kind, name, about)
            return found if found and found["status"] != "True" and found["reason"] == expected else None

        try:
            return eventually(look, f"{kind}/{name} {about}={expected}", seconds=seconds)
        except AssertionError as error:
            message = f"{error}; condition: {self.condition(kind, name, about)}"
            raise AssertionError(message) from None

    def secret(self, name: str) -> Body | None:
        """Return a Secret with its data decoded, None if there is none."""
        answer = self.stack.api("kube").answer("GET", f"/api/v1/namespaces/{self.namespace}/secrets/{name}")
        if answer.status != 200:
            return None
        body: Body = answer.body
        body["text"] = {key: base64.b64decode(value).decode() for key, value in (body.get("data") or {}).items()}
        return body

    def mounted(self, name: str, key: str, fits: Callable[[str], bool] = bool) -> str:
        """Wait until a key of a Secret has a fitting content, and return it."""

        def look() -> str | None:
            text = ((self.secret(name) or {}).get("text") or {}).get(key)
            return text if text is not None and fits(text) else None

        return eventually(look, f"key {key} of Secret {name}")

    def emptied(self, name: str) -> None:
        """Wait until a Secret has keys, and nothing in any of them."""
        eventually(
            lambda: (found := self.secret(name)) is not None and set(found["text"].values()) == {""},
            f"Secret {name} emptied",
        )

    def events(self, name: str) -> list[Body]:
        """Return the Events about an object."""
        query = f"/api/v1/namespaces/{self.namespace}/events?fieldSelector=involvedObject.name%3D{name}"
        found: list[Body] = self.stack.kube("GET", query)["items"]
        return found

    def event(self, name: str, reason: str) -> Body:
        """Wait for an Event about an object."""
        return eventually(
            lambda: next((e for e in self.events(name) if e["reason"] == reason), None), f"Event {reason} of {name}"
        )

    def clean(self) -> None:
        """Delete what was applied, wait until it is gone, and delete the namespace."""
        for kind, name in reversed(self._made):
            self.delete(kind, name)
        for kind, name in reversed(self._made):
            self.gone(kind, name, seconds=120)
        self.stack.kube("DELETE", f"/api/v1/namespaces/{self.namespace}", accept=(404,))


def _condition(body: Body | None, about: str) -> Body | None:
    conditions = ((body or {}).get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == about), None)


def is_ready(body: Body) -> bool:
    """Tell whether an object is Ready in its newest generation."""
    found = _condition(body, "Ready")
    return found is not None and found["status"] == "True" and found["observedGeneration"] == generation(body)


def generation(body: Body) -> int:
    """Return an object's generation."""
    return int(body["metadata"]["generation"])
