"""What users and strangers' hands do; each method is named by an `Action`, as theirs are whom they bring."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from fedid.domain.conditions import rfc3339
from fedid.domain.naming import ObjectKey
from fedid.domain.realm import ClientRecord
from fedid.domain.resources import BOT_CLIENT, FEDERATION_USER, POD_IDENTITY
from fedid.domain.rotation import REVOKE_NOW, ROTATE
from fedid.domain.sensitive import Sensitive
from fedid.domain.super_node import NodeStatus
from tests.simulation.approvers import Approvers
from tests.simulation.estate import (
    BOTS,
    BY_HAND,
    PORTALS,
    SERVERS,
    TAKEN,
    bot_spec,
    client_id_of,
    grant,
    kind_of,
    label,
    node_spec,
    pod_spec,
    portal_spec,
    server_spec,
    user_spec,
)
from tests.simulation.misfortune import Misfortune
from tests.simulation.scene import Site
from tests.simulation.story import Action
from tests.simulation.witness import Witness

_PATIENCE_SECONDS = 3600.0
"""How long somebody waits for an object to be gone before making it anew."""


class Hands:
    """Everybody but the operator."""

    def __init__(self, site: Site, witness: Witness, lifetime: float) -> None:
        """Act on this site, and let the witness know what may be blamed on whom; tokens live so many seconds."""
        self._lifetime = lifetime
        self._site, self._servers, self._witness, self._excuses = site, site.servers, witness, witness.excuses
        self.misfortune = Misfortune(site, witness.excuses)
        self._approvers = Approvers(site, lifetime)
        self.is_narrow = False
        self.labelled = {"site-a": True, "site-b": True}

    def act(self, action: Action) -> None:
        """Do it now."""
        self._site.note("action", action.what, action.to, action.how)
        part = next(one for one in (self, self._approvers, self.misfortune) if hasattr(one, action.what))
        getattr(part, action.what)(action.to, action.how)

    # --- users

    def create_bot(self, name: str, variant: Any) -> None:
        """Apply a bot that is not there, and what mounts it."""
        if self._bot(name) is None:
            self._apply(BOT_CLIENT, name, bot_spec(variant, self._lifetime))
            self.create_pod(name, 0)

    def recreate_bot(self, name: str, variant: Any) -> None:
        """Delete a bot, and make it anew once it is gone."""
        self.delete_bot(name, 0)
        self._once_gone(name, variant, self._site.timeline.now + _PATIENCE_SECONDS)

    def change_bot(self, name: str, variant: Any) -> None:
        """Ask for other roles."""
        body = self._bot(name)
        if body is not None:
            self._apply(
                BOT_CLIENT, name, {**body["spec"], "realmRoles": bot_spec(variant, self._lifetime)["realmRoles"]}
            )

    def rotate(self, name: str, value: Any) -> None:
        """Annotate a bot, a portal or a node, which must not be felt by its consumers."""
        self._annotate(name, ROTATE, value)

    def revoke_now(self, name: str, value: Any) -> None:
        """Ask for an end of everything and a new beginning."""
        self._annotate(name, REVOKE_NOW, value)
        self._excuses.disturbed(name)

    def suspend(self, name: str, _how: Any) -> None:
        """Suspend a bot."""
        body = self._bot(name)
        if body is not None:
            self._apply(BOT_CLIENT, name, {**body["spec"], "suspend": True})

    def resume(self, name: str, _how: Any) -> None:
        """Let it live again, for as long as it likes."""
        body = self._bot(name)
        if body is not None and (body["spec"].get("suspend") or "expiresAt" in body["spec"]):
            forever = {key: value for key, value in body["spec"].items() if key != "expiresAt"}
            self._apply(BOT_CLIENT, name, {**forever, "suspend": False})

    def expire(self, name: str, seconds: Any) -> None:
        """Let it live for so long, and no longer."""
        body = self._bot(name)
        if body is not None:
            ends_at = self._servers.realm.now() + timedelta(seconds=seconds)
            self._apply(BOT_CLIENT, name, {**body["spec"], "expiresAt": rfc3339(ends_at)})

    def delete_bot(self, name: str, _how: Any) -> None:
        """Delete a bot."""
        self._excuses.disturbed(name)
        self._servers.cluster.delete(BOT_CLIENT, *name.split("/"))

    def create_pod(self, name: str, _how: Any) -> None:
        """Apply what mounts a bot."""
        if self._key(POD_IDENTITY, name) not in self._servers.cluster.bodies:
            self._apply(POD_IDENTITY, name, pod_spec(name.split("/")[1]))

    def delete_pod(self, name: str, _how: Any) -> None:
        """Delete it."""
        self._servers.cluster.delete(POD_IDENTITY, *name.split("/"))

    def create_portal(self, name: str, variant: Any) -> None:
        """Apply a server that signs users in, or change its address."""
        self._apply(POD_IDENTITY, name, portal_spec(variant, self._lifetime))

    def rotate_portal(self, name: str, value: Any) -> None:
        """Annotate it, which must not be felt by its pods."""
        self.rotate(name, value)

    def revoke_portal(self, name: str, value: Any) -> None:
        """Ask for an end of its client and a new beginning."""
        self.revoke_now(name, value)

    def delete_portal(self, name: str, _how: Any) -> None:
        """Delete it."""
        self._excuses.disturbed(name)
        self.delete_pod(name, 0)

    def create_node(self, name: str, _how: Any) -> None:
        """Apply a SuperNode, if it is not there."""
        if self._key(POD_IDENTITY, name) not in self._servers.cluster.bodies:
            self._apply(POD_IDENTITY, name, node_spec(name, self._lifetime))

    def revoke_node(self, name: str, value: Any) -> None:
        """Ask for an end of every key that it has, and for another."""
        body = self._servers.cluster.bodies.get(self._key(POD_IDENTITY, name))
        handled = (body.get("status") or {}).get("revokedNow") if body is not None else value
        if body is not None and value not in {handled, body["metadata"].get("annotations", {}).get(REVOKE_NOW)}:
            self._servers.super_link.leak(self._servers.mark(body["metadata"]["uid"]), value)
            self.revoke_now(name, value)

    def delete_node(self, name: str, _how: Any) -> None:
        """Delete it."""
        self._excuses.disturbed(name)
        self.delete_pod(name, 0)

    def create_server(self, name: str, _how: Any) -> None:
        """Apply a server that takes the tokens of all bots, if it is not there."""
        if self._key(POD_IDENTITY, name) not in self._servers.cluster.bodies:
            self._apply(POD_IDENTITY, name, server_spec())

    def delete_server(self, name: str, _how: Any) -> None:
        """Delete it."""
        self.delete_pod(name, 0)

    def create_user(self, name: str, variant: Any) -> None:
        """Apply a user that is not there."""
        if self._key(FEDERATION_USER, name) not in self._servers.cluster.bodies:
            self._apply(FEDERATION_USER, name, user_spec(name.split("/")[1], variant))

    def change_user(self, name: str, variant: Any) -> None:
        """Ask for other roles and another address."""
        self._alter_user(name, **user_spec(name.split("/")[1], variant))

    def suspend_user(self, name: str, _how: Any) -> None:
        """Suspend a user."""
        self._alter_user(name, suspend=True)

    def resume_user(self, name: str, _how: Any) -> None:
        """Let the user in again."""
        self._alter_user(name, suspend=False)

    def delete_user(self, name: str, _how: Any) -> None:
        """Delete a user."""
        self._servers.cluster.delete(FEDERATION_USER, *name.split("/"))

    def log_in(self, name: str, _how: Any) -> None:
        """Log a user in, who may."""
        user = self._servers.realm.user(name.split("/")[1])
        if user is not None and user.record.enabled and user.record.owner:
            self._servers.realm.open_session(str(user.record.user_id), offline=True)

    def unlabel(self, namespace: str, _how: Any) -> None:
        """Take a namespace out of the rules."""
        self.labelled[namespace] = False
        label(self._servers, namespace, granted=False)
        self._disturb(namespace)

    def label(self, namespace: str, _how: Any) -> None:
        """Put it back."""
        self.labelled[namespace] = True
        label(self._servers, namespace, granted=True)
        self._disturb(namespace)

    def narrow_to(self, narrow: bool) -> None:  # noqa: FBT001 - what it is
        """Change the rules."""
        self.is_narrow = narrow
        grant(self._servers, narrow=narrow)
        self._disturb("")

    def narrow(self, _to: str, _how: Any) -> None:
        """Take a role out of the rules."""
        self.narrow_to(True)

    def widen(self, _to: str, _how: Any) -> None:
        """Put it back."""
        self.narrow_to(False)

    # --- hands that tamper

    def lose_client(self, name: str, _how: Any) -> None:
        """Delete a client."""
        if (client := self._client(name)) is not None:
            self._servers.realm.note(f"clients/{client.client_uuid}")
            self._servers.realm.delete_client(client.client_uuid)

    def regenerate(self, name: str, _how: Any) -> None:
        """Press the console's button."""
        if (client := self._client(name)) is not None:
            self._servers.realm.regenerate_secret(client.client_uuid)
            made = self._servers.realm.clients[client.client_uuid]
            secret = Sensitive(f"kept-from-sight-{made.client_uuid}-{self._site.timeline.now}")
            self._servers.realm.clients[client.client_uuid] = replace(made, secret=secret)

    def disable_client(self, name: str, _how: Any) -> None:
        """Disable a client."""
        if (client := self._client(name)) is not None:
            self._servers.realm.change_client(client.client_uuid, enabled=False)

    def take_role(self, name: str, _how: Any) -> None:
        """Unmap a role."""
        if (client := self._client(name)) is not None:
            self._servers.realm.unmap_role(self._account(client), "fl-client")

    def add_role(self, name: str, _how: Any) -> None:
        """Map a role that nobody asked for."""
        if (client := self._client(name)) is not None:
            self._servers.realm.map_role(self._account(client), BY_HAND)

    def end_nodes(self, name: str, _how: Any) -> None:
        """Unregister everything at the SuperLink."""
        self._excuses.tampered(name)
        for record in list(self._servers.super_link.records.values()):
            self._servers.super_link.records[record.node_id] = replace(record, status=NodeStatus.UNREGISTERED)

    def forget_nodes(self, name: str, _how: Any) -> None:
        """Start the SuperLink anew, which has no database."""
        self._excuses.tampered(name)
        self._servers.super_link.forget()

    def lose_user(self, name: str, _how: Any) -> None:
        """Delete a user in Keycloak."""
        user = self._servers.realm.user(name.split("/")[1])
        if user is not None and user.record.owner:
            self._servers.realm.note(f"users/{user.record.user_id}")
            del self._servers.realm.users[str(user.record.user_id)]

    def lose_entry(self, name: str, _how: Any) -> None:
        """Delete what Vault has of a bot."""
        self._excuses.tampered(name)
        namespace, bot = name.split("/")
        for path, entry in list(self._servers.store.entries.items()):
            if path.startswith(f"fedid/{namespace}/bots/{bot}/") and entry.mark is not None:
                del self._servers.store.entries[path]

    def spoil_entry(self, name: str, _how: Any) -> None:
        """Write a secret of one's own into Vault, under the mark that is there."""
        self._excuses.tampered(name)
        path = "fedid/{}/bots/{}/client".format(*name.split("/"))
        entry = self._servers.store.entries.get(path)
        if entry is not None and entry.mark is not None:
            data = dict(self._servers.store.data_of(path))
            data["client_secret"] = f"kept-from-sight-by-hand-{self._site.timeline.now}"
            self._servers.store.put_by_hand(path, data, entry.mark)

    def empty_secret(self, name: str, _how: Any) -> None:
        """Empty the mounted Secret."""
        self._excuses.tampered(name)
        namespace, bot = name.split("/")
        secret = self._servers.cluster.secrets.get((namespace, bot))
        if secret is not None and secret.owner_uid is not None:
            emptied = dict.fromkeys(secret.data, Sensitive(""))
            self._servers.cluster.put_secret_by_hand(replace(secret, data=emptied))

    def delete_secret(self, name: str, _how: Any) -> None:
        """Delete the mounted Secret."""
        self._excuses.tampered(name)
        namespace, bot = name.split("/")
        secret = self._servers.cluster.secrets.get((namespace, bot))
        if secret is not None and secret.owner_uid is not None:
            self._servers.cluster.delete_secret_by_hand(namespace, bot)

    def strip(self, name: str, _how: Any) -> None:
        """Take the finalizer off by hand: what it made has no owner any more if the bot is deleted meanwhile."""
        body = self._servers.cluster.bodies.get(self._key(BOT_CLIENT, name))
        if body is not None and body["metadata"].get("finalizers"):
            self._excuses.tampered(name)
            self._witness.stripped(str(body["metadata"]["uid"]))
            body["metadata"]["finalizers"] = []
            self._servers.cluster._touch(body)  # noqa: SLF001 - what the API server would do after a patch

    def spoil_stranger(self, _to: str, _how: Any) -> None:
        """Change what is a stranger's, for the witness to see; in no story of a seed."""
        client = self._servers.realm.client("site-a.taken")
        assert client is not None
        self._servers.realm.change_client(client.client_uuid, description="changed")

    # --- inside

    def _bot(self, name: str) -> Any:
        """Return a bot that is not on its way out."""
        body = self._servers.cluster.bodies.get(self._key(BOT_CLIENT, name))
        return None if body is None or "deletionTimestamp" in body["metadata"] else body

    def _key(self, kind: str, name: str) -> ObjectKey:
        return ObjectKey(kind, *name.split("/"))

    def _apply(self, kind: str, name: str, spec: Any) -> None:
        if kind != FEDERATION_USER:
            self._excuses.disturbed(name)
        labels = TAKEN if kind == BOT_CLIENT else None
        self._servers.cluster.apply(kind, *name.split("/"), spec, labels=labels)

    def _annotate(self, name: str, annotation: str, value: Any) -> None:
        kind = kind_of(name)
        body = self._servers.cluster.bodies.get(self._key(kind, name))
        if body is not None and "deletionTimestamp" not in body["metadata"]:
            annotations = {**body["metadata"].get("annotations", {}), annotation: value}
            self._servers.cluster.apply(kind, *name.split("/"), body["spec"], annotations=annotations)

    def _alter_user(self, name: str, **fields: Any) -> None:
        body = self._servers.cluster.bodies.get(self._key(FEDERATION_USER, name))
        if body is not None and "deletionTimestamp" not in body["metadata"]:
            self._servers.cluster.apply(FEDERATION_USER, *name.split("/"), {**body["spec"], **fields})

    def _once_gone(self, name: str, variant: Any, until: float) -> None:
        if self._key(BOT_CLIENT, name) not in self._servers.cluster.bodies:
            self.create_bot(name, variant)
        elif self._site.timeline.now < until:
            self._site.timeline.after(0.3, lambda: self._once_gone(name, variant, until))

    def _client(self, name: str) -> ClientRecord | None:
        """Return the client of a bot or of a portal that is ours."""
        self._excuses.tampered(name)
        client = self._servers.realm.client(client_id_of(name))
        return client if client is not None and client.owner else None

    def _account(self, client: ClientRecord) -> str:
        return str(self._servers.realm.account_of(client.client_uuid).record.user_id)

    def _disturb(self, namespace: str) -> None:
        for name in (*BOTS, *SERVERS, *PORTALS):
            if name.startswith(namespace):
                self._excuses.disturbed(name)
