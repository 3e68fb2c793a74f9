"""Manifests of a tenant who wants more than was granted, and who has to say no to each.

They are judged by a Federation with the rule `RULE`, in a namespace that it is about, and applied by somebody with
every usual right there. Beside them lie the BotClient `good`, which holds what is granted, and the Secret `strangers`.
Words in capitals stand for what is known only then: `NEIGHBOUR`, `NEIGHBOURS-UUID`, `GOODS-UID`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.testbed.cluster import TENANT_LABEL

Body = dict[str, Any]

DAI = "https://dai.example.org"
COMPOSITE, GROUP = "fl-hostile-composite", "/sites/hostile"
"""A granted name that brings `offline_access` along, which is not granted; and a granted group that has that role."""
RULE: Body = {
    "namespaces": {"selector": {"matchLabels": TENANT_LABEL}},
    "realmRoles": ["fl-*"],
    "clientRoles": {"superlink": ["submit"]},
    "groups": ["/sites/*"],
    "audiences": ["superlink", "a*", "r*"],
    "scopes": ["fl-*"],
    "claims": ["site*"],
    "clientIds": ["partner-*", "a*", "r*"],
    "vaultPaths": ["secret/users/{subject}/*", "secret/{namespace}/*"],
    "oidcFlows": ["authorizationCode", "device"],
    "redirectUriPrefixes": [f"{DAI}/app"],
    "maxTokenLifetime": "1h",
}


class By(StrEnum):
    """Who says no."""

    SCHEMA = "the schema, at once"
    GRANTS = "the policy at once; where there is none the operator, in a condition"
    OPERATOR = "the operator, in a condition"
    GUARD = "the policy of what is the operator's own, at once"


@dataclass(frozen=True, slots=True)
class Attack:
    """One manifest."""

    title: str
    kind: str
    spec: Body
    by: By
    words: str
    """Part of the answer."""
    reason: str = "NotGranted"
    """Of the condition `Ready`, where the operator says no."""
    told: str = ""
    """Part of that condition, where it is not `words`."""
    metadata: Body = field(default_factory=dict)
    """Beside the name; `generateName` stands in its place."""
    patches: str = ""
    """Of an object that is there: its name, the manifest is a patch; with `/status` behind it, of its status."""


def bot(title: str, by: By, words: str, reason: str = "NotGranted", told: str = "", **spec: Any) -> Attack:
    """Return an attack by a BotClient."""
    return Attack(title, "BotClient", spec, by, words, reason, told)


def token(title: str, by: By, words: str, reason: str = "NotGranted", told: str = "", **fields: Any) -> Attack:
    """Return an attack by a BotClient's only token."""
    spec = {"tokens": [{"name": "default", **fields}]}
    return Attack(title, "BotClient", spec, by, words, reason, told)


def user(title: str, by: By, words: str, reason: str = "NotGranted", **spec: Any) -> Attack:
    """Return an attack by a FederationUser."""
    person = {"username": "mallory", "email": "mallory@example.org", "firstName": "Mallory", "lastName": "M"}
    return Attack(title, "FederationUser", {**person, **spec}, by, words, reason)


def server(title: str, by: By, words: str, reason: str = "NotGranted", **client: Any) -> Attack:
    """Return an attack by the Keycloak client of a server."""
    files = {"generic": {"files": {"client-id": "{clientId}"}}}
    spec = {"role": "server", "platform": files, "oidcClient": {"flows": ["device"], **client}}
    return Attack(title, "PodIdentity", spec, by, words, reason)


def back(title: str, by: By, words: str, address: str) -> Attack:
    """Return an attack by a server that has browsers sent elsewhere."""
    return server(title, by, words, flows=["authorizationCode"], redirectUris=[address])


def pods(title: str, by: By, words: str, reason: str, **spec: Any) -> Attack:
    """Return an attack by what pods are to mount."""
    wanted = {"role": "client", "botClientRef": {"name": "good"}, "platform": {"generic": {"files": {"t": "{token}"}}}}
    return Attack(title, "PodIdentity", {**wanted, **spec}, by, words, reason)


_NAMES = (
    bot("a role by wildcard", By.SCHEMA, "write the full name of one realm role", realmRoles=["fl-*"]),
    bot("every role", By.SCHEMA, "write the full name of one realm role", realmRoles=["*"]),
    bot("a role that is not granted", By.GRANTS, "realmRoles: offline_access",
        realmRoles=["fl-client", "offline_access"]),
    bot("a role that looks granted (Cyrillic)", By.GRANTS, "realmRoles: \u0493l-client", realmRoles=["\u0493l-client"]),
    bot("a role that begins granted and does not exist", By.OPERATOR, "", "RoleMissing", "fl-\u0441lient",
        realmRoles=["fl-\u0441lient"]),
    bot("a role that ends a path", By.OPERATOR, "", "RoleMissing", "fl-/../../users", realmRoles=["fl-/../../users"]),
    bot("a role through a composite", By.OPERATOR, "", "NotGranted", "it brings realmRoles: offline_access",
        realmRoles=[COMPOSITE]),
    bot("a role of an administrator", By.GRANTS, "clientRoles: realm-management/realm-admin",
        clientRoles={"realm-management": ["realm-admin"]}),
    bot("a role of an administrator by wildcard", By.SCHEMA, "write the full name of one role",
        clientRoles={"realm-management": ["*"]}),
    bot("an administrator's client with a blank", By.SCHEMA, "write each client id in full",
        clientRoles={"realm-management ": ["realm-admin"]}),
    bot("the tokens of other providers", By.GRANTS, "clientRoles: broker/read-token",
        clientRoles={"broker": ["read-token"]}),
    bot("another role of a granted client", By.GRANTS, "clientRoles: superlink/admin",
        clientRoles={"superlink": ["admin"]}),
    bot("the audience of Keycloak's own API", By.GRANTS, "audiences: account", audiences=["account"]),
    bot("the audience of the administration", By.GRANTS, "audiences: realm-management", audiences=["realm-management"]),
    bot("an audience that looks granted", By.GRANTS, "audiences: superl\u0456nk", audiences=["superl\u0456nk"]),
    bot("every audience", By.SCHEMA, "write one audience in full", audiences=["*"]),
    bot("a scope that is not granted", By.GRANTS, "scopes: offline_access", defaultScopes=["offline_access"]),
    token("a scope of a token that is not granted", By.GRANTS, "scopes: offline_access", scopes=["offline_access"]),
    token("two scopes in one", By.SCHEMA, "write the name of one client scope", scopes=["fl-a offline_access"]),
    bot("whose the token is", By.SCHEMA, "claim", claims={"sub": "admin"}),
    bot("what the token may do", By.SCHEMA, "dot", claims={"realm_access.roles": "admin"}),
    bot("groups in another case", By.SCHEMA, "claim", claims={"Groups": "admins"}),
    bot("a claim that is not granted", By.GRANTS, "claims: tier", claims={"tier": "gold"}),
    bot("Keycloak's own client", By.SCHEMA, "one of Keycloak's own clients", clientId="realm-management"),
    bot("Keycloak's own client in Cyrillic", By.SCHEMA, "write a client id of letters", clientId="\u0430ccount"),
    bot("a client id that leads elsewhere", By.SCHEMA, "write a client id of letters", clientId="a/../users"),
    bot("the operator's own client", By.GRANTS, "clientIds: fedid-operator", clientId="fedid-operator"),
    bot("the client of another namespace", By.GRANTS, "clientIds: site-b.trainer", clientId="site-b.trainer"),
    bot("a service account's name", By.GRANTS, "clientIds: service-account-x", clientId="service-account-x"),
    bot("another realm's administration", By.GRANTS, "clientIds: a-realm", clientId="a-realm"),
    bot("a stranger's client", By.GRANTS, "adopt: true", clientId="partner-1", adopt=True),
    bot("a client that stays for ever", By.GRANTS, "retain: true", deletionPolicy="Retain"),
    bot("the ServiceAccount of another namespace", By.SCHEMA, "without a namespace before it",
        authentication={"serviceAccount": {"name": "site-b/default"}}),
    bot("a bot for every namespace", By.SCHEMA, "write the name of one namespace", allowedNamespaces=["*"]),
    bot("more roles than there may be", By.SCHEMA, "must have at most 64 items",
        realmRoles=[f"fl-{n}" for n in range(65)]),
    bot("as many roles as there may be", By.GRANTS, "realmRoles: x-", realmRoles=[f"x-{n}" for n in range(64)]),
    bot("a Federation that is a path", By.SCHEMA, "write the name of a Federation", federationRef={"name": "../local"}),
)  # fmt: skip
_VAULT = (
    token("a path upwards", By.SCHEMA, "none of them", vaultPath="users/{subject}/../../x"),
    token("a path upwards, escaped", By.SCHEMA, "write parts of letters", vaultPath="users/%2e%2e/x"),
    token("slashes, escaped", By.SCHEMA, "write parts of letters", vaultPath="users%2f..%2fx"),
    token("a backslash", By.SCHEMA, "write parts of letters", vaultPath="users\\..\\x"),
    token("a placeholder that there is not", By.GRANTS, "vaultPaths: secret/{uid}/x", "InvalidSpec", "no placeholder",
          vaultPath="{uid}/x"),
    token("a placeholder within one", By.GRANTS, "vaultPaths: secret/{na", "InvalidSpec", "between single slashes",
          vaultPath="{na{name}mespace}/x"),
    token("braces that make a part of two", By.OPERATOR, "", "InvalidSpec", "between single slashes",
          vaultPath="users/{subject}/{{token}}"),
    token("fedid's own folder", By.GRANTS, "vaultPaths: secret/fedid/", "InvalidSpec", "fedid's own",
          vaultPath="fedid/{namespace}/bots/good/client"),
    token("another namespace's folder", By.GRANTS, "vaultPaths: secret/site-b/x", vaultPath="site-b/x"),
    token("another mount", By.GRANTS, "vaultPaths: sys/", vaultMount="sys", vaultPath="{namespace}/x"),
    token("a mount upwards", By.SCHEMA, "write the mount", vaultMount="../sys", vaultPath="x"),
    token("a token for years", By.SCHEMA, "write a lifetime of at most 24h", lifetime="87600h"),
    token("a token for a day", By.GRANTS, "maxTokenLifetime: 24h", "NotGranted", "a lifetime of 24h", lifetime="24h"),
)  # fmt: skip
_PEOPLE = (
    user("a service account's username", By.SCHEMA, "belong to Keycloak's service accounts",
         username="service-account-superlink"),
    user("a username in Cyrillic", By.SCHEMA, "write the username in lower case", username="\u0430dmin"),
    user("a username in capitals", By.SCHEMA, "write the username in lower case", username="Admin"),
    user("a group that is not granted", By.GRANTS, "groups: /staff", groups=["/sites/a", "/staff"]),
    user("a group in another case", By.GRANTS, "groups: /Sites/a", groups=["/Sites/a"]),
    user("a group upwards", By.SCHEMA, "write the full path of one group", groups=["/sites/../staff"]),
    user("a group upwards, escaped", By.OPERATOR, "/sites/%2e%2e/staff", "GroupMissing",
         groups=["/sites/%2e%2e/staff"]),
    user("every group", By.SCHEMA, "write the full path of one group", groups=["/sites/*"]),
    user("a role through a group's composite", By.OPERATOR, f"groups: {GROUP} (it brings realmRoles: ",
         groups=[GROUP]),
    user("a person's role of an administrator", By.GRANTS, "clientRoles: realm-management/realm-admin",
         clientRoles={"realm-management": ["realm-admin"]}),
    user("an attribute that is not granted", By.GRANTS, "attributes: tier", attributes={"tier": ["gold"]}),
    user("the owner mark of another", By.SCHEMA, "fedid", attributes={"fedid.owner": ["x/y"]}),
    user("an account elsewhere", By.GRANTS, "identityProviders: university",
         identityProviderLinks=[{"identityProvider": "university", "userId": "1"}]),
    user("an address that nobody verified", By.GRANTS, "emailVerified: true", emailVerified=True),
    user("the account of somebody else", By.GRANTS, "adopt: true", adopt=True),
    user("an account that stays for ever", By.GRANTS, "retain: true", deletionPolicy="Retain"),
    user("a person with an administrator's role", By.GRANTS, "realmRoles: admin", realmRoles=["admin"]),
)  # fmt: skip
_SERVERS = (
    back("a host that begins granted", By.GRANTS, f"redirectUriPrefixes: {DAI}.evil/app", f"{DAI}.evil/app"),
    back("a path that begins granted", By.GRANTS, f"redirectUriPrefixes: {DAI}/apps", f"{DAI}/apps"),
    back("another port", By.GRANTS, f"redirectUriPrefixes: {DAI}:4433/app", f"{DAI}:4433/app"),
    back("a user in the address", By.SCHEMA, "write the whole address", f"{DAI}@evil.org/app"),
    back("an escaped slash", By.SCHEMA, "write the whole address", f"{DAI}/app/..%2fevil"),
    back("an address upwards", By.SCHEMA, "write the whole address", f"{DAI}/app/../evil"),
    back("an open wildcard", By.SCHEMA, "write the whole address", f"{DAI}/app/*"),
    back("without TLS", By.SCHEMA, "write the whole address", "http://dai.example.org/app"),
    back("a host that looks granted", By.SCHEMA, "write the whole address", "https://d\u0430i.example.org/app"),
    server("a flow that is not granted", By.GRANTS, "oidcFlows: introspection", flows=["introspection"]),
    server("a server that is Keycloak's own client", By.GRANTS, "clientIds: account", clientId="account"),
    Attack("a redirect address by way of the platform", "PodIdentity", {
        "role": "server", "platform": {"driverlessAi": {}}, "oidcClient": {"baseUrl": "https://evil.org"},
    }, By.OPERATOR, "redirectUriPrefixes: https://evil.org/"),
    pods("another namespace's bot", By.OPERATOR, "allowedNamespaces", "NotGranted",
         botClientRef={"name": "good", "namespace": "NEIGHBOUR"}),
    pods("a stranger's Secret", By.OPERATOR, "exists and was not made by fedid", "Conflict", secretName="strangers"),
    pods("a Secret elsewhere", By.SCHEMA, "spec.secretName", "", secretName="../kube-system/x"),
)  # fmt: skip
_WAYS_ROUND = (
    Attack("by an update", "BotClient", {"realmRoles": ["fl-client", "offline_access"]}, By.GRANTS,
           "realmRoles: offline_access", patches="good"),
    Attack("by a name that is made up", "BotClient", {"realmRoles": ["offline_access"]}, By.GRANTS,
           "realmRoles: offline_access", metadata={"generateName": "mallory-"}),
    Attack("by an owner reference", "BotClient", {"realmRoles": ["offline_access"]}, By.GRANTS,
           "realmRoles: offline_access", metadata={"ownerReferences": [{
               "apiVersion": "fedid.io/v1alpha1", "kind": "BotClient", "name": "good", "uid": "GOODS-UID"}]}),
    Attack("by a label and an annotation", "BotClient", {"realmRoles": ["offline_access"]}, By.GRANTS,
           "realmRoles: offline_access", metadata={"labels": {"fedid.io/part-of": "fedid"},
                                                   "annotations": {"fedid.io/rotate": "all"}}),
    Attack("by a status that claims another's client", "BotClient", {"clientUuid": "NEIGHBOURS-UUID"}, By.GUARD,
           "the status of an identity is the operator's", patches="good/status"),
    Attack("by a status that says granted", "BotClient", {"federation": "local", "conditions": []}, By.GUARD,
           "the status of an identity is the operator's", patches="good/status"),
    Attack("by a finalizer that says it was begun", "BotClient", {"realmRoles": ["fl-client"]},
           By.GUARD, "so the operator sets it", metadata={"finalizers": ["fedid.io/revoke"]}),
    Attack("by giving up", "BotClient", {}, By.GUARD, "gives up on the proof", patches="good",
           metadata={"annotations": {"fedid.io/force-release": "never mind"}}),
    Attack("by taking the finalizer off", "BotClient", {}, By.GUARD, "the finalizer of fedid.io stays",
           patches="good", metadata={"finalizers": None}),
)  # fmt: skip

ATTACKS = (*_NAMES, *_VAULT, *_PEOPLE, *_SERVERS, *_WAYS_ROUND)
