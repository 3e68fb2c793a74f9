"""Which object a request of the operator is about, and by what it is told from the object's other requests."""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from fedid.adapters.superlink.wire import fields
from fedid.domain.oidc_client_record import client_uuids
from tests.e2e.authority import ADMIN, REALM, claims_of
from tests.e2e.operating import is_side_effect
from tests.e2e.tenancy import PLURALS
from tests.matrix.super_link import FrontedSuperLink, identity_in
from tests.testbed.faults import Spoken
from tests.testbed.stack import Stack

PROTOCOL = f"/realms/{REALM}/protocol/openid-connect"
KINDS = ("BotClient", "FederationUser", "PodIdentity")
ACCOUNT = "service-account-"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Call:
    """One request about one object."""

    name: str
    """Of the object."""
    what: str
    """Method and path, without what tells one object's from another's."""
    effect: bool
    """Whether somebody keeps what it changes; a request for a token counts, since its answer is kept."""


@dataclass(slots=True)
class Attribution:
    """Knows the objects of one namespace by every name that they have in a backend."""

    stack: Stack
    namespace: str
    names: set[str] = field(default_factory=set)
    """Of the objects; no other namespace has one of them, since not every path tells the namespace."""
    super_link: FrontedSuperLink | None = None
    """Where their SuperNodes are registered."""
    _clients: dict[str, str] = field(default_factory=dict)
    """Id of a client to the name of its object."""
    _users: dict[str, str] = field(default_factory=dict)
    """Id of a user or of a service account to the name of its object."""
    _nodes: dict[int, str] = field(default_factory=dict)
    """Id of a node to the name of its object."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, backend: str, spoken: Spoken) -> Call | None:
        """Return what a request is about; None: about no object of the namespace, or about all."""
        name: str | None = getattr(self, f"_{backend}")(spoken)
        if name not in self.names:
            return None
        asks_for_token = spoken.path == f"{PROTOCOL}/token"
        looks = spoken.path == f"{PROTOCOL}/token/introspect"
        effect = asks_for_token or (is_side_effect(spoken.method, spoken.path) and not looks)
        return Call(name, self._what(spoken, name), effect)

    def _what(self, spoken: Spoken, name: str) -> str:
        path = _ID.sub("<id>", spoken.path)
        for prefix in (f"{ADMIN}/", f"{PROTOCOL}/", "/v1/", "/apis/fedid.io/v1alpha1/", "/api/v1/"):
            path = path.removeprefix(prefix)
        path = path.removeprefix(f"namespaces/{self.namespace}/").replace(f"fedid/{self.namespace}/", "")
        path = path.replace(ADMIN, "realm, with its token")
        return f"{spoken.method} {re.sub(rf'(?<=/){re.escape(name)}(?=/|$)', '<name>', path)}"

    def _kubernetes(self, spoken: Spoken) -> str | None:
        here = f"/namespaces/{self.namespace}/"
        secrets = f"/api/v1{here}secrets"
        if spoken.path == secrets and spoken.method == "POST":
            return str(json.loads(spoken.sent)["metadata"]["name"])
        if spoken.path.startswith(f"{secrets}/"):
            return spoken.path.removeprefix(f"{secrets}/")
        ours = rf"/apis/fedid\.io/v1alpha1{here}(?:{'|'.join(PLURALS.values())})/([^/]+)(?:/status)?"
        found = re.fullmatch(ours, spoken.path)
        return found.group(1) if found else None

    def _vault(self, spoken: Spoken) -> str | None:
        entry = rf"/v1/secret/[a-z]+/fedid/{self.namespace}/(?:bots|pods|users)/([^/]+)/.*"
        copy = r"/v1/secrets/.*/([^/]+)"
        found = re.fullmatch(entry, spoken.path) or re.fullmatch(copy, spoken.path)
        return found.group(1) if found else None

    def _keycloak(self, spoken: Spoken) -> str | None:
        if spoken.path.startswith(f"{PROTOCOL}/"):
            form = dict(urllib.parse.parse_qsl(spoken.sent.decode()))
            return self._by_client_id(form.get("client_id", ""))
        if spoken.path == ADMIN:
            token = spoken.headers.get("authorization", "").removeprefix("Bearer ")
            return self._by_client_id(str(claims_of(token).get("azp", "")))
        query = dict(urllib.parse.parse_qsl(spoken.query))
        match spoken.path.removeprefix(f"{ADMIN}/").split("/"):
            case ["clients"]:
                said = json.loads(spoken.sent) if spoken.sent else query
                return self._by_client_id(str(said.get("clientId", "")))
            case ["users"]:
                said = json.loads(spoken.sent) if spoken.sent else query
                return str(said.get("username", ""))
            case ["clients", client, *_]:
                return self._by_client(client)
            case ["users", user, *_] if _ID.fullmatch(user):
                return self._by_user(user)
        return None

    def _superlink(self, spoken: Spoken) -> str | None:
        """Return whose node is registered or ended; a listing is about all of them."""
        told = dict(fields(spoken.sent))
        match spoken.path.rpartition("/")[2]:
            case "register-node":
                return self._by_node_name(bytes(told[3]).decode())
            case "unregister-node":
                return self._by_node(int(told[1]))
        return None

    def _by_node(self, node_id: int) -> str | None:
        assert self.super_link is not None
        with self._lock:
            if node_id not in self._nodes:
                listed = self.super_link.nodes()
                self._nodes |= {node.node_id: self._by_node_name(node.name) or "" for node in listed}
            return self._nodes.get(node_id)

    def _by_node_name(self, node_name: str) -> str | None:
        namespace, name = identity_in(node_name)
        return name if namespace == self.namespace else None

    def _by_client_id(self, client_id: str) -> str | None:
        namespace, _, name = client_id.partition(".")
        return name.split(".")[0] if namespace == self.namespace else None

    def _by_client(self, client: str) -> str:
        with self._lock:
            if client not in self._clients:
                for uid, name in self._uids().items():
                    self._clients |= dict.fromkeys(client_uuids(uid), name)
            return self._clients.setdefault(client, "")

    def _by_user(self, user: str) -> str:
        with self._lock:
            if user not in self._users:
                answer = self.stack.api("keycloak").answer("GET", f"{ADMIN}/users/{user}")
                if answer.status != 200:
                    return ""
                username = str(answer.body["username"])
                of_client = self._by_client_id(username.removeprefix(ACCOUNT))
                self._users[user] = (of_client if username.startswith(ACCOUNT) else username) or ""
            return self._users[user]

    def _uids(self) -> Mapping[str, str]:
        """Return the names of all objects by uid, as they are now."""
        base = f"/apis/fedid.io/v1alpha1/namespaces/{self.namespace}"
        bodies = [body for kind in KINDS for body in self.stack.kube("GET", f"{base}/{PLURALS[kind]}")["items"]]
        return {body["metadata"]["uid"]: body["metadata"]["name"] for body in bodies}
