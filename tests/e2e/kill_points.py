"""Where a rotation can be cut: each step of a plan, and each write about it, with the requests that carry it out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fedid.domain import bot_steps as steps
from tests.e2e.authority import REALM
from tests.e2e.operating import Proxies
from tests.testbed.faults import Exchange, Fault, Rule, nth_of_each, requests_to

ADMIN = f"/admin/realms/{REALM}"
TOKEN = f"/realms/{REALM}/protocol/openid-connect/token"
OBJECTS = "/apis/fedid.io/v1alpha1/namespaces/{namespace}"
ENTRIES = "/v1/secret/data/fedid/{namespace}/bots/{bot}"
METADATA = "/v1/secret/metadata/fedid/{namespace}/bots/{bot}"
COPY = "/v1/secrets/users/{subject}/federated/{bot}"


@dataclass(frozen=True, slots=True)
class Target:
    """One bot whose pass is to be cut."""

    namespace: str
    bot: str
    client: str
    """Keycloak's id of its client."""
    subject: str

    @property
    def values(self) -> dict[str, str]:
        """What a point's templates are filled with."""
        return {"namespace": self.namespace, "bot": self.bot, "client": self.client, "subject": self.subject}


@dataclass(frozen=True, slots=True)
class Point:
    """One request of a rotation; `path` and `says` are templates."""

    backend: str
    method: str
    path: str
    says: str = ""
    number: int = 1
    """Which of such requests, counted from when it was armed."""

    def arm(self, proxies: Proxies, fault: Fault, target: Target) -> Rule:
        """Have the request of this bot cut."""
        meant = nth_of_each(requests_to(self.path.format_map(target.values), self.method), self.number)
        says = self.says.format_map(target.values)
        rule: Rule = getattr(proxies, self.backend).inject(fault, meant, times=1, says=says)
        return rule

    def is_of(self, exchange: Exchange, target: Target) -> bool:
        """Tell whether a recorded request of a bot is one of these, whichever in number."""
        path = self.path.format_map(target.values)
        return requests_to(path, self.method)(exchange.method, exchange.path)


def _kubernetes(method: str, kind: str, leaf: str = "", number: int = 1) -> Point:
    return Point("kubernetes", method, f"{OBJECTS}/{kind}/{{bot}}{leaf}", number=number)


def _token(number: int = 1) -> Point:
    return Point("keycloak", "POST", TOKEN, "client_id={namespace}.{bot}&", number)


STATUS = _kubernetes("PATCH", "botclients", "/status")
MOUNTED = Point("kubernetes", "PUT", "/api/v1/namespaces/{namespace}/secrets/{bot}")
MOUNTED_STATUS = _kubernetes("PATCH", "podidentities", "/status")
BOOKKEEPING = (STATUS, MOUNTED, MOUNTED_STATUS)
"""What tells of a rotation and brings it to its consumers, after the plan was carried out."""

POINTS: Mapping[type, tuple[Point, ...]] = {
    steps.KeepSecret: (
        Point("keycloak", "POST", f"{ADMIN}/clients/{{client}}/client-secret"),
        Point("keycloak", "GET", f"{ADMIN}/clients/{{client}}/client-secret/rotated"),
    ),
    steps.UpdateClient: (Point("keycloak", "PUT", f"{ADMIN}/clients/{{client}}"),),
    steps.ProveSecret: (_token(),),
    steps.PublishSecret: (Point("vault", "POST|PUT", f"{ENTRIES}/client"),),
    steps.EndPreviousSecret: (
        Point("keycloak", "DELETE", f"{ADMIN}/clients/{{client}}/client-secret/rotated"),
        _token(),  # presents what was ended
    ),
    steps.MintToken: (_token(),),
    steps.MakeToken: (),  # in memory
    steps.StageToken: (),  # likewise; their PublishToken is the effect
    steps.PromoteToken: (),
    steps.EndPreviousToken: (),
    steps.PublishToken: (
        Point("vault", "POST|PUT", f"{ENTRIES}/tokens/default"),
        Point("vault", "POST|PUT", f"{ENTRIES}/tokens/list"),
    ),
    steps.DeliverToken: (Point("vault", "POST|PUT", COPY),),
}
"""Step of a plan to its requests, for every step that a rotation can contain."""

ELSEWHERE = frozenset(
    {
        steps.CreateClient,
        steps.AdoptClient,
        steps.AddScopes,
        steps.RemoveScopes,
        steps.AddRoles,
        steps.RemoveRoles,
        steps.WithdrawCopy,
        steps.WithdrawToken,
    }
)
"""Steps that follow a change of the spec, or of a hand, and never the time or the wish for another credential."""

KEYS = frozenset({steps.StageKey, steps.PublishKey, steps.EndKeys})
"""Steps of a bot that signs; tests/reconcile/test_private_keys.py cuts a rotation at each of their effects."""

ANEW: tuple[Point, ...] = (
    _kubernetes("PATCH", "botclients", "/status"),
    _kubernetes("PATCH", "botclients", "/status", 2),
    _kubernetes("PATCH", "botclients", "/status", 3),
    Point("keycloak", "POST", f"/realms/{REALM}/protocol/openid-connect/revoke", "client_id={namespace}.{bot}&"),
    Point("keycloak", "DELETE", f"{ADMIN}/clients/{{client}}"),
    _token(),
    Point("vault", "DELETE", COPY),
    Point("vault", "DELETE", f"{METADATA}/client"),
    Point("vault", "DELETE", f"{METADATA}/tokens/default"),
    _kubernetes("PATCH", "botclients"),
    _kubernetes("PATCH", "botclients", "/status", 4),
    Point("keycloak", "POST", f"{ADMIN}/clients", '"{namespace}.{bot}"'),
    Point("vault", "POST|PUT", f"{ENTRIES}/client"),
)
"""`fedid.io/revoke-now`: everything ends as at a deletion and is made anew."""


def unforeseen(exchanges: tuple[Exchange, ...], known: tuple[Point, ...], targets: list[Target]) -> set[str]:
    """Return the writes about these bots that no point is for: method and path, without what tells one bot's."""
    found = set()
    for exchange in exchanges:
        # Metadata is what an entry is filed under: written once, and again with the same if it differs.
        if exchange.method == "GET" or exchange.path.startswith("/v1/secret/metadata/"):
            continue
        for target in targets:
            if not re.search(rf"{target.bot}\b|{target.client}|{target.subject}", exchange.path):
                continue
            if not any(point.is_of(exchange, target) for point in known):
                found.add(f"{exchange.method} {exchange.path}")
    return found
