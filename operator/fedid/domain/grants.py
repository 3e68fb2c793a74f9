"""Grants: the rules of a Federation, and the things that its identities ask for; `judgement` holds one to the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from urllib.parse import quote

from fedid.domain.claims import is_free_claim
from fedid.domain.durations import duration, duration_text
from fedid.domain.fields import (
    Body,
    count_or_none,
    flag,
    items,
    section_or_empty,
    text_or_none,
    texts,
    texts_by_name,
)
from fedid.domain.label_selector import LabelSelector, parse_selector
from fedid.domain.realm import is_own_attribute
from fedid.domain.web_address import covers

__all__ = [
    "ADOPT_ASK",
    "EMAIL_VERIFIED_ASK",
    "RETAIN_ASK",
    "Ask",
    "AskKind",
    "Grant",
    "is_reserved_client",
    "parse_grants",
]

RESERVED_CLIENTS = frozenset(
    {"account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console"}
)
"""Keycloak's own clients: their roles administer the realm, and their APIs take whatever token is for them. So no
wildcard ever covers a role of theirs, their name as an audience, or as a client id."""


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
    OPENFGA_OBJECT = "openFgaObjects"
    """Objects of OpenFGA that servers may let accounts into; a pattern may hold `{namespace}` likewise. `#<relation>`
    behind one names another relation than Flower's own."""
    OIDC_FLOW = "oidcFlows"
    """What a server may do with a client of its own."""
    REDIRECT_URI = "redirectUriPrefixes"
    """Where a server's users may be sent back to; a prefix may hold `{namespace}` for the namespace that asks."""
    ATTRIBUTE = "attributes"
    IDENTITY_PROVIDER = "identityProviders"
    """Through which a user may log in besides: the alias of an identity provider of the realm."""
    EMAIL_VERIFIED = "emailVerified"
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
    AskKind.OPENFGA_OBJECT,
    AskKind.OIDC_FLOW,
    AskKind.REDIRECT_URI,
    AskKind.ATTRIBUTE,
    AskKind.IDENTITY_PROVIDER,
)
_SWITCHES = (AskKind.ADOPT, AskKind.RETAIN, AskKind.EMAIL_VERIFIED)


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

    @property
    def signature(self) -> str:
        """What stands for it in an approval: no two asks have the same, whatever slashes their names hold."""
        client = f"{quote(self.client_id, safe='')}/" if self.client_id else ""
        return f"{self.kind}: {client}{self.value}"

    @property
    def is_administrative(self) -> bool:
        """Whether it is a role of one of Keycloak's own clients."""
        return self.kind is AskKind.CLIENT_ROLE and is_reserved_client(self.client_id)


ADOPT_ASK = Ask(AskKind.ADOPT, "true")
RETAIN_ASK = Ask(AskKind.RETAIN, "true")
EMAIL_VERIFIED_ASK = Ask(AskKind.EMAIL_VERIFIED, "true")


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
    max_identities: int | None = None
    """How many identities of all kinds a namespace may have; None: the rule says nothing about it."""
    require_expiry: bool = False
    """Whether what it covers is only for identities that end by themselves."""
    require_approval: bool = False
    """Whether what it covers waits for an IdentityApproval."""

    @property
    def demands(self) -> int:
        """How many things it demands of who uses it."""
        return self.require_expiry + self.require_approval

    def matches(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Tell whether the rule is about this namespace (by name or by selector)."""
        return namespace in self.names or (self.selector is not None and self.selector.matches(labels))

    def names_in_full(self, ask: Ask) -> bool:
        """Tell whether the rule lists a role or group by its whole name, so that no wildcard is needed to cover it."""
        listed = self.client_roles.get(ask.client_id, ()) if ask.kind is AskKind.CLIENT_ROLE else ()
        return not ask.value.endswith("*") and ask.value in (*listed, *self.patterns.get(ask.kind, ()))

    def covers(self, ask: Ask, namespace: str) -> bool:
        """Tell whether the rule lists this for one of its namespaces, whatever it demands for it."""
        if ask.kind is AskKind.GROUP and not _is_plain_path(ask.value):
            return False
        if ask.kind in _SWITCHES:
            return ask.kind in self.switches
        if ask.kind is AskKind.CLAIM and not is_free_claim(ask.value):
            return False  # no rule gives away what the protocol goes by
        if ask.kind is AskKind.ATTRIBUTE and is_own_attribute(ask.value):
            return False  # whoever sets the owner mark of a user has the user
        if ask.kind is AskKind.OIDC_FLOW:
            return ask.value in self.patterns.get(ask.kind, ())
        if ask.kind in {AskKind.REDIRECT_URI, AskKind.SUPERLINK_URL}:
            prefixes = self.patterns.get(ask.kind, ())
            return any(covers(prefix.replace("{namespace}", namespace), ask.value) for prefix in prefixes)
        if ask.kind is AskKind.OPENFGA_OBJECT:
            patterns = self.patterns.get(ask.kind, ())
            return any(_covers_object(pattern.replace("{namespace}", namespace), ask.value) for pattern in patterns)
        if ask.kind is AskKind.VAULT_PATH:
            patterns = self.patterns.get(ask.kind, ())
            return any(_matches(pattern.replace("{namespace}", namespace), ask.value) for pattern in patterns)
        if ask.kind in {AskKind.AUDIENCE, AskKind.CLIENT_ID} and is_reserved_client(ask.value):
            return ask.value in self.patterns.get(ask.kind, ())
        if ask.kind is not AskKind.CLIENT_ROLE:
            return any(_matches(pattern, ask.value) for pattern in self.patterns.get(ask.kind, ()))
        patterns = self.client_roles.get(ask.client_id, ())
        if ask.is_administrative:
            return self.names_in_full(ask)
        return any(_matches(pattern, ask.value) for pattern in patterns)

    def __str__(self) -> str:
        """Return the rule in one line for a message."""
        what = [f"{kind}: {', '.join(values)}" for kind, values in self.patterns.items() if values]
        what += [f"clientRoles: {client}/({', '.join(roles)})" for client, roles in self.client_roles.items()]
        what += [f"{kind}: true" for kind in sorted(self.switches)]
        if self.max_token_lifetime is not None:
            what.append(f"maxTokenLifetime: {duration_text(self.max_token_lifetime)}")
        if self.max_identities is not None:
            what.append(f"maxIdentities: {self.max_identities}")
        what += ["requireExpiry: true"] if self.require_expiry else []
        what += ["requireApproval: true"] if self.require_approval else []
        whom = [
            *sorted(self.names),
            *([f"[{str(self.selector) or 'every namespace'}]"] if self.selector is not None else []),
        ]
        return f"grants[{self.index}] for {', '.join(whom)} ({'; '.join(what) or 'nothing but to exist'})"


def parse_grants(spec: Body) -> tuple[Grant, ...]:
    """Return the rules of a Federation spec.

    Raises:
        InvalidSpecError: A field is missing or means nothing; the message names it.
    """
    return tuple(_parse_grant(path, raw, index) for index, (path, raw) in enumerate(items(spec, "spec.grants")))


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
        max_identities=count_or_none(raw, f"{path}.maxIdentities"),
        require_expiry=flag(raw, f"{path}.requireExpiry", default=False),
        require_approval=flag(raw, f"{path}.requireApproval", default=False),
    )


def _covers_object(pattern: str, value: str) -> bool:
    """Tell whether a pattern is about this object, and about this very relation: a `*` is for objects alone."""
    objects, _, granted = pattern.partition("#")
    object_, _, relation = value.partition("#")
    return granted == relation and _matches(objects, object_)


def _matches(pattern: str, value: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern
