"""What identities ask for, and rules: for each the operator and the admission policy must say the same.

Every case lives in the namespace `HERE`, which has the labels `LABELS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedid.domain.grants import RESERVED_CLIENTS

HERE = "site-a"
"""Stands for the namespace; a test may put another name in its place, everywhere."""
LABELS = {"fedid.io/tenant": "true", "example.org/tier": "gold"}

Rule = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One manifest under one set of rules."""

    title: str
    kind: str
    spec: dict[str, Any]
    rules: tuple[Rule, ...]
    left: str = ""
    """Why the policy lets through what the operator refuses; empty: both say the same."""


def bot(title: str, spec: dict[str, Any], *rules: Rule, left: str = "") -> Case:
    """Return a case of a BotClient."""
    return Case(title, "BotClient", spec, rules, left)


def user(title: str, spec: dict[str, Any], *rules: Rule) -> Case:
    """Return a case of a FederationUser."""
    return Case(title, "FederationUser", {"username": "ana", **spec}, rules)


def server(title: str, client: dict[str, Any], *rules: Rule, left: str = "") -> Case:
    """Return a case of a server with a Keycloak client of its own."""
    files = {"generic": {"files": {"client-id": "{clientId}"}}}
    return Case(title, "PodIdentity", {"role": "server", "platform": files, "oidcClient": client}, rules, left)


def rule(**fields: Any) -> Rule:
    """Return a rule about the namespace, by its name."""
    return {"namespaces": {"names": [HERE]}, **fields}


def about(**selector: Any) -> Rule:
    """Return a rule about the namespaces that a selector picks, which may have the role `a`."""
    return {"namespaces": {"selector": selector}, "realmRoles": ["a"]}


def where(key: str, operator: str, *values: str) -> Rule:
    """Return such a rule of one expression."""
    expression = {"key": key, "operator": operator, **({"values": [*values]} if values else {})}
    return about(matchExpressions=[expression])


def tokens(*lifetimes: str, **fields: Any) -> dict[str, Any]:
    """Return the spec of a bot with tokens of these lifetimes."""
    return {"tokens": [{"name": f"t{number}", "lifetime": one, **fields} for number, one in enumerate(lifetimes)]}


def copies(path: str, mount: str | None = None) -> dict[str, Any]:
    """Return the spec of a bot whose token is copied to a path."""
    place = {"vaultPath": path, **({"vaultMount": mount} if mount else {})}
    return {"tokens": [{"name": "default", **place}]}


def sent_back(*addresses: str) -> dict[str, Any]:
    """Return an `oidcClient` that sends browsers back to these addresses."""
    return {"flows": ["authorizationCode"], "redirectUris": [*addresses]}


def prefixes(*addresses: str) -> Rule:
    """Return the rule that lets browsers be sent there."""
    return rule(oidcFlows=["authorizationCode"], redirectUriPrefixes=[*addresses])


A = {"realmRoles": ["a"]}
DAI = "https://dai.example.org"

_RULES = [
    bot("no rule at all", {}),
    bot("a rule about another namespace", A, {"namespaces": {"names": ["site-b"]}, "realmRoles": ["*"]}),
    bot("a rule about a name that begins alike", A, {"namespaces": {"names": ["site"]}, "realmRoles": ["*"]}),
    bot("a rule without lists, nothing asked", {}, rule()),
    bot("a rule without lists, something asked", A, rule()),
    bot("two rules, each with one ask", {**A, "audiences": ["x"]}, rule(realmRoles=["a"]), rule(audiences=["x"])),
    bot("two rules, one about others", {**A, "audiences": ["x"]}, rule(realmRoles=["a"]), {**where("t", "Exists")}),
    bot("two rules that do not add up", {"clientRoles": {"s": ["r"]}},
        rule(clientRoles={"s": ["x"]}), rule(clientRoles={"t": ["r"]})),
    bot("several asks, some covered", {"realmRoles": ["a", "b", "c"], "audiences": ["x"]}, rule(realmRoles=["a"])),
]  # fmt: skip
_NAMESPACES = [
    bot("a label", A, about(matchLabels={"fedid.io/tenant": "true"})),
    bot("a label with another value", A, about(matchLabels={"fedid.io/tenant": "false"})),
    bot("two labels, one missing", A, about(matchLabels={"fedid.io/tenant": "true", "example.org/x": "y"})),
    bot("two labels", A, about(matchLabels=LABELS)),
    bot("an empty value is no missing label", A, about(matchLabels={"example.org/x": ""})),
    bot("the label that Kubernetes sets", A, about(matchLabels={"kubernetes.io/metadata.name": HERE})),
    bot("In: one of the values", A, where("example.org/tier", "In", "silver", "gold")),
    bot("In: none of the values", A, where("example.org/tier", "In", "silver")),
    bot("In: no label", A, where("example.org/x", "In", "gold")),
    bot("NotIn: another value", A, where("example.org/tier", "NotIn", "silver")),
    bot("NotIn: one of the values", A, where("example.org/tier", "NotIn", "gold")),
    bot("NotIn: no label", A, where("example.org/x", "NotIn", "gold")),
    bot("Exists", A, where("example.org/tier", "Exists")),
    bot("Exists: no label", A, where("example.org/x", "Exists")),
    bot("DoesNotExist", A, where("example.org/x", "DoesNotExist")),
    bot("DoesNotExist: there", A, where("example.org/tier", "DoesNotExist")),
    bot("label and expression, one fails", A, about(
        matchLabels={"fedid.io/tenant": "true"}, matchExpressions=[{"key": "example.org/x", "operator": "Exists"}])),
    bot("by name though not by label", A, {**about(matchLabels={"a": "b"}),
        "namespaces": {"names": [HERE], "selector": {"matchLabels": {"a": "b"}}}}),
]  # fmt: skip
_LISTS = [
    bot("a full name", {"realmRoles": ["fl-client"]}, rule(realmRoles=["fl-client"])),
    bot("a longer name", {"realmRoles": ["fl-client2"]}, rule(realmRoles=["fl-client"])),
    bot("another case", {"realmRoles": ["FL-client"]}, rule(realmRoles=["fl-*"])),
    bot("a beginning", {"realmRoles": ["fl-client"]}, rule(realmRoles=["fl-*"])),
    bot("a beginning by itself", {"realmRoles": ["fl-"]}, rule(realmRoles=["fl-*"])),
    bot("shorter than a beginning", {"realmRoles": ["fl"]}, rule(realmRoles=["fl-*"])),
    bot("a beginning in the middle", {"realmRoles": ["x-fl-client"]}, rule(realmRoles=["fl-*"])),
    bot("everything", {"realmRoles": ["any thing, ÄÖ€"]}, rule(realmRoles=["*"])),
    bot("beyond ASCII", {"realmRoles": ["fl-ärzte"]}, rule(realmRoles=["fl-ä*"])),
    bot("what only looks alike", {"realmRoles": ["fl-\u0441lient"]}, rule(realmRoles=["fl-client"])),
    bot("no regular expression", {"realmRoles": ["flxclient"]}, rule(realmRoles=["fl.client"])),
    bot("roles of a client", {"clientRoles": {"sl": ["submit", "run all"]}},
        rule(clientRoles={"sl": ["submit", "run *"]})),
    bot("roles of two clients", {"clientRoles": {"sl": ["a"], "other": ["a"]}}, rule(clientRoles={"sl": ["a"]})),
    bot("a client without roles", {"clientRoles": {"sl": []}}, rule()),
    bot("a client id with a slash", {"clientRoles": {"a/b": ["c"]}}, rule(clientRoles={"a/b": ["c"]})),
    bot("a realm role is no role of a client", {"clientRoles": {"sl": ["a"]}}, rule(realmRoles=["*"])),
    bot("a role of Keycloak's own, by wildcard", {"clientRoles": {"realm-management": ["manage-users"]}},
        rule(realmRoles=["*"])),
    bot("a role of Keycloak's own, written out", {"clientRoles": {"realm-management": ["view-users"]}},
        rule(clientRoles={"realm-management": ["view-users"]})),
    bot("a role in another realm, by wildcard", {"clientRoles": {"fl-realm": ["view-users"]}},
        rule(clientRoles={"fl-realm": ["*"]})),
    bot("an audience", {"audiences": ["superlink"]}, rule(audiences=["super*"])),
    bot("another audience", {"audiences": ["superlink", "account"]}, rule(audiences=["superlink"])),
    *(
        bot(f"the audience {client}, by wildcard", {"audiences": [client]}, rule(audiences=["*"]))
        for client in sorted(RESERVED_CLIENTS)
    ),
    bot("an audience of Keycloak's own, written out", {"audiences": ["account"]}, rule(audiences=["account"])),
    bot("scopes of all three places", {
        "defaultScopes": ["a"], "optionalScopes": ["b"], "tokens": [{"name": "t", "scopes": ["c"]}],
    }, rule(scopes=["a"])),
    bot("scopes that are covered", {"defaultScopes": ["a"], **tokens("1h", scopes=["b"])}, rule(scopes=["a", "b"])),
    bot("claims", {"claims": {"site": "a", "region": "b"}}, rule(claims=["si*"])),
    bot("the default clientId, written out", {"clientId": f"{HERE}.trainer"}, rule()),
    bot("a clientId of its own", {"clientId": "partner-1"}, rule(clientIds=["partner-*"])),
    bot("a clientId that is not covered", {"clientId": "other-1"}, rule(clientIds=["partner-*"])),
    bot("another namespace's clientId", {"clientId": "site-b.trainer"}, rule()),
    bot("a clientId like another realm's, by wildcard", {"clientId": "fl-realm"}, rule(clientIds=["*"])),
    user("a group", {"groups": ["/sites/a"]}, rule(groups=["/sites/a"])),
    user("a group below", {"groups": ["/sites/a/b"]}, rule(groups=["/sites/*"])),
    user("a group beside", {"groups": ["/sites/a", "/staff"]}, rule(groups=["/sites/*"])),
    user("a group that begins alike", {"groups": ["/sites-of-others"]}, rule(groups=["/sites/*"])),
    user("a role of a person", {"realmRoles": ["fl-member", "offline_access"]}, rule(realmRoles=["fl-*"])),
    user("roles of a client for a person", {"clientRoles": {"sl": ["submit", "run"]}},
        rule(clientRoles={"sl": ["s*"]})),
    user("a role of Keycloak's own for a person", {"clientRoles": {"fl-realm": ["view-users"]}},
        rule(clientRoles={"fl-realm": ["*"]})),
    user("attributes", {"attributes": {"site": ["a"], "tier": ["b"]}}, rule(attributes=["si*"])),
    user("an attribute of fedid's own", {"attributes": {"fedid.owner": ["x"], "site": ["y"]}},
        rule(attributes=["*"])),
    user("links elsewhere", {"identityProviderLinks": [
        {"identityProvider": "uni", "userId": "1"}, {"identityProvider": "lab", "userId": "2"},
    ]}, rule(identityProviders=["uni"])),
    user("an address that is called verified", {"email": "a@b.org", "emailVerified": True}, rule(emailVerified=True)),
    user("the same, not granted", {"email": "a@b.org", "emailVerified": True}, rule(emailVerified=False)),
    user("an account that is there already", {"adopt": True}, rule(adopt=True)),
    user("the same account, not granted", {"adopt": True}, rule(retain=True)),
    user("an account that stays", {"deletionPolicy": "Retain"}, rule(retain=True)),
    user("an account that may not stay", {"deletionPolicy": "Retain"}, rule()),
    user("nothing", {}, rule()),
    user("no rule", {}),
]  # fmt: skip
_SWITCHES_AND_LIMITS = [
    bot("adopt", {"adopt": True}, rule(adopt=True)),
    bot("adopt, not granted", {"adopt": True}, rule(retain=True)),
    bot("adopt, switched off", {"adopt": True}, rule(adopt=False)),
    bot("adopt: false asks for nothing", {"adopt": False}, rule()),
    bot("Retain", {"deletionPolicy": "Retain"}, rule(retain=True)),
    bot("Retain, not granted", {"deletionPolicy": "Retain"}, rule(adopt=True)),
    bot("Delete asks for nothing", {"deletionPolicy": "Delete"}, rule()),
    bot("a lifetime, no limit", tokens("24h"), rule()),
    bot("a lifetime at the limit", tokens("60m"), rule(maxTokenLifetime="1h")),
    bot("a lifetime over the limit", tokens("1h1s"), rule(maxTokenLifetime="1h")),
    bot("the widest limit counts", tokens("2h"), rule(maxTokenLifetime="1h"), rule(maxTokenLifetime="3h")),
    bot("a rule without a limit sets none", tokens("2h"), rule(maxTokenLifetime="1h"), rule()),
    bot("a limit of others", tokens("2h"), rule(), {"namespaces": {"names": ["site-b"]}, "maxTokenLifetime": "1h"}),
    bot("no lifetime asks for none", {"tokens": [{"name": "t"}]}, rule(maxTokenLifetime="10s")),
    bot("an opaque token lives too", tokens("720h", type="opaque"), rule(maxTokenLifetime="24h")),
]  # fmt: skip
_PATHS = [
    bot("a path", copies("users/x"), rule(vaultPaths=["secret/users/*"])),
    bot("a path in another mount", copies("users/x", "kv"), rule(vaultPaths=["secret/users/*"])),
    bot("a mount that is granted", copies("users/x", "kv"), rule(vaultPaths=["kv/users/x"])),
    bot("what placeholders stand for", copies("{namespace}/{name}/{token}/{clientId}"),
        rule(vaultPaths=[f"secret/{HERE}/trainer/default/{HERE}.trainer"])),
    bot("the subject stays as it is written", copies("users/{subject}/x"),
        rule(vaultPaths=["secret/users/{subject}/*"])),
    bot("a subject that is not granted", copies("users/{subject}/x"), rule(vaultPaths=["secret/{namespace}/*"])),
    bot("a rule for the namespace that asks", copies("{namespace}/x"), rule(vaultPaths=["secret/{namespace}/*"])),
    bot("another namespace's path", copies("site-b/x"), rule(vaultPaths=["secret/{namespace}/*"])),
    bot("a path that begins alike", copies(f"{HERE}-2/x"), rule(vaultPaths=["secret/{namespace}/*"])),
    bot("fedid's own folder", copies("fedid/x"), rule(vaultPaths=["secret/*"]),
        left="a path that nobody may have is for the operator to refuse"),
    bot("an unknown placeholder", copies("{uid}/x"), rule(vaultPaths=["secret/*"]),
        left="a template that means nothing is for the operator to refuse"),
]  # fmt: skip
_SERVERS = [
    server("a flow", {"flows": ["introspection"]}, rule(oidcFlows=["introspection"])),
    server("another flow", {"flows": ["introspection", "device"]}, rule(oidcFlows=["introspection"])),
    server("no rule about the server", {"flows": ["introspection"]}),
    server("an audience of a server", {"flows": ["clientCredentials"], "audiences": ["x", "account"]},
           rule(oidcFlows=["clientCredentials"], audiences=["*"])),
    server("scopes of a server", {"flows": ["device"], "defaultScopes": ["fl-roles"], "optionalScopes": ["other"]},
           rule(oidcFlows=["device"], scopes=["fl-*"])),
    server("the default id of a server", {"flows": ["device"], "clientId": f"{HERE}.trainer.server"},
           rule(oidcFlows=["device"])),
    server("an id of a server", {"flows": ["device"], "clientId": "dai"}, rule(oidcFlows=["device"], clientIds=["d*"])),
    server("another id of a server", {"flows": ["device"], "clientId": "dai"}, rule(oidcFlows=["device"])),
    server("Keycloak's own id, by wildcard", {"flows": ["device"], "clientId": "account"},
           rule(oidcFlows=["device"], clientIds=["*"])),
    *(
        server(f"{address} below {prefix}", sent_back(address), prefixes(prefix))
        for address, prefix in (
            (f"{DAI}/cb", DAI), (f"{DAI}/cb", f"{DAI}/"), (f"{DAI}/cb", f"{DAI}/*"), (DAI, DAI), (f"{DAI}/", DAI),
            (f"{DAI}/a/b", f"{DAI}/a"), (f"{DAI}/ab", f"{DAI}/a"), (f"{DAI}/b", f"{DAI}/a"), (f"{DAI}/a", f"{DAI}/a/*"),
            ("https://dai.example.org.evil/cb", DAI), ("https://dai.example.orgx/cb", DAI),
            ("https://x.dai.example.org/cb", DAI), ("http://localhost/cb", "http://localhost"),
            (f"{DAI}:443/cb", DAI), (f"{DAI}/cb", f"{DAI}:443"), (f"{DAI}:8443/cb", DAI), (f"{DAI}:4433/cb", DAI),
            ("http://localhost:80/cb", "http://localhost"), ("http://127.0.0.1/cb", "http://localhost"),
            ("http://localhost/cb", "https://localhost"), (f"https://{HERE}.apps.org/x", "https://{namespace}.apps.org"),
            ("https://site-b.apps.org/x", "https://{namespace}.apps.org"), (f"{DAI}/a/./b", f"{DAI}/a"),
        )
    ),
    server("where a logout ends", {**sent_back(f"{DAI}/cb"), "postLogoutRedirectUris": ["https://evil.org/"]},
           prefixes(DAI)),
    Case("what the platform adds", "PodIdentity", {
        "role": "server", "platform": {"driverlessAi": {}}, "oidcClient": {"baseUrl": "https://evil.org"},
    }, (rule(oidcFlows=["authorizationCode"], redirectUriPrefixes=[DAI]),),
        left="addresses and flows that follow from a platform are known to the operator alone"),
]  # fmt: skip

CASES = (*_RULES, *_NAMESPACES, *_LISTS, *_SWITCHES_AND_LIMITS, *_PATHS, *_SERVERS)
