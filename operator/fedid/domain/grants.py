"""Grants: what a Federation lets the identities of a namespace ask for.

Nothing matches: nothing is granted. Each ask must be covered by one rule that matches the namespace; different asks may
be covered by different rules. A limit is the widest value that any matching rule sets; none set: no limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from fedid.domain.claims import is_free_claim
from fedid.domain.durations import duration, duration_text
from fedid.domain.fields import (
    Body,
    flag,
    items,
    section_or_empty,
    text_or_none,
    texts,
    texts_by_name,
)
from fedid.domain.label_selector import LabelSelector, parse_selector
from fedid.domain.web_address import covers

__all__ = ["Ask", "AskKind", "Grant", "Verdict", "is_reserved_client", "judge", "parse_grants"]

RESERVED_CLIENTS = frozenset(
    {"account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console"}
)
"""Keycloak's own clients: their roles administer the realm, so no wildcard ever covers them."""


def is_reserved_client(client_id: str) -> bool:
    """Tell whether a client is Keycloak's own; in the realm `master` each realm has one, named `<realm>-realm`."""
    return client_id in RESERVED_CLIENTS or client_id.endswith("-realm")


def _is_plain_path(path: str) -> bool:
    """Tell whether a group's path says where it leads: `/sites/../admins` begins with `/sites/` and is elsewhere."""
    return not {"", ".", ".."} & {*path.removeprefix("/").split("/")}


class AskKind(StrEnum):
    """What can be asked for; the value is the field of a rule that covers it."""

    REALM_ROLE = "realmRoles"
    CLIENT_ROLE = "clientRoles"
    GROUP = "groups"
    AUDIENCE = "audiences"
    VAULT_PATH = "vaultPaths"
    """`<mount>/<path>`; a pattern may hold `{namespace}` for the namespace that asks."""
    CLIENT_ID = "clientIds"
    CLAIM = "claims"
    SCOPE = "scopes"
    SUPERLINK_URL = "superlinkUrls"
    """Where SuperNodes may be registered; a pattern may hold `{namespace}` for the namespace that asks."""
    OIDC_FLOW = "oidcFlows"
    """What a server may do with a client of its own."""
    REDIRECT_URI = "redirectUriPrefixes"
    """Where a server's users may be sent back to; a prefix may hold `{namespace}` for the namespace that asks."""
    ADOPT = "adopt"
    RETAIN = "retain"
    TOKEN_LIFETIME = "maxTokenLifetime"
    """A limit rather than a list: only ever denied, never matched."""


_LISTED = (
    AskKind.REALM_ROLE,
    AskKind.GROUP,
    AskKind.AUDIENCE,
    AskKind.CLIENT_ID,
    AskKind.CLAIM,
    AskKind.SCOPE,
    AskKind.VAULT_PATH,
    AskKind.SUPERLINK_URL,
    AskKind.OIDC_FLOW,
    AskKind.REDIRECT_URI,
)
_SWITCHES = (AskKind.ADOPT, AskKind.RETAIN)


@dataclass(frozen=True, slots=True, order=True)
class Ask:
    """One thing that a spec asks for."""

    kind: AskKind
    value: str
    client_id: str = ""
    """Of a client role: the client that has it."""

    def __str__(self) -> str:
        """Return it the way the spec says it."""
        return f"{self.kind}: {self.client_id + '/' if self.client_id else ''}{self.value}"


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule of a Federation."""

    index: int
    """Position in `spec.grants`, to be named in messages."""
    names: frozenset[str]
    selector: LabelSelector | None
    patterns: Mapping[AskKind, tuple[str, ...]]
    """Exact values, or prefixes with one trailing `*`."""
    client_roles: Mapping[str, tuple[str, ...]]
    """Client id to patterns of its roles."""
    max_token_lifetime: timedelta | None
    switches: frozenset[AskKind] = frozenset()
    """What it lets its namespaces do that has no value of its own."""

    def matches(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Tell whether the rule is about this namespace (by name or by selector)."""
        return namespace in self.names or (self.selector is not None and self.selector.matches(labels))

    def covers(self, ask: Ask, namespace: str) -> bool:
        """Tell whether the rule lets one of its namespaces have this."""
        if ask.kind is AskKind.GROUP and not _is_plain_path(ask.value):
            return False
        if ask.kind in _SWITCHES:
            return ask.kind in self.switches
        if ask.kind is AskKind.CLAIM and not is_free_claim(ask.value):
            return False  # no rule gives away what the protocol goes by
        if ask.kind is AskKind.OIDC_FLOW:
            return ask.value in self.patterns.get(ask.kind, ())
        if ask.kind in {AskKind.REDIRECT_URI, AskKind.SUPERLINK_URL}:
            prefixes = self.patterns.get(ask.kind, ())
            return any(covers(prefix.replace("{namespace}", namespace), ask.value) for prefix in prefixes)
        if ask.kind is AskKind.VAULT_PATH:
            patterns = self.patterns.get(ask.kind, ())
            return any(_matches(pattern.replace("{namespace}", namespace), ask.value) for pattern in patterns)
        if ask.kind is not AskKind.CLIENT_ROLE:
            return any(_matches(pattern, ask.value) for pattern in self.patterns.get(ask.kind, ()))
        patterns = self.client_roles.get(ask.client_id, ())
        if is_reserved_client(ask.client_id):
            return ask.value in patterns
        return any(_matches(pattern, ask.value) for pattern in patterns)

    def __str__(self) -> str:
        """Return the rule in one line for a message."""
        what = [f"{kind}: {', '.join(values)}" for kind, values in self.patterns.items() if values]
        what += [f"clientRoles: {client}/({', '.join(roles)})" for client, roles in self.client_roles.items()]
        what += [f"{kind}: true" for kind in sorted(self.switches)]
        if self.max_token_lifetime is not None:
            what.append(f"maxTokenLifetime: {duration_text(self.max_token_lifetime)}")
        whom = [
            *sorted(self.names),
            *([f"[{str(self.selector) or 'every namespace'}]"] if self.selector is not None else []),
        ]
        return f"grants[{self.index}] for {', '.join(whom)} ({'; '.join(what) or 'nothing but to exist'})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the grants say to a set of asks."""

    namespace_matched: bool
    """Whether any rule is about the namespace at all; without one nothing may exist."""
    denied: frozenset[Ask]
    max_token_lifetime: timedelta | None
    """None: no limit."""
    message: str
    """Publishable sentence: which rules cover it, or what is denied and which rules exist."""

    @property
    def granted(self) -> bool:
        """Whether every ask is covered."""
        return self.namespace_matched and not self.denied


def parse_grants(spec: Body) -> tuple[Grant, ...]:
    """Return the rules of a Federation spec.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    return tuple(_parse_grant(path, raw, index) for index, (path, raw) in enumerate(items(spec, "spec.grants")))


def judge(
    asks: Iterable[Ask], grants: Iterable[Grant], *, federation: str, namespace: str, labels: Mapping[str, str]
) -> Verdict:
    """Return what the grants of a Federation say to the asks of one identity.

    Args:
        asks: What the spec asks for.
        grants: All rules of the Federation.
        federation: Its name, for the message.
        namespace: Where the identity lives.
        labels: The namespace's labels as observed now.
    """
    rules = tuple(grants)
    matching = [rule for rule in rules if rule.matches(namespace, labels)]
    denied = frozenset(ask for ask in asks if not any(rule.covers(ask, namespace) for rule in matching))
    limits = [rule.max_token_lifetime for rule in matching if rule.max_token_lifetime is not None]
    return Verdict(
        namespace_matched=bool(matching),
        denied=denied,
        max_token_lifetime=max(limits, default=None),
        message=_message(federation, namespace, matching, rules, denied),
    )


def _message(
    federation: str, namespace: str, matching: list[Grant], rules: tuple[Grant, ...], denied: frozenset[Ask]
) -> str:
    if not matching:
        existing = "; ".join(map(str, rules)) or "none"
        return (
            f"No grant of Federation {federation} is about namespace {namespace}, so nothing is made. "
            f"Rules that exist: {existing}. Ask the platform team to label the namespace or to add a grant."
        )
    listed = "; ".join(map(str, matching))
    if denied:
        asks = ", ".join(map(str, sorted(denied)))
        return (
            f"Federation {federation} does not grant namespace {namespace}: {asks}. "
            f"Rules that match the namespace: {listed}. Take it out of the spec, or ask the platform team for a grant."
        )
    return f"Covered by {', '.join(f'grants[{rule.index}]' for rule in matching)} of Federation {federation}."


def _parse_grant(path: str, raw: Body, index: int) -> Grant:
    namespaces = section_or_empty(raw, f"{path}.namespaces")
    chosen = namespaces.get("selector") is not None
    lifetime = text_or_none(raw, f"{path}.maxTokenLifetime")
    return Grant(
        index=index,
        names=frozenset(texts(namespaces, f"{path}.namespaces.names")),
        selector=parse_selector(namespaces, f"{path}.namespaces.selector") if chosen else None,
        patterns={kind: texts(raw, f"{path}.{kind}") for kind in _LISTED},
        client_roles=texts_by_name(raw, f"{path}.clientRoles"),
        max_token_lifetime=duration(lifetime, f"{path}.maxTokenLifetime") if lifetime is not None else None,
        switches=frozenset(kind for kind in _SWITCHES if flag(raw, f"{path}.{kind}", default=False)),
    )


def _matches(pattern: str, value: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern
