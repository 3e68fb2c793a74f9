"""What must be true once nothing goes wrong any more and time has passed."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from fedid.domain.approval import identity_in
from fedid.domain.conditions import condition_of, rfc3339
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import ClientRecord
from fedid.domain.resources import BOT_CLIENT, FEDERATION, FEDERATION_USER, IDENTITY_APPROVAL, POD_IDENTITY
from fedid.domain.sensitive import Sensitive
from fedid.engine import Priority
from fedid.reconcile.directory import key_of
from fedid.reconcile.super_node import node_path
from tests.simulation.estate import FORBIDDEN, NARROW, NODES, PORTALS, SERVERS, WARD, bot_of, client_id_of
from tests.simulation.hands import Hands
from tests.simulation.scene import Site
from tests.simulation.super_link import owner_in
from tests.simulation.witness import OPAQUE, Witness

_QUIET_SECONDS = 4.0
_RENEWAL_SECONDS = 15.0
"""Within which a credential that is due has come to every place."""
_MOST_WAITS = 200
_NEXT_LOOK_SECONDS = 300.0
"""Between looks whether everything is in order."""
_DUE = ("nextRotationAt", "previousEndsAt")
_STRANGE = {"site-a/taken", "site-b/squatted", "site-b/foreign"}


class Aftermath:
    """Looks at everything at the end."""

    def __init__(self, site: Site, witness: Witness, hands: Hands) -> None:
        """Look at this site."""
        self._site, self._servers, self._witness, self._hands = site, site.servers, witness, hands
        self._found: list[tuple[str, str]] = []

    def await_order(self, until: float) -> None:
        """Let time pass until everything is in order, or to that instant."""
        timeline = self._site.timeline
        while not timeline.halted:
            self._await_quiet()
            if timeline.now >= until or not self._faults():
                return
            timeline.run(until=timeline.now + _NEXT_LOOK_SECONDS)

    def look(self) -> None:
        """Check that everything converged: what is wanted works, what is not wanted is gone."""
        for invariant, what in self._faults()[:1]:
            self._witness.fail(invariant, what)

    def _await_quiet(self) -> None:
        """Let time pass until no renewal is on its way: between Vault and the Secret both sides differ for seconds."""
        counts = self._witness.counts
        for _ in range(_MOST_WAITS):
            written = counts["writes"]
            self._site.timeline.run(until=self._site.timeline.now + _QUIET_SECONDS)
            if written < counts["writes"]:
                continue  # the end of a former secret reaches the Secret's status last
            now = self._servers.realm.now().timestamp()
            renewed = {BOT_CLIENT, POD_IDENTITY, IDENTITY_APPROVAL}
            bodies = [body for key, body in self._servers.cluster.bodies.items() if key.kind in renewed]
            if not any(self._has_former_key(body) for body in bodies) and all(_is_quiet(body, now) for body in bodies):
                return

    def _faults(self) -> list[tuple[str, str]]:
        """Return what is not as it must be in the end, each with its invariant."""
        self._found.clear()
        bodies = self._servers.cluster.bodies
        for key, body in sorted(bodies.items()):
            if key.kind not in {BOT_CLIENT, FEDERATION_USER, POD_IDENTITY, FEDERATION}:
                continue
            if "deletionTimestamp" in body["metadata"]:
                self._fail("convergence", f"{key} still is not gone: {_told(body)}")
            elif key.kind == FEDERATION and _told(body)[0] != "True":
                self._fail("convergence", f"{key}: {_told(body)}")
            elif key.kind == BOT_CLIENT:
                self._look_at_bot(key, body)
            elif key.kind == FEDERATION_USER:
                self._look_at_user(key, body)
            elif f"{key.namespace}/{key.name}" in SERVERS:
                self._look_at_server(key, body)
            elif f"{key.namespace}/{key.name}" in NODES:
                self._look_at_node(key, body)
            elif f"{key.namespace}/{key.name}" in PORTALS:
                self._look_at_portal(key, body)
            else:
                self._look_at_pod(key, body)
        self._look_for_orphans()
        return list(self._found)

    def look_again(self) -> None:
        """Have every object looked at once more, and check that nothing is written (5)."""
        leader = next((one for one in self._site.replicas if one.leads), None)
        if leader is None or leader.operator is None:
            self._witness.fail("convergence", "nobody leads")
            return
        due = self._due_soon()
        before = Counter(self._writes(due))
        operator = leader.operator
        for kind in (FEDERATION, BOT_CLIENT, FEDERATION_USER, POD_IDENTITY):
            for key in operator.world.directory.keys(kind):
                leader.machine.call_soon(operator.world.wake, key, Priority.CHANGE)  # type: ignore[union-attr]
        self._site.timeline.run(until=self._site.timeline.now + _QUIET_SECONDS)
        if more := Counter(self._writes(due)) - before:
            self._witness.fail("5", f"a second look wrote {sorted(more)}")

    def _due_soon(self) -> set[str]:
        """Return the bots of which something is due before the second look is over, and not theirs alone."""
        now = self._servers.realm.now().timestamp()
        latest = now + _QUIET_SECONDS + 60.0
        due = set()
        for key, body in self._servers.cluster.bodies.items():
            # A bot that rests for another reason has its end told when it is looked at.
            if key.kind == BOT_CLIENT and (
                _earliest(body) < latest or (_expiry(body) < latest and _told(body)[1] != "Expired")
            ):
                due |= {f"{key.namespace}/{key.name}", *SERVERS}
            if key.kind == IDENTITY_APPROVAL and now < _expiry(body) < latest:
                due.add(identity_in(body)[0].full_name)
            if key.kind == POD_IDENTITY and _earliest(body) < latest:
                due.add(f"{key.namespace}/{key.name}")
        return due

    def _writes(self, due: set[str]) -> list[Any]:
        cluster = self._servers.cluster.writes
        store = self._servers.store.writes
        named = [(one.operation, one.target) for one in cluster] + [(one.operation, one.path) for one in store]
        return [
            one
            for one in named
            if not one[1].startswith(f"{FEDERATION}/") and not any(_is_about(one[1], name) for name in due)
        ]

    def _look_at_bot(self, key: ObjectKey, body: Any) -> None:
        name = f"{key.namespace}/{key.name}"
        realm = self._servers.realm
        client = realm.client(client_id_of(name))
        ready, reason, message = _told(body)
        mine = client is not None and client.owner == self._servers.mark(body["metadata"]["uid"])
        if name in _STRANGE or self._is_in_the_way(key):
            if ready == "True":
                self._fail("8", f"{key} is Ready in spite of a stranger")
            return
        if not self._is_wanted(key, body):
            if mine:
                self._fail("convergence", f"{key} still has its client: {ready} {reason} {message}")
            return
        roles = set(body["spec"]["realmRoles"])
        denied = FORBIDDEN in roles or (self._hands.is_narrow and NARROW in roles)
        denied = denied or (WARD in roles and not self._is_approved(body))
        if denied:
            self._look_at_denied(key, roles, client if mine else None)
            return
        if ready != "True" or not mine or client is None:
            self._fail("convergence", f"{key} is not Ready: {reason} {message}")
        elif self._roles(client.client_uuid) != roles:
            self._fail("convergence", f"{key} holds {sorted(self._roles(client.client_uuid))}, not {sorted(roles)}")
        elif not body["metadata"].get("finalizers"):
            self._fail("convergence", f"{key} could go without its end being proven")
        else:
            self._look_at_published(key)

    def _look_at_denied(self, key: ObjectKey, wanted: set[str], client: ClientRecord | None) -> None:
        """Check that a bot that is refused a role keeps what it had, and nothing that it is refused."""
        body = self._servers.cluster.bodies[key]
        if _told(body)[0] == "True":
            self._fail("10", f"{key} is Ready with more than it is granted")
        if _told(body)[1] in {"Expired", "Suspended"}:  # by a clock that was wrong
            self._fail("convergence", f"{key} is neither, and says so at its next look")
        if client is None:
            if (body.get("status") or {}).get("secret"):
                self._fail("convergence", f"{key} has lost its client")
            return
        roles = self._roles(client.client_uuid)
        if self._hands.is_narrow and NARROW in roles:
            self._fail("10", f"{key} still holds {NARROW}")
        if WARD in roles and not self._is_approved(body):
            self._fail("10", f"{key} still holds {WARD} without a yes")
        if added := roles - wanted:
            self._fail("convergence", f"{key} holds {sorted(added)} by hand")
        self._look_at_published(key)

    def _is_approved(self, body: Any) -> bool:
        """Tell whether somebody said yes to what an applicant asks for (always the same), and it counts still."""
        now = rfc3339(self._servers.realm.now())
        return any(
            identity_in(one)[1] == body["metadata"]["uid"] and one["spec"].get("expiresAt", "9") > now
            for key, one in self._servers.cluster.bodies.items()
            if key.kind == IDENTITY_APPROVAL
        )

    def _is_in_the_way(self, key: ObjectKey) -> bool:
        """Tell whether something lies there of a former object of the name that a hand let go: nobody takes it over."""
        left = {self._servers.mark(uid) for uid in self._witness.released}
        client = self._servers.realm.client(client_id_of(f"{key.namespace}/{key.name}"))
        folder = f"fedid/{key.namespace}/bots/{key.name}/"
        marks = {
            one.mark.owner for path, one in self._servers.store.entries.items() if path.startswith(folder) and one.mark
        }
        return bool(left & ({client.owner} | marks if client is not None else marks))

    def _look_at_published(self, key: ObjectKey) -> None:
        folder, realm = f"fedid/{key.namespace}/bots/{key.name}", self._servers.realm
        secret = self._servers.store.data_of(f"{folder}/client").get("client_secret", "")
        token = self._servers.store.data_of(f"{folder}/tokens/default").get("token", "")
        client = realm.client(client_id_of(f"{key.namespace}/{key.name}"))
        if client is None or client.secret is None or client.secret.reveal() != secret:
            self._fail("convergence", f"the secret of {key} in Vault is not its client's, or the former one of it")
        if not realm.accepts(Sensitive(token)):
            self._fail("convergence", f"the token of {key} in Vault is refused")
        if self._servers.cluster.bodies.get(ObjectKey(POD_IDENTITY, key.namespace, key.name)) is not None:
            mounted = self._servers.cluster.secrets.get((key.namespace, key.name))
            if mounted is not None and mounted.owner_uid is None:
                return  # a stranger's
            if mounted is None or mounted.data["secret"].reveal() != secret or mounted.data["token"].reveal() != token:
                self._fail("convergence", f"{key} mounts something else than what Vault holds")

    def _is_wanted(self, key: ObjectKey, body: Any) -> bool:
        """Tell whether a bot is to be usable, as far as it and its namespace say."""
        expired = body["spec"].get("expiresAt", "9") <= rfc3339(self._servers.realm.now())
        return not body["spec"].get("suspend") and not expired and self._hands.labelled[key.namespace]

    def _look_at_server(self, key: ObjectKey, body: Any) -> None:
        """Check that it lists what the bots have, and nothing else; a bot that is refused a role has its tokens."""
        ready, reason, message = _told(body)
        if ready != "True":
            self._fail("convergence", f"{key} is not Ready: {reason} {message}")
        if (key.namespace, key.name) not in self._servers.cluster.secrets:
            self._fail("convergence", f"{key} has no Secret, be there anything to list or not")
        wanted: set[str] = set()
        for bot, one in self._servers.cluster.bodies.items():
            if bot.kind == BOT_CLIENT and "deletionTimestamp" not in one["metadata"]:
                path = f"fedid/{bot.namespace}/bots/{bot.name}/tokens/list"
                entry, data = self._servers.store.entries.get(path), self._servers.store.data_of(path)
                if entry and entry.mark and entry.mark.owner == self._servers.mark(one["metadata"]["uid"]):
                    wanted |= {data[name] for name in OPAQUE if name in data}
        if (listed := self._servers.listed(f"{key.namespace}/{key.name}")) != wanted:
            self._fail(
                "convergence", f"{key} lists {len(listed - wanted)} tokens too many, {len(wanted - listed)} too few"
            )

    def _look_at_portal(self, key: ObjectKey, body: Any) -> None:
        """Check that Keycloak, Vault and the Secret agree about its client, which only a namespace of a rule has."""
        ready, reason, message = _told(body)
        path = f"fedid/{key.namespace}/pods/{key.name}/client"
        client = self._servers.realm.client(client_id_of(f"{key.namespace}/{key.name}"))
        mine = client is not None and client.owner == self._servers.mark(body["metadata"]["uid"])
        if not self._hands.labelled[key.namespace]:
            if mine:
                self._fail("convergence", f"{key} still has its client: {ready} {reason} {message}")
            return
        if ready != "True" or not mine or client is None:
            self._fail("convergence", f"{key} is not Ready: {reason} {message}")
            return
        secret = self._servers.store.data_of(path).get("client_secret", "")
        mounted = self._servers.cluster.secrets.get((key.namespace, key.name))
        if not client.enabled or client.secret is None or client.secret.reveal() != secret:
            self._fail("convergence", f"the secret of {key} in Vault is not its client's")
        if {*client.uris.get("redirectUris", ())} != {*body["spec"]["oidcClient"]["redirectUris"]}:
            self._fail("convergence", f"{key} is sent to {client.uris}")
        if mounted is None or mounted.data["secret"].reveal() != secret:
            self._fail("convergence", f"{key} mounts something else than what Vault holds")

    def _look_at_node(self, key: ObjectKey, body: Any) -> None:
        """Check that its SuperLink lets in what it mounts, and nothing else of it; nothing at all without its bot."""
        servers, ready = self._servers, _told(body)
        bot_key = ObjectKey(BOT_CLIENT, *bot_of(f"{key.namespace}/{key.name}").split("/"))
        bot = servers.cluster.bodies.get(bot_key)
        good = self._good_nodes(body)
        if set().union(*servers.super_link.leaked.values()).intersection(servers.super_link.good_keys()):
            self._fail("end", f"a key of {key} is let in that was to end: {ready}")
        if bot is None or not self._is_wanted(bot_key, bot):
            if good:
                self._fail("2", f"{key} is let in at its SuperLink without its bot: {ready}")
            return
        if not (bot.get("status") or {}).get("clientUuid") or self._is_in_the_way(bot_key):
            return
        secret = servers.cluster.secrets.get((key.namespace, key.name))
        mounted = secret.data["supernode.key"].reveal() if secret is not None else ""
        stored = servers.store.data_of(node_path("fedid", key)).get("private_key")
        if ready[0] != "True" or len(good) != 1:
            self._fail("convergence", f"{key} has {len(good)} nodes: {ready}")
        elif not servers.super_link.lets_in(mounted) or stored != mounted:
            self._fail("convergence", f"{key} mounts a key that is not let in, or is not in Vault")

    def _has_former_key(self, body: Any) -> bool:
        """Tell whether a SuperNode has a key of before, which ends when its overlap is over."""
        if body["kind"] != POD_IDENTITY:
            return False
        path = node_path("fedid", key_of(body))
        return len(self._good_nodes(body)) > 1 or "previous_key_id" in self._servers.store.data_of(path)

    def _good_nodes(self, body: Any) -> list[int]:
        mark, records = self._servers.mark(body["metadata"]["uid"]), self._servers.super_link.records.values()
        return [one.node_id for one in records if not one.ended and owner_in(one.name) == mark]

    def _look_at_user(self, key: ObjectKey, body: Any) -> None:
        ready, reason, message = _told(body)
        user = self._servers.realm.user(key.name)
        mine = user is not None and user.record.owner == self._servers.mark(body["metadata"]["uid"])
        if f"{key.namespace}/{key.name}" in _STRANGE:
            if ready == "True" or mine:
                self._fail("8", f"{key} took over a stranger's user")
            return
        if body["spec"].get("suspend"):
            if mine and user is not None and (user.record.enabled or user.sessions):
                self._fail("2", f"{key} is suspended, and can still log in")
            return
        if not self._hands.labelled[key.namespace]:
            if mine:
                self._fail("10", f"{key} still has a user: {ready} {reason} {message}")
            return
        if self._hands.is_narrow and NARROW in body["spec"]["realmRoles"]:
            if mine and user is not None and self._servers.realm.role(NARROW).role_id in user.role_ids:
                self._fail("10", f"{key} still holds {NARROW}")
            return
        if ready != "True" or not mine:
            self._fail("convergence", f"{key} is not Ready: {reason} {message}")

    def _look_at_pod(self, key: ObjectKey, body: Any) -> None:
        bot = self._servers.cluster.bodies.get(ObjectKey(BOT_CLIENT, key.namespace, key.name))
        secret = self._servers.cluster.secrets.get((key.namespace, key.name))
        ours = secret is not None and secret.owner_uid == body["metadata"]["uid"]
        if bot is None and secret is not None and ours and any(value.reveal() for value in secret.data.values()):
            self._fail("2", f"{key} mounts what its bot left behind")

    def _look_for_orphans(self) -> None:
        alive = {self._servers.mark(one["metadata"]["uid"]) for one in self._servers.cluster.bodies.values()}
        alive |= {self._servers.mark(uid) for uid in self._witness.released}
        realm = self._servers.realm
        found = [f"client {one.client_id}" for one in realm.clients.values() if one.owner and one.owner not in alive]
        found += [
            f"user {one.record.username}"
            for one in realm.users.values()
            if one.record.owner and one.record.owner not in alive
        ]
        found += [
            f"entry {path}"
            for path, one in self._servers.store.entries.items()
            if one.mark is not None and one.mark.owner not in alive
        ]
        records = self._servers.super_link.records.values()
        found += [f"node {one.name}" for one in records if not one.ended and owner_in(one.name) not in alive]
        if found:
            self._fail("convergence", f"orphans: {', '.join(found)}")

    def _roles(self, client_uuid: str) -> set[str]:
        realm = self._servers.realm
        held = realm.account_of(client_uuid).role_ids - {realm.default_role.role_id}
        return {realm.roles[one].name for one in held}

    def _fail(self, invariant: str, what: str) -> None:
        self._found.append((invariant, what))


def _told(body: Any) -> tuple[str, str, str]:
    ready = condition_of((body.get("status") or {}).get("conditions") or (), "Ready")  # type: ignore[arg-type]
    return ("Unknown", "None", "") if ready is None else (ready["status"], ready["reason"], ready["message"])


def _is_quiet(body: Any, now: float) -> bool:
    """Tell whether nothing of a bot or a portal changes by itself about now (POSIX seconds)."""
    renewed = _newest(body) > now - _RENEWAL_SECONDS or _earliest(body) < now + _RENEWAL_SECONDS
    return not renewed and abs(_expiry(body) - now) > _RENEWAL_SECONDS


def _expiry(body: Any) -> float:
    """Return when a bot expires, or did (POSIX seconds)."""
    text = body["spec"].get("expiresAt")
    return datetime.fromisoformat(text).timestamp() if text else float("inf")


def _earliest(body: Any) -> float:
    """Return the next instant (POSIX seconds) at which something of a bot or a portal changes by itself."""
    texts = [(body.get("status") or {}).get("nextRotationAt")]
    texts += [one.get(name) for one in _credentials(body) for name in _DUE]
    return min((datetime.fromisoformat(text).timestamp() for text in texts if text), default=float("inf"))


def _newest(body: Any) -> float:
    """Return when the newest credential of a bot or a portal was issued (POSIX seconds)."""
    texts = [one.get("issuedAt") for one in _credentials(body)]
    return max((datetime.fromisoformat(text).timestamp() for text in texts if text), default=0.0)


def _credentials(body: Any) -> list[Any]:
    """Return what a status tells of each credential."""
    status = body.get("status") or {}
    single = [status.get(name) or {} for name in ("secret", "oidcClient", "superNode")]
    return [*(status.get("tokens") or ()), *single]


def _is_about(target: str, name: str) -> bool:
    namespace, _, bot = name.partition("/")
    parts = (f"{namespace}/{bot}", f"{namespace}/bots/{bot}/", f"{namespace}/pods/{bot}/", f"{namespace}.{bot}.")
    return any(part in target for part in parts)
