"""What is on the site: a Federation, two namespaces, bots, what mounts them, users, and things of strangers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fedid.domain.realm import SecretPolicy
from fedid.domain.resources import BOT_CLIENT, FEDERATION, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from tests.fakes.cluster import OPERATOR_NAMESPACE
from tests.simulation.servers import Servers

NAMESPACES = ("site-a", "site-b")
BOTS = ("site-a/trainer", "site-a/scout", "site-b/trainer", "site-a/taken", "site-b/squatted")
"""Some meet a stranger: his client `site-a/taken`, his entry `site-b/squatted`, his Secret where one mounts scout."""
SERVERS = ("site-a/aggregator",)
"""They list the opaque tokens of all bots, of both namespaces."""
PORTALS = ("site-b/portal",)
"""Servers that sign users in with a client of their own."""
NODES = ("site-b/node",)
"""PodIdentities that are SuperNodes."""
USERS = ("site-a/ana", "site-b/bo", "site-b/foreign", "site-a/cy")
"""`foreign` meets a stranger of that name."""
FORBIDDEN = "fl-root"
"""A role that no rule ever grants."""
BY_HAND = "fl-by-hand"
"""One that nobody asks for."""
NARROW = "fl-admin"
"""One that a rule grants, and not always."""
WARD = "fl-ward"
"""One that waits for a person's yes."""
APPLICANTS = ("site-a/applicant",)
"""Bots that ask for it; they are in nobody's way, and mounted by nobody."""
TAKEN = {"fedid.io/server": "aggregator"}
"""Labels of a bot that the server accepts."""
_LABEL = {"fedid.io/tenant": "true"}
_PORTAL = "https://portal.example"
_SUPER_LINK = "https://superlink.example:8000"
_QUIET_PACE = {"defaults": {"resyncPeriod": "1h"}, "drift": {"eventsInterval": "5m"}}
"""What a Federation says where nobody tampers."""
_EVERY_RULE = [
    {
        "namespaces": {"selector": {"matchLabels": _LABEL}},
        "realmRoles": ["fl-client", "fl-member"],
        "oidcFlows": ["authorizationCode"],
        "redirectUriPrefixes": [_PORTAL],
        "superlinkUrls": [_SUPER_LINK],
    },
    {"namespaces": {"selector": {"matchLabels": _LABEL}}, "realmRoles": [WARD], "requireApproval": True},
    {"namespaces": {"selector": {"matchLabels": _LABEL}}, "realmRoles": [NARROW]},
]


def kind_of(name: str) -> str:
    """Return the kind of what is not a user."""
    return POD_IDENTITY if name in (*SERVERS, *PORTALS, *NODES) else BOT_CLIENT


def bot_of(node: str) -> str:
    """Return the bot whose SuperNode it is."""
    return f"{node.split('/', maxsplit=1)[0]}/trainer"


def client_id_of(name: str) -> str:
    """Return the clientId that a bot or a portal has if nothing is said of it."""
    return name.replace("/", ".") + (".server" if name in PORTALS else "")


def furnish(servers: Servers, *, events: bool, quiet: bool = False) -> None:
    """Put everything there that is there before the first user acts."""
    servers.pace = _QUIET_PACE if quiet else {}
    realm, cluster = servers.realm, servers.cluster
    realm.secret_policy = SecretPolicy("two-secrets", timedelta(days=3650), timedelta(days=365))
    realm.records_events = events
    for role in ("fl-client", "fl-member", NARROW, FORBIDDEN, BY_HAND, WARD):
        realm.add_role(role)
    realm.add_client("site-a.taken", secret=Sensitive("kept-from-sight-strange"))
    realm.add_user("foreign", email="foreign@example.org")
    servers.store.put_by_hand("fedid/site-b/bots/squatted/client", {"theirs": "kept-from-sight-strange"})
    access = {"client-id": Sensitive("fedid"), "client-secret": Sensitive("kept-from-sight-own")}
    cluster.put_secret_by_hand(MountedSecret(OPERATOR_NAMESPACE, "fedid-keycloak", "Opaque", access))
    theirs = {"theirs": Sensitive("kept-from-sight-strange")}
    cluster.put_secret_by_hand(MountedSecret("site-a", "scout", "Opaque", theirs))
    for namespace in NAMESPACES:
        label(servers, namespace, granted=True)
    grant(servers, narrow=False)


def label(servers: Servers, namespace: str, *, granted: bool) -> None:
    """Give a namespace the label that the rules ask for, or take it."""
    servers.cluster.add_namespace(namespace, _LABEL if granted else {})


def grant(servers: Servers, *, narrow: bool) -> None:
    """Let the rules grant everything, or not the narrow role."""
    auth = {"clientCredentials": {"secretName": "fedid-keycloak"}}
    keycloak = {"url": "https://keycloak", "realm": "fl", "auth": auth, "issuerUrl": servers.realm.issuer_url}
    vault = {"url": "https://vault", "auth": {"jwt": {"role": "fedid"}}, "pathPrefix": "fedid"}
    rules = _EVERY_RULE[:-1] if narrow else _EVERY_RULE
    spec = {"default": True, "keycloak": keycloak, "vault": vault, "grants": rules, **servers.pace}
    servers.cluster.apply(FEDERATION, None, "local", spec)


def bot_spec(variant: int, lifetime: float) -> dict[str, Any]:
    """Return the spec of a bot: roles of its variant, a token of that life (seconds), an opaque one, a secret."""
    roles = (["fl-client"], ["fl-client", NARROW], ["fl-client", "fl-member"], ["fl-client", FORBIDDEN])[variant]
    return {
        "realmRoles": roles,
        "allowedNamespaces": ["site-a"],
        "tokens": [
            {"name": "default", "lifetime": f"{lifetime:.0f}s"},
            {"name": "list", "type": "opaque", "lifetime": f"{2 * lifetime:.0f}s", "overlap": f"{lifetime / 4:.0f}s"},
        ],
        "secretRotation": {"every": f"{6 * lifetime:.0f}s", "overlap": f"{lifetime / 2:.0f}s"},
    }


def applicant_spec(lifetime: float) -> dict[str, Any]:
    """Return the spec of a bot that asks for the role which waits for a yes."""
    return {"realmRoles": ["fl-client", WARD], "tokens": [{"name": "default", "lifetime": f"{lifetime:.0f}s"}]}


def user_spec(name: str, variant: int) -> dict[str, Any]:
    """Return the spec of a user: roles of its variant."""
    roles: list[str] = ([], ["fl-member"], ["fl-member", NARROW], ["fl-member"])[variant]
    return {"username": name, "email": f"{name}@{variant}.example.org", "realmRoles": roles}


def pod_spec(bot: str) -> dict[str, Any]:
    """Return the spec of what mounts a bot."""
    files = {"token": "{token:default}", "secret": "{clientSecret}", "list": "{token:list}"}
    selector = {"matchLabels": {"app": bot}}
    platform = {"generic": {"files": files}}
    return {"role": "client", "botClientRef": {"name": bot}, "platform": platform, "pods": {"selector": selector}}


def server_spec() -> dict[str, Any]:
    """Return the spec of a server that takes the opaque tokens of every bot."""
    accepts = {"selector": {"matchLabels": TAKEN}, "namespaces": list(NAMESPACES)}
    platform = {"generic": {"files": {"tokens": "{tokens}"}}}
    pods = {"selector": {"matchLabels": {"app": "server"}}}
    return {"role": "server", "accepts": accepts, "platform": platform, "pods": pods}


def portal_spec(variant: int, lifetime: float) -> dict[str, Any]:
    """Return the spec of a server that signs users in: an address of its variant, a secret that changes as a bot's."""
    rotation = {"every": f"{6 * lifetime:.0f}s", "overlap": f"{lifetime / 2:.0f}s"}
    addresses = [f"{_PORTAL}/{variant}/callback"]
    client = {"flows": ["authorizationCode"], "redirectUris": addresses, "secretRotation": rotation}
    platform = {"generic": {"files": {"id": "{clientId}", "secret": "{clientSecret}"}}}
    pods = {"selector": {"matchLabels": {"app": "portal"}}}
    return {"role": "server", "oidcClient": client, "platform": platform, "pods": pods}


def node_spec(node: str, lifetime: float) -> dict[str, Any]:
    """Return the spec of a SuperNode whose key changes as a bot's secret."""
    rotation = {"every": f"{6 * lifetime:.0f}s", "overlap": "150s"}
    super_node = {"superLink": {"url": _SUPER_LINK}, "rotation": rotation}
    bot = {"name": bot_of(node).partition("/")[2]}
    pods = {"selector": {"matchLabels": {"app": "node"}}}
    return {"role": "client", "botClientRef": bot, "platform": {"flower": {"superNode": super_node}}, "pods": pods}
