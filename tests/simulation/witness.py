"""Sees everything, and tells when an invariant of the design is broken; numbers are those of its section 6."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedid.domain.conditions import condition_of, instant_in
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from fedid.domain.tokens import ClientCredentials
from fedid.reconcile.bot_teardown import _MADE  # the fields by which a status claims that something exists
from tests.simulation.estate import BOTS, BY_HAND, FORBIDDEN, PORTALS, SERVERS, client_id_of, kind_of
from tests.simulation.network import KEYCLOAK, VAULT, Request
from tests.simulation.scene import SECRET_MARKS, Site
from tests.simulation.servers import WatchEvent

_WORKERS = 16
_CLAIMS = {BOT_CLIENT: _MADE, POD_IDENTITY: ("oidcClient",)}
"""Fields of a status that claim that something exists in Keycloak or Vault."""
OPAQUE = ("token", "previous_token", "pending_token")
"""Keys of an entry that hold one."""
_SOON_SECONDS = 60.0
"""After what users or hands did, consumers may be without credentials until the bot is Ready again, and so long."""
_CALM_SECONDS = 300.0
"""How long the operator may need to get over an outage, and to learn what was asked meanwhile."""
_LEASES = 2.0
"""For how many times the Lease's length that may take at least: one that crashed has to outwait its own."""
_SWEPT_SECONDS = 1500.0
"""How long a hand's work may go unnoticed where nothing is in the way of a sweep."""
_FILE_SECONDS = 60.0
"""How long a pod may hold what the Secret held before."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that was broken."""

    invariant: str
    at: float
    what: str

    def __str__(self) -> str:
        """Return a line."""
        return f"invariant {self.invariant} at {self.at:.2f} s: {self.what}"


@dataclass(slots=True)
class _Held:
    """What a pod may hold: the content of a Secret, until some time after it was replaced."""

    content: dict[str, str]
    owner: str
    until: float = float("inf")


class Witness:
    """Checks each effect on a server."""

    def __init__(self, site: Site, lifetime: float, lease: float) -> None:
        """Look at everything on this site from now on; tokens live and leases last for so many seconds."""
        self._lifetime, self._calm_seconds = lifetime, max(_CALM_SECONDS, _LEASES * lease)
        self.violations: list[Violation] = []
        self.counts: Counter[str] = Counter()
        """Passes of time, effects and what else is worth a figure."""
        self.released: set[str] = set()
        """uids whose end a hand kept the operator from proving."""
        self._site, self._servers = site, site.servers
        self._disturbed: dict[str, float] = {}
        self._tampered: dict[str, float] = {}
        self._trouble_ends = float("-inf")
        self._dead_tokens: dict[str, str] = {}
        self._dead_secrets: dict[tuple[str, str], str] = {}
        self._secrets_of: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        """clientId and secret of every client that carried the owner mark of a uid."""
        self._opaque_of: dict[str, str] = {}
        """Owner mark by opaque token."""
        self._opaque_until: dict[str, datetime] = {}
        """When each of them expires."""
        self._dead_opaque: dict[str, str] = {}
        """Why no server may list it any more, by opaque token."""
        self._stripped: set[str] = set()
        self._made: set[str] = set()
        self._held: dict[str, list[_Held]] = {}
        self._events_seen = 0
        self._strangers = self._strange()
        site.network.on_sent, site.network.on_effect = self.sent, self.took_effect
        site.on_roused = self.roused
        self._servers.cluster.watches.append(self.told)

    # --- what may be blamed on whom

    def disturbed(self, name: str) -> None:
        """Take note that a user asked for something by which the consumers of a bot may lose their credentials."""
        self._disturbed[name] = max(self._site.timeline.now + _SOON_SECONDS, self._disturbed.get(name, 0.0))

    def tampered(self, name: str) -> None:
        """Take note of a hand's work on a bot, of which the operator may learn by the next sweep only."""
        self.disturbed(name)
        self._tampered[name] = self._site.timeline.now

    def troubled(self, seconds: float = 0.0) -> None:
        """Take note of a misfortune by which renewals may come late."""
        self._trouble_ends = max(self._trouble_ends, self._site.timeline.now + seconds)

    def stripped(self, uid: str) -> None:
        """Take note that a hand took the finalizers off: if the object goes before they are back, nothing is proven."""
        self._stripped.add(uid)

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
        self._look_at_consumers()
        self._look_at_texts()

    def told(self, event: WatchEvent) -> None:
        """Learn what changed in the cluster."""
        kind, change, body = event
        if kind == "Secret":
            self._secret_changed(body["metadata"])
            return
        self._shown(repr(body.get("status")), f"status of {kind} {body['metadata']['name']}")
        uid = str(body["metadata"]["uid"])
        if kind not in _CLAIMS:
            return
        if body["metadata"].get("finalizers"):
            self._stripped.discard(uid)
        status = body.get("status") or {}
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

    def roused(self, key: ObjectKey) -> None:
        """Take note that a watch had an object looked at although nothing differs but what the operator writes (6)."""
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
        self._look_at_dead()

    def _look_at_keycloak(self) -> None:
        realm = self._servers.realm
        for client in realm.clients.values():
            if client.owner and client.secret is not None:
                self._secrets_of[client.owner].add((client.client_id, client.secret.reveal()))
        forbidden = realm.role(FORBIDDEN).role_id
        if any(forbidden in user.role_ids for user in realm.users.values()):
            self.fail("10", f"somebody holds {FORBIDDEN}, which no rule grants")
        owners = Counter(client.owner for client in realm.clients.values() if client.owner)
        if owners and max(owners.values()) > 1:
            self.fail("duplicate", f"two clients of one object: {owners}")

    def _look_at_entry(self, path: str) -> None:
        """Check that what is published was proven (3)."""
        data = self._servers.store.data_of(path)
        if path.endswith("/tokens/list"):
            mark = self._servers.store.entries[path].mark
            for name in OPAQUE:
                if (token := data.get(name)) and mark is not None:
                    self._opaque_of[token] = mark.owner
            if ends_at := instant_in(data.get("expires_at")):
                self._opaque_until[data["token"]] = ends_at
            return
        if (token := data.get("token")) and token not in self._servers.realm.tokens:
            self.fail("3", f"{path} holds a token that nobody issued")
        secret = data.get("client_secret")
        if secret and path.endswith("/client"):
            name = "/".join(path.split("/")[1:4:2])
            client = self._servers.realm.client(client_id_of(name))
            if client is not None and client.enabled and not self._excused(name):
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
            for token in self.listed(name) & self._dead_opaque.keys():
                self.fail("2", f"{name} lists a token of {self._opaque_of[token]} although {self._dead_opaque[token]}")

    def listed(self, server: str) -> set[str]:
        """Return the opaque tokens that the Secret of a server lists."""
        namespace, name = server.split("/")
        secret = self._servers.cluster.secrets.get((namespace, name))
        return set(secret.data["tokens"].reveal().split()) if secret is not None else set()

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

    def _look_at_consumers(self) -> None:
        for name, holdings in self._held.items():
            if not holdings:
                continue
            current = [one for one in holdings if one.until > self._site.timeline.now]
            holdings[:] = current
            refused = self._portal_refused if name in PORTALS else self._refused
            why = next((why for one in current if (why := refused(name, one)) is not None), None)
            if self._excused(name, well=why is None):
                continue
            if why is not None:
                self.fail("4", f"a consumer of {name}: {why}")

    def _refused(self, name: str, held: _Held) -> str | None:
        """Return why what a pod holds is refused, None if it is not, or may have expired."""
        realm = self._servers.realm
        if not held.content.get("secret") or not held.content.get("token"):
            return "its Secret is empty" if held.until == float("inf") else None
        credentials = ClientCredentials(client_id_of(name), Sensitive(held.content["secret"]))
        if realm.authenticated(credentials) is None:
            return "its secret is refused"
        # What the Secret held before is nobody's: there are no pods, and the operator knows that.
        for server in SERVERS if held.until == float("inf") else ():
            listed = self.listed(server)
            well = held.content.get("list") in listed
            if self._excused(server, well=well) or well:
                continue
            ends_at = self._opaque_until.get(held.content.get("list", ""))
            if ends_at is None or ends_at > realm.now() or not self._may_be_late(held):
                return f"its opaque token is not listed by {server}, and ends at {ends_at}"
        token = held.content["token"]
        if realm.accepts(Sensitive(token)):
            return None
        if token in realm.tokens and BY_HAND in realm.tokens[token].realm_roles:
            return None  # a hand gave the bot more while it was minted, which ends when that is seen
        expired = realm.tokens[token].expires_at <= realm.now() if token in realm.tokens else False
        if expired:
            return None if self._may_be_late(held) else f"its token expired at {realm.tokens[token].expires_at}"
        return "its token is refused"

    def _portal_refused(self, name: str, held: _Held) -> str | None:
        """Return why Keycloak refuses the secret that a pod of a portal holds, None if it does not."""
        if not (secret := held.content.get("secret")):
            return "its Secret is empty" if held.until == float("inf") else None
        credentials = ClientCredentials(client_id_of(name), Sensitive(secret))
        return "its secret is refused" if self._servers.realm.authenticated(credentials) is None else None

    def _may_be_late(self, held: _Held) -> bool:
        """Tell whether what expired may not have been renewed yet."""
        return held.until < float("inf") or self._site.timeline.now < self._trouble_ends + 1.5 * self._lifetime

    def _excused(self, name: str, *, well: bool = False) -> bool:
        """Tell whether consumers of a bot or a portal may be without credentials now, or a server without its list."""
        body = self._servers.cluster.bodies.get(ObjectKey(kind_of(name), *name.split("/")))
        if body is None or "deletionTimestamp" in body["metadata"] or "expiresAt" in body["spec"]:
            return True
        since = self._disturbed.get(name)
        if since is None:
            return False
        ready = condition_of((body.get("status") or {}).get("conditions") or (), "Ready")  # type: ignore[arg-type]
        done = (
            ready is not None
            and ready["status"] == "True"
            and body["status"].get("observedGeneration") == body["metadata"]["generation"]
        )
        labels = self._servers.cluster.bodies[ObjectKey("Namespace", "", name.split("/", maxsplit=1)[0])]["metadata"][
            "labels"
        ]
        if not labels:
            return True
        quiet_at = max(since, self._trouble_ends + self._calm_seconds)
        if name in self._tampered:
            quiet_at = max(since, self._tampered[name] + _SWEPT_SECONDS, self._trouble_ends + _SWEPT_SECONDS)
        if well and done and self._site.timeline.now > quiet_at:
            del self._disturbed[name]
            self._tampered.pop(name, None)
            return False
        return True

    def _secret_changed(self, metadata: Any) -> None:
        name = f"{metadata['namespace']}/{metadata['name']}"
        if name not in BOTS and name not in PORTALS:
            return
        secret = self._servers.cluster.secrets.get((metadata["namespace"], metadata["name"]))
        now, holdings = self._site.timeline.now, self._held.setdefault(name, [])
        for one in holdings:
            one.until = min(one.until, now + _FILE_SECONDS)
        if secret is None or secret.owner_uid is None:
            holdings.clear()
            return
        content = {key: value.reveal() for key, value in secret.data.items()}
        holdings.append(_Held(content, self._owner_in(secret)))
        self._look_at_heir(name, holdings[-1])

    def _owner_in(self, secret: MountedSecret) -> str:
        token = secret.data.get("token")
        return (self._servers.realm.issued_to.get(token.reveal()) or "") if token is not None else ""

    def _look_at_heir(self, name: str, held: _Held) -> None:
        """Check that what is mounted is of the object of that name, not of a former one (11)."""
        uid = self._servers.uid_of(ObjectKey(BOT_CLIENT, *name.split("/")))
        if uid is not None and held.owner and held.owner != self._servers.mark(uid):
            self.fail("11", f"{name} mounts a token of {held.owner}")

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
