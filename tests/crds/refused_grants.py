"""Mistakes in the grants of a Federation, and what the API server says to each."""

from tests.crds.manifests import GONE, Row

GRANT = "spec.grants.0"

GRANT_ROWS: list[Row] = [
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
