"""Mistakes in a BotClient, and what the API server says to each."""

from tests.crds.manifests import GONE, Row

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
