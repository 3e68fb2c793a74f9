"""Bad manifests are refused by the API server, each with one sentence that says what to write."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.crds.manifests import (
    BOT,
    CERTIFICATE,
    FEDERATION,
    GONE,
    POD,
    USER,
    Manifest,
    changed,
    collection,
)
from tests.testbed.rest import Rest

Row = tuple[str, Mapping[str, Any], str, str]
"""Sentence that names the mistake, the change that makes it, the field told, words of the advice."""

PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
GRANT = "spec.grants.0"
FILES = "spec.platform.generic.files"

FEDERATION_ROWS: list[Row] = [
    (
        "a Federation needs a spec",
        {"spec": GONE},
        "spec",
        "Required value",
    ),
    ("a Federation has no Keycloak", {"spec.keycloak": GONE}, "spec.keycloak", "Required value"),
    ("a Federation has no Vault", {"spec.vault": GONE}, "spec.vault", "Required value"),
    ("Keycloak has no URL", {"spec.keycloak.url": GONE}, "spec.keycloak.url", "Required value"),
    ("Keycloak has no realm", {"spec.keycloak.realm": GONE}, "spec.keycloak.realm", "Required value"),
    ("Keycloak has no auth", {"spec.keycloak.auth": GONE}, "spec.keycloak.auth", "Required value"),
    (
        "the Keycloak Secret has no name",
        {"spec.keycloak.auth.clientCredentials.secretName": GONE},
        "spec.keycloak.auth.clientCredentials.secretName",
        "Required value",
    ),
    ("Vault has no URL", {"spec.vault.url": GONE}, "spec.vault.url", "Required value"),
    ("Vault has no auth", {"spec.vault.auth": GONE}, "spec.vault.auth", "Required value"),
    (
        "the sign-in to Vault has no role",
        {"spec.vault.auth.jwt.role": GONE},
        "spec.vault.auth.jwt.role",
        "Required value",
    ),
    ("a grant is about nobody", {"spec.grants.0.namespaces": GONE}, "spec.grants[0].namespaces", "Required value"),
    (
        "a selector has a condition without a key",
        {f"{GRANT}.namespaces": {"selector": {"matchExpressions": [{"operator": "Exists"}]}}},
        "spec.grants[0].namespaces.selector.matchExpressions[0].key",
        "Required value",
    ),
    (
        "a selector has a condition without an operator",
        {f"{GRANT}.namespaces": {"selector": {"matchExpressions": [{"key": "tier"}]}}},
        "spec.grants[0].namespaces.selector.matchExpressions[0].operator",
        "Required value",
    ),
    (
        "a Federation name is too long for federationRef",
        {"metadata.name": "f" * 64},
        "metadata.name",
        "at most 63 characters",
    ),
    (
        "the Keycloak URL has no scheme",
        {"spec.keycloak.url": "keycloak.example.org"},
        "spec.keycloak.url",
        "such as https://keycloak.example.org",
    ),
    (
        "the Keycloak URL ends with a slash",
        {"spec.keycloak.url": "https://keycloak.example.org/"},
        "spec.keycloak.url",
        "without trailing slash",
    ),
    (
        "the Keycloak URL carries a password",
        {"spec.keycloak.url": "https://admin:c2VjcmV0@keycloak.example.org"},
        "spec.keycloak.url",
        "no user or password",
    ),
    (
        "the Keycloak URL has a query",
        {"spec.keycloak.url": "https://keycloak.example.org?realm=fl"},
        "spec.keycloak.url",
        "query",
    ),
    (
        "the Keycloak URL has another scheme",
        {"spec.keycloak.url": "ldap://keycloak.example.org"},
        "spec.keycloak.url",
        "http or https",
    ),
    (
        "the Keycloak URL contains the realm",
        {"spec.keycloak.url": "https://keycloak.example.org/realms/fl"},
        "spec.keycloak.url",
        "leave out /realms/<realm> and name the realm in `realm`",
    ),
    (
        "the issuer is of another realm",
        {"spec.keycloak.issuerUrl": "https://login.example.org/realms/other"},
        "spec.keycloak.issuerUrl",
        "ends in /realms/<realm>",
    ),
    (
        "the issuer has a fragment",
        {"spec.keycloak.issuerUrl": "https://login.example.org#/realms/fl"},
        "spec.keycloak.issuerUrl",
        "fragment",
    ),
    (
        "the issuer carries a password",
        {"spec.keycloak.issuerUrl": "https://admin:c2VjcmV0@login.example.org/realms/fl"},
        "spec.keycloak.issuerUrl",
        "no user or password",
    ),
    (
        "the realm is a path",
        {"spec.keycloak.realm": "../master"},
        "spec.keycloak.realm",
        "as it stands in /realms/<realm>",
    ),
    (
        "the realm is two dots",
        {"spec.keycloak.realm": ".."},
        "spec.keycloak.realm",
        "as it stands in /realms/<realm>",
    ),
    (
        "Keycloak has no way to sign in",
        {"spec.keycloak.auth": {}},
        "spec.keycloak.auth",
        "clientCredentials: {secretName:",
    ),
    (
        "the Keycloak Secret has a namespace before it",
        {"spec.keycloak.auth.clientCredentials.secretName": "fedid-system/fedid-keycloak"},
        "spec.keycloak.auth.clientCredentials.secretName",
        "without a namespace before it",
    ),
    (
        "the Keycloak caBundle holds a private key",
        {"spec.keycloak.caBundle": CERTIFICATE + PRIVATE_KEY},
        "spec.keycloak.caBundle",
        "remove the private key",
    ),
    (
        "the Keycloak caBundle is base64 of a certificate",
        {"spec.keycloak.caBundle": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"},
        "spec.keycloak.caBundle",
        "neither a file name nor base64",
    ),
    (
        "the Vault caBundle holds a private key",
        {"spec.vault.caBundle": PRIVATE_KEY},
        "spec.vault.caBundle",
        "remove the private key",
    ),
    (
        "the Vault caBundle is a file name",
        {"spec.vault.caBundle": "/etc/ssl/ca.pem"},
        "spec.vault.caBundle",
        "neither a file name nor base64",
    ),
    (
        "the Vault URL ends with the API version",
        {"spec.vault.url": "https://vault.example.org/v1"},
        "spec.vault.url",
        "leave out /v1",
    ),
    (
        "the Vault URL carries a password",
        {"spec.vault.url": "https://root:c2VjcmV0@vault.example.org"},
        "spec.vault.url",
        "no user or password",
    ),
    (
        "the Vault URL ends with a slash",
        {"spec.vault.url": "https://vault.example.org:8200/"},
        "spec.vault.url",
        "such as https://vault.example.org:8200",
    ),
    (
        "the Vault mount ends with a slash",
        {"spec.vault.mount": "secret/"},
        "spec.vault.mount",
        "without leading or trailing slash",
    ),
    (
        "the KV version does not exist",
        {"spec.vault.kvVersion": 3},
        "spec.vault.kvVersion",
        'supported values: "1", "2"',
    ),
    (
        "the path prefix climbs out",
        {"spec.vault.pathPrefix": "fedid/../other"},
        "spec.vault.pathPrefix",
        "never `.` or `..` as a segment",
    ),
    (
        "the path prefix begins with a slash",
        {"spec.vault.pathPrefix": "/fedid"},
        "spec.vault.pathPrefix",
        "no slash at either end",
    ),
    (
        "the path prefix has an empty segment",
        {"spec.vault.pathPrefix": "teams//fedid"},
        "spec.vault.pathPrefix",
        "single slashes",
    ),
    (
        "Vault has no way to sign in",
        {"spec.vault.auth": {}},
        "spec.vault.auth",
        "jwt: {role:",
    ),
    (
        "the JWT mount repeats auth/",
        {"spec.vault.auth.jwt.mount": "auth/jwt"},
        "spec.vault.auth.jwt.mount",
        "without auth/ before it",
    ),
    (
        "the Vault role is a path",
        {"spec.vault.auth.jwt.role": "auth/jwt/role/fedid"},
        "spec.vault.auth.jwt.role",
        "bare name of the Vault role",
    ),
    (
        "the default lifetime is in days",
        {"spec.defaults.tokenLifetime": "1d"},
        "spec.defaults.tokenLifetime",
        "from 10s to 24h",
    ),
    (
        "the default lifetime is a bare number",
        {"spec.defaults.tokenLifetime": "600"},
        "spec.defaults.tokenLifetime",
        "such as 10m or 1h30m",
    ),
    (
        "the resync period is too short",
        {"spec.defaults.resyncPeriod": "4s"},
        "spec.defaults.resyncPeriod",
        "from 5s to 24h",
    ),
    (
        "the resync period is too long",
        {"spec.defaults.resyncPeriod": "24h1s"},
        "spec.defaults.resyncPeriod",
        "from 5s to 24h",
    ),
    (
        "a grant names no namespaces",
        {f"{GRANT}.namespaces": {}},
        "spec.grants[0].namespaces",
        "names: [<namespace>], or selector",
    ),
    (
        "a grant has a wildcard for namespaces",
        {f"{GRANT}.namespaces.names": ["site-*"]},
        "spec.grants[0].namespaces.names[0]",
        "use selector with a label",
    ),
    (
        "a grant has an empty selector",
        {f"{GRANT}.namespaces": {"selector": {}}},
        "spec.grants[0].namespaces.selector",
        "would cover every namespace",
    ),
    (
        "a grant has a selector with an empty list",
        {f"{GRANT}.namespaces": {"selector": {"matchLabels": {}, "matchExpressions": []}}},
        "spec.grants[0].namespaces.selector",
        "key: kubernetes.io/metadata.name",
    ),
    (
        "a selector wants a label in no values",
        {f"{GRANT}.namespaces": {"selector": {"matchExpressions": [{"key": "tier", "operator": "In"}]}}},
        "spec.grants[0].namespaces.selector.matchExpressions[0]",
        "In and NotIn need values",
    ),
    (
        "a selector wants a label to exist with a value",
        {
            f"{GRANT}.namespaces": {
                "selector": {"matchExpressions": [{"key": "tier", "operator": "Exists", "values": ["a"]}]}
            }
        },
        "spec.grants[0].namespaces.selector.matchExpressions[0]",
        "Exists and DoesNotExist take none",
    ),
    (
        "a selector has an unknown operator",
        {f"{GRANT}.namespaces": {"selector": {"matchExpressions": [{"key": "tier", "operator": "Equals"}]}}},
        "spec.grants[0].namespaces.selector.matchExpressions[0].operator",
        '"In", "NotIn", "Exists", "DoesNotExist"',
    ),
    (
        "a label in a condition has blanks",
        {f"{GRANT}.namespaces": {"selector": {"matchExpressions": [{"key": "a tier", "operator": "Exists"}]}}},
        "spec.grants[0].namespaces.selector.matchExpressions[0].key",
        "<prefix>/<name>",
    ),
    (
        "a value in a condition has blanks",
        {
            f"{GRANT}.namespaces": {
                "selector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["very gold"]}]}
            }
        },
        "spec.grants[0].namespaces.selector.matchExpressions[0].values[0]",
        "write a label value",
    ),
    (
        "a label that is matched has blanks",
        {f"{GRANT}.namespaces": {"selector": {"matchLabels": {"fedid.io/tenant": "yes please"}}}},
        "spec.grants[0].namespaces.selector.matchLabels[fedid.io/tenant]",
        "write a label value",
    ),
    (
        "a label key has two slashes",
        {f"{GRANT}.namespaces": {"selector": {"matchLabels": {"a/b/c": "x"}}}},
        "spec.grants[0].namespaces.selector.matchLabels",
        "<prefix>/<name>",
    ),
    (
        "a granted role has its * in the middle",
        {f"{GRANT}.realmRoles": ["fl-*-admin"]},
        "spec.grants[0].realmRoles[0]",
        "one `*` at the very end",
    ),
    (
        "a granted role has two *",
        {f"{GRANT}.realmRoles": ["fl-**"]},
        "spec.grants[0].realmRoles[0]",
        "one `*` at the very end",
    ),
    (
        "a granted role is said twice",
        {f"{GRANT}.realmRoles": ["fl-client", "fl-client"]},
        "spec.grants[0].realmRoles[1]",
        "Duplicate value",
    ),
    (
        "client roles are granted of a wildcard client",
        {f"{GRANT}.clientRoles": {"super*": ["submit"]}},
        "spec.grants[0].clientRoles",
        "write each client id in full",
    ),
    (
        "a granted client role has its * in front",
        {f"{GRANT}.clientRoles": {"superlink": ["*-admin"]}},
        "spec.grants[0].clientRoles[superlink][0]",
        "one `*` at the very end",
    ),
    (
        "a grant hands out all roles of realm-management",
        {f"{GRANT}.clientRoles": {"realm-management": ["view-users", "*"]}},
        "spec.grants[0].clientRoles",
        "administer the realm; list each in full",
    ),
    (
        "a granted group lacks its slash",
        {f"{GRANT}.groups": ["sites/a"]},
        "spec.grants[0].groups[0]",
        "with a leading slash, such as /sites/a",
    ),
    (
        "a granted group ends with a slash",
        {f"{GRANT}.groups": ["/sites/"]},
        "spec.grants[0].groups[0]",
        "such as /sites/*",
    ),
    (
        "a granted audience has a blank",
        {f"{GRANT}.audiences": ["super link"]},
        "spec.grants[0].audiences[0]",
        "no blanks",
    ),
    (
        "a granted client id has a slash",
        {f"{GRANT}.clientIds": ["partner/*"]},
        "spec.grants[0].clientIds[0]",
        "such as partner-*",
    ),
    (
        "the longest granted lifetime is too short to be one",
        {f"{GRANT}.maxTokenLifetime": "1s"},
        "spec.grants[0].maxTokenLifetime",
        "from 10s to 24h",
    ),
]

BOT_ROWS: list[Row] = [
    (
        "a BotClient name is too long for its paths",
        {"metadata.name": "b" * 64},
        "metadata.name",
        "at most 63 characters",
    ),
    (
        "a BotClient has no spec",
        {"spec": GONE},
        "spec",
        "Required value",
    ),
    (
        "the federationRef of a bot is empty",
        {"spec.federationRef": {}},
        "spec.federationRef.name",
        "Required value",
    ),
    (
        "federationRef is a plain string",
        {"spec.federationRef": "local"},
        "spec.federationRef",
        "must be of type object",
    ),
    (
        "federationRef names no resource",
        {"spec.federationRef": {"name": "Local Federation"}},
        "spec.federationRef.name",
        "`kubectl get federations`",
    ),
    (
        "the client id has a slash",
        {"spec.clientId": "site-a/trainer"},
        "spec.clientId",
        "such as site-a.trainer",
    ),
    (
        "the client id is longer than its service account can be",
        {"spec.clientId": "c" * 240},
        "spec.clientId",
        "service-account-<clientId>",
    ),
    (
        "the client id is Keycloak's admin console",
        {"spec.clientId": "security-admin-console"},
        "spec.clientId",
        "one of Keycloak's own clients",
    ),
    (
        "the client id is realm-management",
        {"spec.clientId": "realm-management"},
        "spec.clientId",
        "leave clientId out",
    ),
    (
        "the description is longer than Keycloak's column",
        {"spec.description": "d" * 256},
        "spec.description",
        "may not be more than 255",
    ),
    (
        "a bot asks for a wildcard role",
        {"spec.realmRoles": ["fl-*"]},
        "spec.realmRoles[0]",
        "`*` is for grants only",
    ),
    (
        "a bot asks for a role that is two dots",
        {"spec.realmRoles": [".."]},
        "spec.realmRoles[0]",
        "full name of one realm role",
    ),
    (
        "a bot asks for a role twice",
        {"spec.realmRoles": ["fl-client", "fl-client"]},
        "spec.realmRoles[1]",
        "Duplicate value",
    ),
    (
        "a bot asks for more roles than a bot can have",
        {"spec.realmRoles": [f"role-{i}" for i in range(65)]},
        "spec.realmRoles",
        "must have at most 64 items",
    ),
    (
        "a bot asks for wildcard client roles",
        {"spec.clientRoles": {"superlink": ["*"]}},
        "spec.clientRoles[superlink][0]",
        "full name of one role of that client",
    ),
    (
        "a bot asks for roles of a client without a name",
        {"spec.clientRoles": {"": ["submit"]}},
        "spec.clientRoles",
        "write each client id in full",
    ),
    (
        "an audience has blanks",
        {"spec.audiences": ["super link"]},
        "spec.audiences[0]",
        "one audience in full, such as superlink",
    ),
    (
        "a token has no name",
        {"spec.tokens": [{"lifetime": "10m"}]},
        "spec.tokens[0].name",
        "Required value",
    ),
    (
        "a token name is in capitals",
        {"spec.tokens.0.name": "Default"},
        "spec.tokens[0].name",
        "lower-case letters, digits and `-`",
    ),
    (
        "a token name is used twice",
        {"spec.tokens": [{"name": "default"}, {"name": "default"}]},
        "spec.tokens[1]",
        "Duplicate value",
    ),
    (
        "a token is of an unknown type",
        {"spec.tokens.0.type": "opaque"},
        "spec.tokens[0].type",
        'supported values: "jwt"',
    ),
    (
        "a token lives too long",
        {"spec.tokens.0.lifetime": "48h"},
        "spec.tokens[0].lifetime",
        "from 10s to 24h",
    ),
    (
        "a token lives no time",
        {"spec.tokens.0.lifetime": "0s"},
        "spec.tokens[0].lifetime",
        "from 10s to 24h",
    ),
    (
        "a token lives a negative time",
        {"spec.tokens.0.lifetime": "-10m"},
        "spec.tokens[0].lifetime",
        "such as 10m or 1h30m",
    ),
    (
        "a lifetime is longer than a number can say",
        {"spec.tokens.0.lifetime": "99999999999999h"},
        "spec.tokens[0].lifetime",
        "such as 10m or 1h30m",
    ),
    (
        "two tokens live differently long",
        {"spec.tokens": [{"name": "a", "lifetime": "10m"}, {"name": "b", "lifetime": "20m"}]},
        "spec.tokens",
        "share one lifetime",
    ),
    (
        "of two tokens only one says how long it lives",
        {"spec.tokens": [{"name": "a"}, {"name": "b", "lifetime": "20m"}]},
        "spec.tokens",
        "or for none",
    ),
]

USER_ROWS: list[Row] = [
    (
        "a FederationUser name is too long for its mark",
        {"metadata.name": "u" * 64},
        "metadata.name",
        "username may be longer",
    ),
    (
        "a user has no username",
        {"spec.username": GONE},
        "spec.username",
        "Required value",
    ),
    (
        "the federationRef of a user is empty",
        {"spec.federationRef": {}},
        "spec.federationRef.name",
        "Required value",
    ),
    (
        "the federationRef of a user names no resource",
        {"spec.federationRef": {"name": "Local Federation"}},
        "spec.federationRef.name",
        "`kubectl get federations`",
    ),
    ("a FederationUser has no spec", {"spec": GONE}, "spec", "Required value"),
    (
        "a username has capitals",
        {"spec.username": "Ana"},
        "spec.username",
        "in lower case, as Keycloak stores it",
    ),
    (
        "a username has a blank",
        {"spec.username": "ana novak"},
        "spec.username",
        "letters a-z, digits",
    ),
    (
        "a username is that of a service account",
        {"spec.username": "service-account-superlink"},
        "spec.username",
        "write a BotClient",
    ),
    (
        "an e-mail address has capitals",
        {"spec.email": "Ana@site-a.example"},
        "spec.email",
        "in lower case, as Keycloak stores it",
    ),
    (
        "an e-mail address has no @",
        {"spec.email": "ana.site-a.example"},
        "spec.email",
        "such as ana@site-a.example",
    ),
    (
        "an e-mail address has a name around it",
        {"spec.email": "ana <ana@site-a.example>"},
        "spec.email",
        "one e-mail address",
    ),
    (
        "an e-mail address has 65 characters before the @",
        {"spec.email": "a" * 65 + "@site-a.example"},
        "spec.email",
        "at most 64 characters before the @",
    ),
    (
        "a first name has markup",
        {"spec.firstName": "<b>Ana</b>"},
        "spec.firstName",
        "Keycloak refuses these characters in names",
    ),
    (
        "a last name has a paragraph sign",
        {"spec.lastName": "Novak §"},
        "spec.lastName",
        "Keycloak refuses these characters in names",
    ),
    (
        "a last name has a line break",
        {"spec.lastName": "No\nvak"},
        "spec.lastName",
        "line breaks",
    ),
    (
        "a last name is blank",
        {"spec.lastName": "  "},
        "spec.lastName",
        "without blanks at its ends",
    ),
    (
        "enabled is a word",
        {"spec.enabled": "yes"},
        "spec.enabled",
        "must be of type boolean",
    ),
    (
        "a group lacks its slash",
        {"spec.groups": ["sites/a"]},
        "spec.groups[0]",
        "with a leading slash",
    ),
    (
        "a group climbs out of its path",
        {"spec.groups": ["/sites/../admins"]},
        "spec.groups[0]",
        "full path of one group",
    ),
    (
        "a group is a wildcard",
        {"spec.groups": ["/sites/*"]},
        "spec.groups[0]",
        "`*` is for grants only",
    ),
    (
        "a user asks for a wildcard role",
        {"spec.realmRoles": ["fl-*"]},
        "spec.realmRoles[0]",
        "such as fl-member",
    ),
]

POD_ROWS: list[Row] = [
    (
        "a PodIdentity name is too long for labels",
        {"metadata.name": "p" * 64},
        "metadata.name",
        "secretName may be longer",
    ),
    ("a PodIdentity has no spec", {"spec": GONE}, "spec", "Required value"),
    ("a pod has no platform at all", {"spec.platform": GONE}, "spec.platform", "Required value"),
    ("a pod names a bot without a name", {"spec.botClientRef": {}}, "spec.botClientRef.name", "Required value"),
    ("a generic pod has no files", {"spec.platform.generic": {}}, "spec.platform.generic.files", "Required value"),
    (
        "a pod has no role",
        {"spec.role": GONE},
        "spec.role",
        "Required value",
    ),
    (
        "a pod has an unknown role",
        {"spec.role": "server"},
        "spec.role",
        'supported values: "client"',
    ),
    (
        "a pod names no bot",
        {"spec.botClientRef": GONE},
        "spec.botClientRef",
        "Required value",
    ),
    (
        "a pod names the bot of another namespace",
        {"spec.botClientRef.name": "site-b/trainer"},
        "spec.botClientRef.name",
        "a BotClient of this namespace",
    ),
    (
        "a pod has no platform",
        {"spec.platform": {}},
        "spec.platform",
        "generic: {files:",
    ),
    (
        "a pod mounts no file",
        {FILES: {}},
        FILES,
        "name at least one file",
    ),
    (
        "a file lies in a folder",
        {FILES: {"etc/token": "{token}"}},
        FILES,
        "a Secret, which has no folders",
    ),
    (
        "a file is called ..",
        {FILES: {"..": "{token}"}},
        FILES,
        "not beginning with `..`",
    ),
    (
        "a file begins with two dots",
        {FILES: {"..data": "{token}"}},
        FILES,
        "not beginning with `..`",
    ),
    (
        "a file name is too long for a Secret",
        {FILES: {"k" * 254: "{token}"}},
        FILES,
        "at most 253 characters",
    ),
    (
        "a placeholder is misspelt",
        {FILES: {"token": "{Token}"}},
        f"{FILES}[token]",
        "placeholders are {token}, {token:<name>}",
    ),
    (
        "a placeholder is of another language",
        {FILES: {"token": "${TOKEN}"}},
        f"{FILES}[token]",
        "{introspectionUrl} and {jwksUrl}",
    ),
    (
        "a placeholder reaches for attributes",
        {FILES: {"token": "{token.__class__}"}},
        f"{FILES}[token]",
        "placeholders are",
    ),
    (
        "a placeholder has a blank",
        {FILES: {"token": "{ token }"}},
        f"{FILES}[token]",
        "placeholders are",
    ),
    (
        "a placeholder names a token in capitals",
        {FILES: {"token": "{token:Metrics}"}},
        f"{FILES}[token]",
        "{token:<name>}",
    ),
    (
        "a placeholder names no token",
        {FILES: {"token": "{token:}"}},
        f"{FILES}[token]",
        "{token:<name>}",
    ),
    (
        "JSON has single braces",
        {FILES: {"oidc.json": '{"id": "{clientId}"}'}},
        f"{FILES}[oidc.json]",
        "write a literal brace twice",
    ),
    (
        "a brace is left open",
        {FILES: {"token": "{token"}},
        f"{FILES}[token]",
        "write a literal brace twice",
    ),
    (
        "a brace is closed once too often",
        {FILES: {"token": "{token}}"}},
        f"{FILES}[token]",
        "{{ or }}",
    ),
    (
        "a template is longer than 16 KiB",
        {FILES: {"token": "x" * 16385}},
        f"{FILES}.token",
        "may not be more than 16384",
    ),
    (
        "a Secret name has an underscore",
        {"spec.secretName": "trainer_credential"},
        "spec.secretName",
        "such as trainer-credential",
    ),
]


def _parameters() -> list[Any]:
    tables = ((FEDERATION, FEDERATION_ROWS), (BOT, BOT_ROWS), (USER, USER_ROWS), (POD, POD_ROWS))
    return [
        pytest.param(changed(good, changes), field, advice, id=sentence)
        for good, rows in tables
        for sentence, changes, field, advice in rows
    ]


@pytest.mark.parametrize(("manifest", "field", "advice"), _parameters())
def test_bad_manifest_is_refused(kube: Rest, namespace: str, manifest: Manifest, field: str, advice: str) -> None:
    """The refusal names the field and says what to write, and a credential is not repeated in it."""
    answer = kube.answer("POST", f"{collection(manifest, namespace)}?dryRun=All", manifest)

    assert answer.status == 422, answer.text
    assert field in answer.body["message"]
    assert advice in answer.body["message"]
    assert "c2VjcmV0" not in answer.text
    told = [cause for cause in answer.body["details"]["causes"] if cause["field"] != "<nil>"]
    assert len({cause["field"] for cause in told}) <= 1, "one mistake, one sentence"


UNKNOWN = [
    pytest.param(FEDERATION, "spec.keycloak.auth.token", id="a token cannot be written into a Federation"),
    pytest.param(FEDERATION, "spec.grant", id="grants is misspelt"),
    pytest.param(BOT, "spec.clientSecret", id="a client secret cannot be written into a BotClient"),
    pytest.param(BOT, "spec.expiresAt", id="a BotClient cannot expire yet"),
    pytest.param(USER, "spec.password", id="a password cannot be written into a FederationUser"),
    pytest.param(POD, "spec.botClientRef.namespace", id="a pod cannot mount across namespaces yet"),
]


@pytest.mark.parametrize(("good", "path"), UNKNOWN)
def test_unknown_field_is_refused(kube: Rest, namespace: str, good: Manifest, path: str) -> None:
    """A field that does not work yet is refused under kubectl's strict validation, never ignored."""
    manifest = changed(good, {path: "x"})
    query = "?dryRun=All&fieldValidation=Strict"

    answer = kube.answer("POST", collection(manifest, namespace) + query, manifest)

    assert answer.status == 400, answer.text
    assert f'unknown field "{path}"' in answer.body["message"]
