"""Sees everything, and tells when an invariant of the design is broken; numbers are those of its section 6."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedid.domain.conditions import instant_in
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.tokens import ClientCredentials
from fedid.reconcile.bot_teardown import _MADE  # the fields by which a status claims that something exists
from tests.simulation.consumers import Consumers
from tests.simulation.estate import FORBIDDEN, SERVERS, WARD, client_id_of
from tests.simulation.excuses import Excuses
from tests.simulation.network import KEYCLOAK, VAULT, Request
from tests.simulation.node_witness import NodeWitness
from tests.simulation.scene import SECRET_MARKS, Site
from tests.simulation.servers import WatchEvent

_WORKERS = 16
_CLAIMS = {BOT_CLIENT: _MADE, POD_IDENTITY: ("oidcClient", "superNode")}
"""Fields of a status that claim that something exists in Keycloak, in Vault or at the SuperLink."""
OPAQUE = ("token", "previous_token", "pending_token")
"""Keys of an entry that hold one."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that was broken."""

    invariant: str
    at: float
    what: str

    def __str__(self) -> str:
        """Return a line."""
        return f"invariant {self.invariant} at {self.at:.2f} s: {self.what}"


class Witness:
    """Checks each effect on a server."""

    def __init__(self, site: Site, lifetime: float, lease: float) -> None:
        """Look at everything on this site from now on; tokens live and leases last for so many seconds."""
        self.excuses = Excuses(site, lifetime, lease)
        self.violations: list[Violation] = []
        self.counts: Counter[str] = Counter()
        """Passes of time, effects and what else is worth a figure."""
        self.released: set[str] = set()
        """uids whose end a hand kept the operator from proving."""
        self._site, self._servers = site, site.servers
        self._consumers = Consumers(site, self.excuses, self.fail)
        self._nodes = NodeWitness(site, self.excuses, self.fail)
        self._dead_tokens: dict[str, str] = {}
        self._dead_secrets: dict[tuple[str, str], str] = {}
        self._secrets_of: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        """clientId and secret of every client that carried the owner mark of a uid."""
        self._opaque_of: dict[str, str] = {}
        """Owner mark by opaque token."""
        self._dead_opaque: dict[str, str] = {}
        """Why no server may list it any more, by opaque token."""
        self._stripped: set[str] = set()
        self._ever_stripped: set[str] = set()
        self._made: set[str] = set()
        self._events_seen = 0
        self._strangers = self._strange()
        site.network.on_sent, site.network.on_effect = self.sent, self.took_effect
        site.on_roused = self.roused
        self._servers.cluster.watches.append(self.told)

    def stripped(self, uid: str) -> None:
        """Take note that a hand took the finalizers off: if the object goes before they are back, nothing is proven."""
        self._stripped.add(uid)
        self._ever_stripped.add(uid)

    # --- what is seen

    def sent(self, request: Request) -> None:
        """Check the fence (9)."""
        if not request.writes:
            return
        lease = self._servers.cluster.lease
        if lease is None or lease.holder != request.machine.name:
            self.fail("9", f"{request.machine.name} sent {request.operation} while {lease} is in force")

    def took_effect(self, request: Request) -> None:
        """Check everything that a call may have changed."""
        self.counts["effects"] += 1
        self._site.note(request.machine.name, request.backend, request.operation, request.target)
        if not request.writes:
            return
        self.counts["writes"] += 1
        lease = self._servers.cluster.lease
        if lease is not None and lease.holder != request.machine.name:
            self.counts["in flight without the lease"] += 1
            self.counts[f"late {request.machine.name}"] += 1
            if self.counts[f"late {request.machine.name}"] > _WORKERS:
                self.fail("9", f"{request.machine.name} finished more requests than it has workers")
        if request.backend == KEYCLOAK:
            self._look_at_keycloak()
        elif request.backend == VAULT and request.operation == "write":
            self._look_at_entry(request.target.split("/fedid")[0])
        self.look()

    def look(self) -> None:
        """Check what must hold at every instant."""
        self._look_at_dead()
        self._look_at_strangers()
        self._nodes.look()
        self._consumers.look()
        self._look_at_texts()

    def told(self, event: WatchEvent) -> None:
        """Learn what changed in the cluster."""
        kind, change, body = event
        if kind == "Secret":
            self._nodes.mounted(body["metadata"])
            self._consumers.changed(body["metadata"])
            return
        self._shown(repr(body.get("status")), f"status of {kind} {body['metadata']['name']}")
        uid = str(body["metadata"]["uid"])
        if kind not in _CLAIMS:
            return
        if body["metadata"].get("finalizers"):
            self._stripped.discard(uid)
        status = body.get("status") or {}
        self._nodes.told(self._servers.mark(uid), status)
        made = any(status.get(name) for name in _CLAIMS[kind])
        if change == "DELETED":
            if uid in self._stripped:
                self.released.add(uid)
            else:
                self._end(uid, f"its {kind} is gone")
        elif uid in self._made and not made:
            self._end(uid, "its status says that it was withdrawn")
        if made:
            self._made.add(uid)
        else:
            self._made.discard(uid)

    def roused(self, key: ObjectKey, metadata: Mapping[str, Any]) -> None:
        """Take note that a watch had an object looked at although nothing differs but what the operator writes (6)."""
        if metadata["uid"] in self._ever_stripped and not metadata.get("finalizers"):
            return  # a hand wrote that
        self.fail("6", f"the write of a status or of a finalizer had {key} looked at")

    def fail(self, invariant: str, what: str) -> None:
        """Tell of a violation; the first one ends the simulation."""
        self.violations.append(Violation(invariant, self._site.timeline.now, what))
        self._site.timeline.halted = True

    # --- inside

    def _end(self, uid: str, why: str) -> None:
        """Remember all that was given out under an identity up to now: it must never be good again (2)."""
        mark = self._servers.mark(uid)
        realm = self._servers.realm
        self.counts["ends"] += 1
        for token, owner in realm.issued_to.items():
            if owner == mark:
                self._dead_tokens[token] = why
        for one in self._secrets_of.pop(mark, set()):
            self._dead_secrets[one] = why
        for token, owner in self._opaque_of.items():
            if owner == mark:
                self._dead_opaque[token] = why
        self._nodes.end(mark, why)
        self._look_at_dead()

    def _look_at_keycloak(self) -> None:
        realm = self._servers.realm
        for client in realm.clients.values():
            if client.owner and client.secret is not None:
                self._secrets_of[client.owner].add((client.client_id, client.secret.reveal()))
        forbidden = realm.role(FORBIDDEN).role_id
        if any(forbidden in user.role_ids for user in realm.users.values()):
            self.fail("10", f"somebody holds {FORBIDDEN}, which no rule grants")
        ward, yes = realm.role(WARD).role_id, {self._servers.mark(uid) for uid in self._servers.approved}
        for user in realm.users.values():
            client = realm.clients.get(user.client_uuid or "")
            if ward in user.role_ids and (client is None or client.owner not in yes):
                self.fail("10", f"{user.record.username} holds {WARD}, and nobody ever said yes")
        owners = Counter(client.owner for client in realm.clients.values() if client.owner)
        if owners and max(owners.values()) > 1:
            self.fail("duplicate", f"two clients of one object: {owners}")

    def _look_at_entry(self, path: str) -> None:
        """Check that what is published was proven (3)."""
        entry, data = self._servers.store.entries.get(path), self._servers.store.data_of(path)
        if entry is None:
            return  # the write was refused, since a hand had deleted what it was to follow
        if path.endswith("/tokens/list"):
            for name in OPAQUE:
                if (token := data.get(name)) and entry.mark is not None:
                    self._opaque_of[token] = entry.mark.owner
            if ends_at := instant_in(data.get("expires_at")):
                self._consumers.opaque_until[data["token"]] = ends_at
            return
        if (token := data.get("token")) and token not in self._servers.realm.tokens:
            self.fail("3", f"{path} holds a token that nobody issued")
        secret = data.get("client_secret")
        if secret and path.endswith("/client"):
            name = "/".join(path.split("/")[1:4:2])
            client = self._servers.realm.client(client_id_of(name))
            if client is not None and client.enabled and not self.excuses.excused(name):
                known = {one.reveal() for one in (client.secret, client.previous_secret) if one is not None}
                if secret not in known:
                    self.fail("3", f"{path} holds a secret that was never good")

    def _look_at_dead(self) -> None:
        realm = self._servers.realm
        now = realm.now()
        for token, why in list(self._dead_tokens.items()):
            if realm.tokens[token].expires_at <= now:
                del self._dead_tokens[token]
            elif realm.accepts(Sensitive(token)):
                claims = realm.tokens[token]
                self.fail("2", f"a token of {claims.authorized_party} from {claims.issued_at} is good although {why}")
        for (client_id, secret), why in self._dead_secrets.items():
            if realm.authenticated(ClientCredentials(client_id, Sensitive(secret))) is not None:
                self.fail("2", f"a secret of {client_id} is good although {why}")

        for name in SERVERS:
            for token in self._servers.listed(name) & self._dead_opaque.keys():
                self.fail("2", f"{name} lists a token of {self._opaque_of[token]} although {self._dead_opaque[token]}")

    def _strange(self) -> tuple[Any, ...]:
        servers = self._servers
        client = next(one for one in servers.realm.clients.values() if one.client_id == "site-a.taken")
        user = next(one for one in servers.realm.users.values() if one.record.username == "foreign")
        entry = servers.store.entries.get("fedid/site-b/bots/squatted/client")
        content = None if entry is None else (entry.newest, entry.mark)
        secret = servers.cluster.secrets.get(("site-a", "scout"))
        return client, user.record, frozenset(user.role_ids), content, secret and secret.resource_version

    def _look_at_strangers(self) -> None:
        try:
            now = self._strange()
        except StopIteration:
            now = ()
        if now != self._strangers:
            self.fail("8", "something of a stranger was changed or deleted")

    def _look_at_texts(self) -> None:
        for line in self._site.lines:
            self._shown(line, "a log line")
            if "unexpected exception" in line:
                self.fail("bug", line)
        self._site.lines.clear()
        events = self._servers.cluster.events
        for event in events[self._events_seen :]:
            self._shown(event.message, f"Event {event.reason}")
        self._events_seen = len(events)

    def _shown(self, text: str, where: str) -> None:
        if any(mark in text for mark in SECRET_MARKS):
            self.fail("1", f"a credential is shown in {where}: {text[:300]}")
