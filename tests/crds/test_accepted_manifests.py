"""Good manifests are accepted: the rules refuse no more than they mean to."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.crds.manifests import (
    BOT,
    CERTIFICATE,
    FEDERATION,
    GONE,
    POD,
    REPOSITORY,
    USER,
    Manifest,
    changed,
    collection,
    documents,
)
from tests.crds.refused_openfga import FGA as OPENFGA
from tests.crds.refused_servers import DAI_SERVER, FGA, SELECTED, SERVER, SUPER_LINK
from tests.crds.refused_super_nodes import CLI, EVERYTHING, FLWR, SUPER_NODE
from tests.testbed.rest import Rest

DESIGN = """
apiVersion: fedid.io/v1alpha1
kind: Federation
metadata: {name: local}
spec:
  default: true
  keycloak:
    url: https://keycloak.example.org
    realm: fl
    auth: {clientCredentials: {secretName: fedid-keycloak}}
  vault:
    url: https://vault.example.org
    mount: secret
    kvVersion: 2
    pathPrefix: fedid
    auth: {jwt: {mount: jwt, role: fedid}}
  grants:
  - namespaces: {selector: {matchLabels: {fedid.io/tenant: "true"}}}
    realmRoles: ["fl-*"]
    groups: ["/sites/*"]
    audiences: [superlink]
    maxTokenLifetime: 1h
---
apiVersion: fedid.io/v1alpha1
kind: BotClient
metadata: {name: trainer, namespace: site-a}
spec:
  realmRoles: [fl-client]
  audiences: [superlink]
  tokens:
  - {name: default, lifetime: 10m}
---
apiVersion: fedid.io/v1alpha1
kind: FederationUser
metadata: {name: ana, namespace: site-a}
spec:
  username: ana
  email: ana@site-a.example
  firstName: Ana
  lastName: Novak
  realmRoles: [fl-member]
  groups: [/sites/a]
---
apiVersion: fedid.io/v1alpha1
kind: PodIdentity
metadata: {name: trainer, namespace: site-a}
spec:
  role: client
  botClientRef: {name: trainer}
  platform:
    generic:
      files:
        token: "{token}"
        client.env: |
          CLIENT_ID={clientId}
          CLIENT_SECRET={clientSecret}
          TOKEN_URL={tokenUrl}
          ISSUER={issuerUrl}
"""
"""The manifests that the design promises, as they stand."""

GRANT = "spec.grants.0"
FILES = "spec.platform.generic.files"
EVERY_PLACEHOLDER = (
    "{token} {token:metrics} {token:a-1} {tokenExpiresAt} {clientId} {clientSecret} {subject} {issuerUrl} "
    "{privateKey} {keyId} "
    "{tokens} {tokenUrl} {introspectionUrl} {jwksUrl}"
)

ACCEPTED: list[tuple[str, Manifest, Mapping[str, Any]]] = [
    ("a Federation without grants", FEDERATION, {"spec.grants": GONE}),
    ("a name of 63 characters", BOT, {"metadata.name": "b" * 63}),
    ("Keycloak at an address with port and path", FEDERATION, {"spec.keycloak.url": "http://kc.kc-ns.svc:8080/auth"}),
    ("Keycloak at an IPv4 address", FEDERATION, {"spec.keycloak.url": "http://127.0.0.1:8080"}),
    ("Keycloak at an IPv6 address", FEDERATION, {"spec.keycloak.url": "https://[2001:db8::1]:8443"}),
    (
        "an issuer that clients see elsewhere",
        FEDERATION,
        {"spec.keycloak.issuerUrl": "https://login.example.org/auth/realms/fl"},
    ),
    ("a realm with a dot", FEDERATION, {"spec.keycloak.realm": "fl.example.org"}),
    (
        "two certificates with remarks around them",
        FEDERATION,
        {"spec.keycloak.caBundle": "# root\n" + CERTIFICATE + "# old root\n" + CERTIFICATE},
    ),
    ("an assertion provider", FEDERATION, {"spec.keycloak.assertionProvider": "cluster"}),
    ("a bot with a secret, in so many words", BOT, {"spec.authentication": {"clientSecret": {}}}),
    ("a bot with a key", BOT, {"spec.authentication": {"privateKeyJwt": {}}}),
    ("a bot without a secret", BOT, {
        "spec.authentication": {"serviceAccount": {"name": "trainer.a"}}, "spec.tokens": GONE
    }),
    ("a key for Keycloak", FEDERATION, {"spec.keycloak.auth": {"privateKeyJwt": {"secretName": "fedid.key"}}}),
    ("no secret for Keycloak", FEDERATION, {"spec.keycloak.auth": {"serviceAccountToken": {}}}),
    ("no secret for Keycloak, and a named client", FEDERATION, {
        "spec.keycloak.auth": {"serviceAccountToken": {"clientId": "https://fedid.example.org/operator"}}
    }),
    ("the Kubernetes method of Vault", FEDERATION, {"spec.vault.auth": {"kubernetes": {"role": "fedid"}}}),
    ("the Kubernetes method of Vault at a path", FEDERATION, {
        "spec.vault.auth": {"kubernetes": {"role": "fedid", "mount": "clusters/a"}}
    }),
    ("an AppRole", FEDERATION, {"spec.vault.auth": {"approle": {"secretName": "fedid-vault", "mount": "approle"}}}),
    ("a Vault token", FEDERATION, {"spec.vault.auth": {"token": {"secretName": "fedid-vault"}}}),
    ("a KV engine of version 1 at a path", FEDERATION, {"spec.vault.mount": "kv/fl", "spec.vault.kvVersion": 1}),
    ("a prefix of several segments", FEDERATION, {"spec.vault.pathPrefix": "teams/fl_1/fedid.v1"}),
    ("a resync period at its lower bound", FEDERATION, {"spec.defaults": {"resyncPeriod": "5s"}}),
    ("orphans that are told alone", FEDERATION, {"spec.orphans": {}}),
    ("orphans that go", FEDERATION, {"spec.orphans": {"remove": True, "after": "1h"}}),
    ("a search for drift in all its settings", FEDERATION, {
        "spec.drift": {"adminEvents": "Never", "eventsInterval": "1s", "sweepPeriod": "168h", "pageSize": 500}
    }),
    ("a grant for every namespace, in so many words", FEDERATION, {
        f"{GRANT}.namespaces": {
            "selector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}
        }
    }),
    ("a grant for namespaces by every operator", FEDERATION, {
        f"{GRANT}.namespaces": {
            "names": ["a", "site-a"],
            "selector": {
                "matchLabels": {"tenant": "", "fedid.io/Tenant_1.a": "Yes_1.a"},
                "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["gold", ""]},
                    {"key": "tier", "operator": "NotIn", "values": ["old"]},
                    {"key": "example.org/closed", "operator": "DoesNotExist", "values": []},
                ],
            },
        }
    }),
    ("a grant of everything there is", FEDERATION, {
        f"{GRANT}.realmRoles": ["*"],
        f"{GRANT}.clientRoles": {"superlink": ["*"], "https://sp.example.org/metadata": ["read"]},
        f"{GRANT}.groups": ["/*"],
        f"{GRANT}.audiences": ["*"],
        f"{GRANT}.clientIds": ["*"],
        f"{GRANT}.claims": ["*"],
        f"{GRANT}.adopt": True,
        f"{GRANT}.retain": True,
        f"{GRANT}.scopes": ["*"],
        f"{GRANT}.maxTokenLifetime": "24h",
    }),
    ("a grant of places in Vault", FEDERATION, {
        f"{GRANT}.vaultPaths": ["secrets/*", "secrets/users/{subject}/*", "kv.2/tenants/{namespace}/x-{name}"]
    }),
    ("a grant of clients of servers", FEDERATION, {
        f"{GRANT}.oidcFlows": ["authorizationCode", "device", "clientCredentials", "introspection"],
        f"{GRANT}.redirectUriPrefixes": [
            "https://dai.example.org", "https://{namespace}.example.org:12345/apps/*", "http://localhost:8080/"
        ],
    }),
    ("a server with all of its client", SERVER, {
        "spec.oidcClient": {
            "clientId": "app", "flows": ["authorizationCode", "device", "clientCredentials", "introspection"],
            "redirectUris": ["https://app.example.org/cb", "http://localhost:8080/cb"],
            "postLogoutRedirectUris": ["https://app.example.org/"], "audiences": ["superlink"],
            "defaultScopes": ["fl-roles"], "optionalScopes": ["fl-profile", "offline_access"],
            "baseUrl": "https://app.example.org/",
            "secretRotation": {"every": "720h", "overlap": "1h", "allowInterruption": True},
        }
    }),
    ("a public server", SERVER, {"spec.oidcClient.public": True}),
    ("a public device client", SERVER, {"spec.oidcClient": {"flows": ["device"], "public": True}}),
    ("Driverless AI with everything", DAI_SERVER, {
        "spec.platform.driverlessAi": {
            "format": "ConfigToml", "method": "oidc", "identitySource": "idToken", "usernameClaim": "email",
            "usernameClaimKey": "auth_oidc_id_token_username_key", "scopes": ["offline_access"],
            "gate": {"claim": "dai_access", "source": "UserAttribute", "value": "full"},
            "pythonClient": {"clientId": "dai-py"},
        }
    }),
    ("Driverless AI with the older method", DAI_SERVER, {"spec.platform.driverlessAi.method": "openid"}),
    ("a SuperLink of today", SUPER_LINK, {"spec.platform.flower.superLink.verifyTls": False}),
    ("a SuperLink of before", SUPER_LINK, {"spec.platform.flower.superLink": {"version": "1.9", "openFga": FGA}}),
    ("a SuperLink with members", SUPER_LINK, {
        "spec.accepts": {**SELECTED, "namespaces": ["site-b"]},
        "spec.platform.flower.superLink": {
            "version": "1.33", "openFga": {**FGA, "users": {**SELECTED, "namespaces": ["site-b"]}}
        },
    }),
    ("a user whom SuperLinks of another namespace may let in", USER, {"spec.allowedNamespaces": ["site-b"]}),
    ("OpenFGA without a key", FEDERATION, {"spec.openFga": OPENFGA}),
    ("OpenFGA with everything", FEDERATION, {"spec.openFga": {
        **OPENFGA, "modelId": OPENFGA["storeId"], "caBundle": CERTIFICATE,
        "auth": {"presharedKey": {"secretName": "fedid-openfga"}},
    }}),
    ("a grant of objects of OpenFGA", FEDERATION, {
        f"{GRANT}.openFgaObjects": ["service:grid", "service:{namespace}-*", "service:*", "service:grid#owner"]
    }),
    ("a program of Driverless AI", POD, {"spec.platform": {"driverlessAi": {}}}),
    ("a grant of SuperLinks", FEDERATION, {
        f"{GRANT}.superlinkUrls": ["https://superlink.example.org:8000", "https://superlink.{namespace}.svc:8000/*"]
    }),
    ("defaults of rotation", FEDERATION, {"spec.defaults": {"rotationPeriod": "720h", "overlap": "2h"}}),
    ("tokens of both types", BOT, {
        "spec.tokens": [
            {"name": "default", "lifetime": "10m", "renewBefore": "5m", "scopes": ["fl-upload"]},
            {"name": "list", "type": "opaque", "lifetime": "8760h", "overlap": "24h", "renewBefore": "48h"},
            {"name": "copy", "type": "opaque", "vaultPath": "users/{subject}/federated/{name}",
             "vaultMount": "secrets", "vaultKey": "token"},
        ]
    }),
    ("a secret that changes", BOT, {
        "spec.secretRotation": {"every": "720h", "overlap": "1h", "allowInterruption": True}
    }),
    ("a secret that changes when it is asked for", BOT, {"spec.secretRotation": {}}),
    ("a grant of what users are given", FEDERATION, {
        f"{GRANT}.attributes": ["site", "fl_*", "*", "x:y.z-1"], f"{GRANT}.identityProviders": ["university", "uni-*"],
        f"{GRANT}.emailVerified": True,
    }),
    ("a grant of single roles of realm-management", FEDERATION, {
        f"{GRANT}.clientRoles": {"realm-management": ["view-users", "query-users"]}
    }),
    ("a grant of groups in all forms", FEDERATION, {
        f"{GRANT}.groups": ["/sites", "/sites/a", "/sites/a b/ü", "/sites/a*", "/sites/*"]
    }),
    ("a grant of nothing but to exist", FEDERATION, {"spec.grants": [{"namespaces": {"names": ["site-a"]}}]}),
    ("a bot that asks for nothing", BOT, {"spec": {}}),
    ("a bot with empty lists", BOT, {
        "spec": {"realmRoles": [], "clientRoles": {"superlink": []}, "audiences": [], "tokens": []}
    }),
    ("a client id as long as Keycloak takes it", BOT, {"spec.clientId": "C" * 239}),
    ("a client id that begins like one of Keycloak's", BOT, {"spec.clientId": "account-service"}),
    ("roles in the spellings that realms have", BOT, {
        "spec.realmRoles": ["Data Scientist", "urn:geant:example.org:group:fl#sso", "site/a", "größe", "..."]
    }),
    ("roles of clients with odd ids", BOT, {
        "spec.clientRoles": {"superlink": ["submit"], "https://sp.example.org/metadata": ["read"]}
    }),
    ("an audience that is a URL", BOT, {"spec.audiences": ["superlink", "https://superlink.example.org:9092/"]}),
    ("claims in the spellings that tokens have", BOT, {
        "spec.claims": {"site": "a", "fl_Site-1": " ü, {x} ", "subject": "true", "group": "*", "c" * 63: "v" * 255}
    }),
    ("client scopes of both kinds", BOT, {
        "spec.defaultScopes": ["fl-profile", "urn:fl:site"], "spec.optionalScopes": ["https://example.org/api.read"]
    }),
    ("a bot whose client stays", BOT, {"spec.deletionPolicy": "Retain"}),
    ("a bot that takes a client over", BOT, {"spec.adopt": True, "spec.clientId": "partner-bot"}),
    ("sixteen claims", BOT, {"spec.claims": {f"claim{i}": "v" for i in range(16)}}),
    ("a lifetime at its lower bound", BOT, {"spec.tokens.0.lifetime": "10s"}),
    ("a lifetime at its upper bound", BOT, {"spec.tokens.0.lifetime": "1440m"}),
    ("a lifetime in all three units", BOT, {"spec.tokens.0.lifetime": "1h30m15s"}),
    ("sixteen tokens of one lifetime", BOT, {
        "spec.tokens": [{"name": f"token-{i}", "type": "jwt", "lifetime": "1h"} for i in range(16)]
    }),
    ("two tokens of the Federation's lifetime", BOT, {"spec.tokens": [{"name": "a"}, {"name": "b"}]}),
    ("a bot that is suspended and expires", BOT, {"spec.suspend": True, "spec.expiresAt": "2030-01-31T18:00:00Z"}),
    ("an instant with an offset and a fraction", BOT, {"spec.expiresAt": "2030-01-31T19:30:00.123456789+01:30"}),
    ("an instant in small letters", BOT, {"spec.expiresAt": "2030-01-31t18:00:00z"}),
    ("an instant in the past", BOT, {"spec.expiresAt": "1999-12-31T23:59:59Z"}),
    ("a user with nothing but a name", USER, {"spec": {"username": "a"}}),
    ("a user with all that can be said of one", USER, {
        "spec.emailVerified": True,
        "spec.attributes": {"site": ["a", "b c"], "x:y.z-1_2": ["ž"]},
        "spec.clientRoles": {"superlink": ["submit", "run it"], "realm-management": ["view-users"]},
        "spec.identityProviderLinks": [
            {"identityProvider": "university", "userId": "f:1:ana", "userName": "ana@uni.example"},
            {"identityProvider": "hospital", "userId": "7"},
        ],
        "spec.requiredActions": ["CONFIGURE_TOTP", "webauthn-register"],
        "spec.initialPassword": "Generate", "spec.notify": True, "spec.suspend": False,
        "spec.expiresAt": "2030-01-31T18:00:00Z", "spec.adopt": True, "spec.deletionPolicy": "Retain",
    }),
    ("a user who is told nothing and has no address", USER, {
        "spec.email": GONE, "spec.notify": False, "spec.emailVerified": False, "spec.initialPassword": "None",
    }),
    ("a username that is an e-mail address", USER, {"spec.username": "ana+fl@site-a.example"}),
    ("an e-mail address with all that may stand in it", USER, {"spec.email": "o'brien+a.b_c#1@x-y.site-a.example"}),
    ("an e-mail address of an intranet", USER, {"spec.email": "ana@intranet"}),
    ("an e-mail address beyond ASCII", USER, {"spec.email": "zoë@bücher.example"}),
    ("names with apostrophe and hyphen", USER, {"spec.firstName": "Anne-Marie", "spec.lastName": "O'Brien, Jr."}),
    ("names beyond Latin", USER, {"spec.firstName": "Łukasz", "spec.lastName": "李"}),
    ("groups with blanks and dots", USER, {"spec.groups": ["/sites/Site A", "/sites/a.b/.c"]}),
    ("a bot that two other namespaces may use", BOT, {"spec.allowedNamespaces": ["site-b", "platform"]}),
    ("a pod with the bot of another namespace", POD, {"spec.botClientRef.namespace": "site-b"}),
    ("a server", POD, {
        "spec.role": "server", "spec.botClientRef": GONE, "spec.federationRef": {"name": "local"},
        "spec.accepts": {
            "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]},
            "namespaces": ["site-b"], "token": "list",
        },
    }),
    ("a template with every placeholder", POD, {FILES: {"all": EVERY_PLACEHOLDER}}),
    ("a template of literal braces", POD, {FILES: {"a": "{{}}", "b": "{{{token}}}", "c": "}}{{{{token}}}}"}}),
    ("a template in JSON", POD, {FILES: {"oidc.json": '{{\n  "a": {{"id": "{clientId}"}}\n}}\n'}}),
    ("a template without a placeholder", POD, {FILES: {"realm": "fl", "empty": "", "odd": "$TOKEN %s \\ ü \t\r\n"}}),
    ("file names in the spellings that Secrets take", POD, {
        FILES: {"TOKEN": "", ".netrc": "", "a..b": "", "_": "", "-": "", "k" * 253: ""}
    }),
    ("a SuperNode", SUPER_NODE, {}),
    ("a SuperNode with all that can be said of it", SUPER_NODE, EVERYTHING),
    ("a pod that runs flwr", SUPER_NODE, FLWR),
    ("a pod that runs flwr, with all that can be said of it", SUPER_NODE, {
        **FLWR,
        f"{CLI}.superLink.caBundle": CERTIFICATE,
        f"{CLI}.token": "audit-1",
        f"{CLI}.connection": "hospitals_1",
        f"{CLI}.federation": "@ana/hospitals",
        f"{CLI}.mountPath": "/app/flwr",
    }),
    ("a Secret name of its own", POD, {"spec.secretName": "trainer.credential"}),
    ("pods by labels and by every operator", POD, {
        "spec.pods.selector.matchLabels": {"app.kubernetes.io/name": "trainer", "empty": ""},
        "spec.pods.selector.matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "tier", "operator": "NotIn", "values": ["c"]},
            {"key": "site", "operator": "Exists"},
            {"key": "draining", "operator": "DoesNotExist"},
        ],
    }),
    ("an ai4flwr client", POD, {"spec.platform": {"ai4flwr": {"distribution": "PyPI"}}}),
    ("an ai4flwr client with all that it may say", POD, {
        "spec.platform": {"ai4flwr": {"distribution": "Git", "token": "fleet", "caBundle": CERTIFICATE}}
    }),
    ("an aiod bot", POD, {"spec.platform": {"aiod": {"apiServer": "https://api.aiodp.eu"}}}),
    ("an aiod bot with all that it may say", POD, {
        "spec.platform": {
            "aiod": {
                "apiServer": "https://api.aiodp.eu/v/",
                "authServer": "http://[2001:db8::1]:8080/aiod-auth/",
                "version": "v2",
                "requestTimeoutSeconds": 3600,
            }
        }
    }),
    ("a Bitfount pod of the longest name", POD, {
        "spec.platform": {
            "bitfount": {
                "flavour": "ApiKey",
                "username": "a-b_c",
                "podName": "x" * 64,
                "credentialsFrom": {"vaultPath": "bitfount/site-a", "vaultMount": "kv/teams"},
            }
        }
    }),
    ("a Bitfount modeller", POD, {
        "spec.platform": {"bitfount": {"flavour": "ModellerKey", "credentialsFrom": {"vaultPath": "a"}}}
    }),
    ("a reload of nobody by nothing", POD, {"spec.reload": "None"}),
    ("a reload by a signal", POD, {"spec.reload": "Signal", "spec.pods.selector.matchLabels": {"app": "server"}}),
    ("a reload by a restart", POD, {"spec.reload": "Restart", "spec.pods.selector.matchLabels": {"app": "server"}}),
    ("pods by one condition", POD, {"spec.pods.selector.matchExpressions": [{"key": "app", "operator": "Exists"}]}),
    ("as many files of as many characters as a pod can have", POD, {
        FILES: {f"file-{i}": "{token}{{" * 1820 for i in range(40)}
    }),
    ("a Federation of 64 grants, each with 64 roles, groups and audiences", FEDERATION, {
        "spec.grants": [
            {
                "namespaces": {"names": [f"site-{i}-{j}" for j in range(64)]},
                "realmRoles": [f"role-{i}-{j}-" + "r" * 60 + "*" for j in range(64)],
                "groups": [f"/sites/{i}/{j}/" + "g" * 60 + "*" for j in range(64)],
                "audiences": [f"audience-{i}-{j}-" + "a" * 60 + "*" for j in range(64)],
            }
            for i in range(64)
        ]
    }),
]  # fmt: skip


@pytest.mark.parametrize(
    "manifest", [pytest.param(changed(good, changes), id=sentence) for sentence, good, changes in ACCEPTED]
)
def test_good_manifest_is_accepted(kube: Rest, namespace: str, manifest: Manifest) -> None:
    """What is legal in Keycloak, Vault and Kubernetes, also at its edges, is legal here."""
    _accept(kube, namespace, manifest)


@pytest.mark.parametrize("manifest", [pytest.param(m, id=m["kind"]) for m in yaml.safe_load_all(DESIGN)])
def test_manifest_of_the_design_is_accepted(kube: Rest, namespace: str, manifest: Manifest) -> None:
    """The manifests that the design promises work as they stand, short of their namespace."""
    _accept(kube, namespace, manifest)


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(manifest, id=f"{path.name} {manifest['kind']} {manifest['metadata']['name']}-{i}")
        for path in sorted((REPOSITORY / "examples").glob("*.yaml"))
        for i, manifest in enumerate(documents(path))
    ],
)
def test_example_is_accepted(kube: Rest, namespace: str, manifest: Manifest) -> None:
    """Every manifest in examples/ is one that the API server takes."""
    _accept(kube, namespace, manifest)


def test_left_out_fields_get_their_defaults(kube: Rest, namespace: str) -> None:
    """The API server fills in what the descriptions call the default."""
    bare = changed(FEDERATION, {"spec.grants": GONE})

    spec = _accept(kube, namespace, bare)["spec"]

    assert spec["default"] is False
    assert spec["defaults"] == {"tokenLifetime": "10m", "resyncPeriod": "10m"}
    assert {name: spec["vault"][name] for name in ("mount", "kvVersion", "pathPrefix")} == {
        "mount": "secret",
        "kvVersion": 2,
        "pathPrefix": "fedid",
    }
    assert spec["vault"]["auth"]["jwt"]["mount"] == "jwt"
    assert _accept(kube, namespace, changed(BOT, {"spec.tokens": [{"name": "a"}]}))["spec"]["tokens"] == [
        {"name": "a", "type": "jwt"}
    ]
    assert _accept(kube, namespace, USER)["spec"]["enabled"] is True


def _accept(kube: Rest, namespace: str, manifest: Manifest) -> Manifest:
    """Return what the API server would store."""
    if manifest["kind"] != "Federation":
        manifest = changed(manifest, {"metadata.namespace": namespace})
    query = "?dryRun=All&fieldValidation=Strict"
    answer = kube.answer("POST", collection(manifest, namespace) + query, manifest)
    assert answer.status == 201 or (answer.status == 409 and manifest["kind"] == "Federation"), answer.text
    stored: Manifest = answer.body
    return stored
