"""Mistakes in the PodIdentity of a server that is a client of Keycloak, and what the API server says to each."""

from tests.crds.manifests import GONE, Manifest, Row

CLIENT = "spec.oidcClient"
DAI = "spec.platform.driverlessAi"
GATE = {"claim": "groups", "objectPath": "$.groups"}

SERVER: Manifest = {
    "apiVersion": "fedid.io/v1alpha1",
    "kind": "PodIdentity",
    "metadata": {"name": "app"},
    "spec": {
        "role": "server",
        "oidcClient": {"flows": ["authorizationCode"], "redirectUris": ["https://app.example.org/cb"]},
        "platform": {"generic": {"files": {"client-secret": "{clientSecret}"}}},
    },
}
DAI_SERVER: Manifest = {
    "apiVersion": "fedid.io/v1alpha1",
    "kind": "PodIdentity",
    "metadata": {"name": "dai"},
    "spec": {
        "role": "server",
        "oidcClient": {"baseUrl": "https://dai.example.org:12345"},
        "platform": {"driverlessAi": {}},
    },
}

LINK = "spec.platform.flower.superLink"
FGA = {"url": "http://openfga.fl:8080", "storeId": "s", "modelId": "m", "object": "service:grid"}
SELECTED = {"selector": {"matchLabels": {"fedid.io/server": "superlink"}}}
SUPER_LINK: Manifest = {
    "apiVersion": "fedid.io/v1alpha1",
    "kind": "PodIdentity",
    "metadata": {"name": "superlink"},
    "spec": {"role": "server", "oidcClient": {}, "platform": {"flower": {"superLink": {"version": "1.41"}}}},
}

CROOKED = (
    "https://app.example.org/*",
    "*",
    "https://*.example.org/cb",
    "http://app.example.org/cb",
    "https://user@app.example.org/cb",
    "https://app.example.org/cb#x",
    "https://app.example.org/cb?x=y",
    "https://app.example.org/../cb",
    "https://app.example.org/%2e%2e/cb",
    "https://app.example.org//cb",
    "https://app.example.org\\cb",
    "https://App.example.org/cb",
    "javascript:alert(1)",
    "/relative",
)

SERVER_ROWS: list[Row] = [
    *(
        (f"a code is sent to {uri}", {f"{CLIENT}.redirectUris": [uri]}, f"{CLIENT}.redirectUris[0]", "write the whole")
        for uri in CROOKED
    ),
    (
        "browsers are sent anywhere after a logout",
        {f"{CLIENT}.postLogoutRedirectUris": ["https://app.example.org/*"]},
        f"{CLIENT}.postLogoutRedirectUris[0]",
        "write the whole address",
    ),
    (
        "a base URL has a wildcard",
        {f"{CLIENT}.baseUrl": "https://app.example.org/*"},
        f"{CLIENT}.baseUrl",
        "without user",
    ),
    ("a flow is none", {f"{CLIENT}.flows": ["password"]}, f"{CLIENT}.flows[0]", "supported values"),
    ("no flow is said", {f"{CLIENT}.flows": GONE}, CLIENT, "say what the server does with its client"),
    ("a code is sent nowhere", {f"{CLIENT}.redirectUris": GONE}, CLIENT, "write oidcClient.redirectUris"),
    (
        "a device has redirect URIs",
        {f"{CLIENT}.flows": ["device"]},
        CLIENT,
        "redirectUris are for the flow authorizationCode",
    ),
    (
        "a public client introspects",
        {f"{CLIENT}.public": True, f"{CLIENT}.flows": ["authorizationCode", "introspection"]},
        CLIENT,
        "need a secret",
    ),
    (
        "a public client rotates its secret",
        {f"{CLIENT}.public": True, f"{CLIENT}.secretRotation": {}},
        CLIENT,
        "no secret to rotate",
    ),
    (
        "an overlap is none",
        {f"{CLIENT}.secretRotation": {"overlap": "1s"}},
        f"{CLIENT}.secretRotation.overlap",
        "from 10s to 720h",
    ),
    (
        "a secret changes with every second",
        {f"{CLIENT}.secretRotation": {"every": "1s"}},
        f"{CLIENT}.secretRotation.every",
        "from 1m to 8760h",
    ),
    (
        "an overlap is longer than a secret is in use",
        {f"{CLIENT}.secretRotation": {"every": "1h", "overlap": "2h"}},
        f"{CLIENT}.secretRotation",
        "shorter than every",
    ),
    ("a client id has a blank", {f"{CLIENT}.clientId": "a b"}, f"{CLIENT}.clientId", "letters, digits"),
    ("an audience is everybody", {f"{CLIENT}.audiences": ["*"]}, f"{CLIENT}.audiences[0]", "in full"),
    (
        "all client scopes",
        {f"{CLIENT}.defaultScopes": ["fl-*"]},
        f"{CLIENT}.defaultScopes[0]",
        "the name of one client scope in full",
    ),
    ("a client scope with a blank", {f"{CLIENT}.optionalScopes": ["a b"]}, f"{CLIENT}.optionalScopes[0]", "no blanks"),
    (
        "a client scope is asked for in both ways",
        {f"{CLIENT}.defaultScopes": ["a", "b"], f"{CLIENT}.optionalScopes": ["b"]},
        CLIENT,
        "default or optional, never both",
    ),
    (
        "a bot's pod has a client of its own",
        {"spec.role": "client", "spec.botClientRef": {"name": "trainer"}},
        CLIENT,
        "oidcClient is the Keycloak client of a server",
    ),
]

DAI_ROWS: list[Row] = [
    ("Driverless AI has no client", {CLIENT: GONE}, CLIENT, "driverlessAi signs users in"),
    ("Driverless AI has no address", {f"{CLIENT}.baseUrl": GONE}, CLIENT, "driverlessAi signs users in"),
    ("Driverless AI is public", {f"{CLIENT}.public": True}, CLIENT, "needs a secret"),
    ("Driverless AI signs nobody in", {f"{CLIENT}.flows": ["device"]}, CLIENT, "needs the flow authorizationCode"),
    (
        "Driverless AI takes tokens that it cannot check",
        {f"{CLIENT}.flows": ["authorizationCode"], f"{DAI}.pythonClient": {}},
        CLIENT,
        "introspection with pythonClient",
    ),
    ("a format is none", {f"{DAI}.format": "toml"}, f"{DAI}.format", "supported values"),
    (
        "the older method reads ID tokens",
        {f"{DAI}.method": "openid", f"{DAI}.identitySource": "idToken"},
        DAI,
        "are for method: oidc",
    ),
    (
        "the older method has a key of the newer",
        {f"{DAI}.method": "openid", f"{DAI}.usernameClaimKey": "auth_oidc_username_claim"},
        DAI,
        "are for method: oidc",
    ),
    ("a key is made up", {f"{DAI}.usernameClaimKey": "auth_key"}, f"{DAI}.usernameClaimKey", "supported values"),
    ("a scope has a blank", {f"{DAI}.scopes": ["a b"]}, f"{DAI}.scopes[0]", "without blanks"),
    ("a gate lets everybody in", {f"{DAI}.gate": {"claim": "groups"}}, f"{DAI}.gate", "exactly one of"),
    (
        "a gate has two conditions",
        {f"{DAI}.gate": {**GATE, "source": "UserAttribute", "value": "x"}},
        f"{DAI}.gate",
        "exactly one of",
    ),
    (
        "a gate compares a list with a word",
        {f"{DAI}.gate": {"claim": "groups", "value": "/a"}},
        f"{DAI}.gate",
        "groups are a list",
    ),
    (
        "a gate has two lines",
        {f"{DAI}.gate": {**GATE, "objectPath": "a\nb"}},
        f"{DAI}.gate.objectPath",
        "in one line",
    ),
    (
        "a program has the options of a server",
        {
            "spec.role": "client",
            "spec.botClientRef": {"name": "trainer"},
            CLIENT: GONE,
            f"{DAI}.format": "Environment",
        },
        DAI,
        "for role: server",
    ),
    (
        "two platforms at once",
        {"spec.platform.generic": {"files": {"a": "b"}}},
        "spec.platform",
        "exactly one platform",
    ),
]

LINK_ROWS: list[Row] = [
    ("a SuperLink signs in without a client", {CLIENT: GONE}, CLIENT, "write role: server and oidcClient"),
    ("a SuperLink is public", {f"{CLIENT}.public": True}, CLIENT, "needs a secret and the flow device"),
    ("a SuperLink signs in with a browser", {f"{CLIENT}.flows": ["introspection"]}, CLIENT, "the flow device"),
    ("a SuperLink has no version", {f"{LINK}.version": GONE}, f"{LINK}.version", "Required value"),
    ("a SuperLink is of the future", {f"{LINK}.version": "2.0"}, f"{LINK}.version", "such as 1.41"),
    ("an old SuperLink lets everybody in", {f"{LINK}.version": "1.33"}, LINK, "openFga is needed"),
    ("a new SuperLink asks OpenFGA", {f"{LINK}.openFga": FGA}, LINK, "from 1.34 on there is none"),
    (
        "an old SuperLink skips a check that it has not",
        {f"{LINK}.version": "1.22", f"{LINK}.openFga": FGA, f"{LINK}.verifyTls": False},
        LINK,
        "verifyTls is for 1.34",
    ),
    (
        "an object of OpenFGA has no type",
        {f"{LINK}.version": "1.30", f"{LINK}.openFga": {**FGA, "object": "grid"}},
        f"{LINK}.openFga.object",
        "such as service:grid",
    ),
    (
        "a SuperLink lets in every user",
        {f"{LINK}.version": "1.30", f"{LINK}.openFga": {**FGA, "users": {"selector": {}}}},
        f"{LINK}.openFga.users.selector",
        "an empty selector would let in every user",
    ),
    (
        "a SuperLink lets in the users of all namespaces",
        {f"{LINK}.version": "1.30", f"{LINK}.openFga": {**FGA, "users": {**SELECTED, "namespaces": ["*"]}}},
        f"{LINK}.openFga.users.namespaces[0]",
        "patterns are not known here",
    ),
    (
        "a SuperLink lets in whom it does not select",
        {f"{LINK}.version": "1.30", f"{LINK}.openFga": {**FGA, "users": {}}},
        f"{LINK}.openFga.users.selector",
        "Required value",
    ),
    ("a new SuperLink accepts bots", {"spec.accepts": SELECTED}, "spec.accepts", "so take accepts out"),
    (
        "an old SuperLink accepts one token of bots",
        {f"{LINK}.version": "1.30", f"{LINK}.openFga": FGA, "spec.accepts": {**SELECTED, "token": "list"}},
        "spec.accepts",
        "so take accepts.token out",
    ),
]
