"""Mistakes in a Federation, and what the API server says to each."""

from tests.crds.manifests import CERTIFICATE, GONE, Row

PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
GRANT = "spec.grants.0"
FGA = {
    "url": "https://openfga.example.org",
    "storeId": "01JZ0M9Q3V5W8X2Y4A6B7C8D9E",
    "auth": {"none": {}},
}

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
    *(
        (f"a grant of {path}", {f"{GRANT}.vaultPaths": [path]}, "spec.grants[0].vaultPaths[0]", "a mount and a path")
        for path in ("*", "secrets", "/secrets/x", "secrets/../sys/*", "secrets/a*b", "a b/c")
    ),
    *(
        (
            f"a grant of {url!r}",
            {f"{GRANT}.superlinkUrls": [url]},
            "spec.grants[0].superlinkUrls[0]",
            "in small letters",
        )
        for url in ("https://*", "http://superlink:8000", "https://a:8000/x", "https://a@b:8000", "https://A:8000")
    ),
    *(
        (
            f"a grant of addresses below {prefix}",
            {f"{GRANT}.redirectUriPrefixes": [prefix]},
            "spec.grants[0].redirectUriPrefixes[0]",
            "only as the last segment",
        )
        for prefix in (
            "https://*",
            "https://*.example.org/",
            "https://a.example.org*",
            "https://a.example.org/x*",
            "https://a.example.org/../x",
            "https://u@a.example.org/",
            "http://a.example.org/",
            "https://a.example.org/x?y",
        )
    ),
    (
        "a grant of every flow",
        {f"{GRANT}.oidcFlows": ["*"]},
        "spec.grants[0].oidcFlows[0]",
        "supported values",
    ),
    (
        "secrets change all the time by default",
        {"spec.defaults.rotationPeriod": "10s"},
        "spec.defaults.rotationPeriod",
        "from 1m to 8760h",
    ),
    ("overlaps are none by default", {"spec.defaults.overlap": "0s"}, "spec.defaults.overlap", "from 10s to 720h"),
    (
        "a grant of scopes has a blank",
        {f"{GRANT}.scopes": ["fl read"]},
        "spec.grants[0].scopes[0]",
        "such as fl-*",
    ),
    *(
        (
            f"a grant of the attribute {name}",
            {f"{GRANT}.attributes": [name]},
            "spec.grants[0].attributes[0]",
            "fedid.* belongs to the operator",
        )
        for name in ("fedid.*", "FEDID.owner", "a b", "fl_*_site")
    ),
    (
        "a grant of identity providers has its asterisk in front",
        {f"{GRANT}.identityProviders": ["*-university"]},
        "spec.grants[0].identityProviders[0]",
        "such as university",
    ),
    (
        "a grant of claims has its asterisk within",
        {f"{GRANT}.claims": ["fl_*_site"]},
        "spec.grants[0].claims[0]",
        "such as fl_*",
    ),
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
        "the assertion provider is an address",
        {"spec.keycloak.assertionProvider": "https://kubernetes.default.svc"},
        "spec.keycloak.assertionProvider",
        "write the alias of an identity provider",
    ),
    (
        "the operator signs in to Keycloak in two ways",
        {"spec.keycloak.auth.serviceAccountToken": {}},
        "spec.keycloak.auth",
        "leave exactly one of clientCredentials, privateKeyJwt and serviceAccountToken",
    ),
    (
        "the key for Keycloak is in no Secret",
        {"spec.keycloak.auth": {"privateKeyJwt": {}}},
        "spec.keycloak.auth.privateKeyJwt.secretName",
        "Required value",
    ),
    (
        "the Secret of the key for Keycloak has a namespace before it",
        {"spec.keycloak.auth": {"privateKeyJwt": {"secretName": "fedid-system/key"}}},
        "spec.keycloak.auth.privateKeyJwt.secretName",
        "without a namespace before it",
    ),
    (
        "the operator's client has a blank in its id",
        {"spec.keycloak.auth": {"serviceAccountToken": {"clientId": "fedid operator"}}},
        "spec.keycloak.auth.serviceAccountToken.clientId",
        "it holds no blanks",
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
        "the operator signs in to Vault in two ways",
        {"spec.vault.auth.token": {"secretName": "fedid-vault"}},
        "spec.vault.auth",
        "leave exactly one of jwt, kubernetes, approle and token",
    ),
    (
        "the sign-in at the Kubernetes method has no role",
        {"spec.vault.auth": {"kubernetes": {}}},
        "spec.vault.auth.kubernetes.role",
        "Required value",
    ),
    (
        "the mount of the Kubernetes method repeats auth/",
        {"spec.vault.auth": {"kubernetes": {"role": "fedid", "mount": "auth/kubernetes"}}},
        "spec.vault.auth.kubernetes.mount",
        "without auth/ before it",
    ),
    (
        "the role of the Kubernetes method is a path",
        {"spec.vault.auth": {"kubernetes": {"role": "auth/kubernetes/role/fedid"}}},
        "spec.vault.auth.kubernetes.role",
        "bare name of the Vault role",
    ),
    (
        "the AppRole is in no Secret",
        {"spec.vault.auth": {"approle": {}}},
        "spec.vault.auth.approle.secretName",
        "Required value",
    ),
    (
        "the mount of the AppRole method has a slash",
        {"spec.vault.auth": {"approle": {"secretName": "a", "mount": "approle/"}}},
        "spec.vault.auth.approle.mount",
        "without leading or trailing slash",
    ),
    (
        "the Secret of the AppRole has a namespace before it",
        {"spec.vault.auth": {"approle": {"secretName": "a/b"}}},
        "spec.vault.auth.approle.secretName",
        "without a namespace before it",
    ),
    (
        "the Vault token is in no Secret",
        {"spec.vault.auth": {"token": {}}},
        "spec.vault.auth.token.secretName",
        "Required value",
    ),
    (
        "the Vault token stands in the Federation itself",
        {"spec.vault.auth": {"token": {"secretName": "hvs.CAESIJ"}}},
        "spec.vault.auth.token.secretName",
        "write the name of a Secret",
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
        "admin events are asked for always",
        {"spec.drift.adminEvents": "Always"},
        "spec.drift.adminEvents",
        '"Auto", "Never"',
    ),
    (
        "admin events are read all the time",
        {"spec.drift.eventsInterval": "0s"},
        "spec.drift.eventsInterval",
        "from 1s to 10m",
    ),
    (
        "the sweep comes too rarely",
        {"spec.drift.sweepPeriod": "168h1s"},
        "spec.drift.sweepPeriod",
        "from 5s to 168h",
    ),
    *(
        (f"orphans go {why}", {"spec.orphans.after": after}, "spec.orphans.after", "from 1h to 8760h")
        for why, after in (("too soon", "59m"), ("never", "8761h"), ("some day", "1d"))
    ),
    ("orphans go, maybe", {"spec.orphans.remove": "yes"}, "spec.orphans.remove", "must be of type boolean"),
    ("pages of none", {"spec.drift.pageSize": 0}, "spec.drift.pageSize", "greater than or equal to 1"),
    ("pages too large", {"spec.drift.pageSize": 501}, "spec.drift.pageSize", "less than or equal to 500"),
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
    *(
        (
            f"a granted object of OpenFGA is {pattern}",
            {f"{GRANT}.openFgaObjects": [pattern]},
            "spec.grants[0].openFgaObjects[0]",
            "write <type>:<id>",
        )
        for pattern in ("grid", "*:*", "service:", "service:a*b", "service:{name}", "service:a b", "service:a#*")
    ),
    (
        "OpenFGA has no store",
        {"spec.openFga": {name: value for name, value in FGA.items() if name != "storeId"}},
        "spec.openFga.storeId",
        "Required value",
    ),
    (
        "the store of OpenFGA is a name",
        {"spec.openFga": {**FGA, "storeId": "the-grid-of-our-federation"}},
        "spec.openFga.storeId",
        "as OpenFGA shows it",
    ),
    (
        "the model of OpenFGA is a name",
        {"spec.openFga": {**FGA, "modelId": "the-grid-of-our-federation"}},
        "spec.openFga.modelId",
        "as OpenFGA shows it",
    ),
    (
        "the URL of OpenFGA has a password",
        {"spec.openFga": {**FGA, "url": "https://fedid:secret@openfga.example.org"}},
        "spec.openFga.url",
        "carry no user or password",
    ),
    (
        "the URL of OpenFGA has a query",
        {"spec.openFga": {**FGA, "url": "https://openfga.example.org/?x"}},
        "spec.openFga.url",
        "without trailing slash, query or fragment",
    ),
    (
        "OpenFGA is trusted by a private key",
        {"spec.openFga": {**FGA, "caBundle": PRIVATE_KEY}},
        "spec.openFga.caBundle",
        "certificates only",
    ),
    ("nobody signs in to OpenFGA", {"spec.openFga": {**FGA, "auth": {}}}, "spec.openFga.auth", "exactly one"),
    (
        "OpenFGA is signed in to in two ways",
        {"spec.openFga": {**FGA, "auth": {"none": {}, "presharedKey": {"secretName": "fedid-openfga"}}}},
        "spec.openFga.auth",
        "exactly one",
    ),
    (
        "the key of OpenFGA is in another namespace",
        {"spec.openFga": {**FGA, "auth": {"presharedKey": {"secretName": "fl/openfga"}}}},
        "spec.openFga.auth.presharedKey.secretName",
        "without a namespace before it",
    ),
    (
        "the longest granted lifetime is too short to be one",
        {f"{GRANT}.maxTokenLifetime": "1s"},
        "spec.grants[0].maxTokenLifetime",
        "from 10s to 24h",
    ),
    (
        "a grant lets nobody exist",
        {f"{GRANT}.maxIdentities": 0},
        "spec.grants[0].maxIdentities",
        "greater than or equal to 1",
    ),
]
