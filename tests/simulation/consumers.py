"""Pods that present what their Secrets hold, or held a while ago: they must be let in (4), as who they are (11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT
from fedid.domain.sensitive import Sensitive
from fedid.domain.stored import MountedSecret
from fedid.domain.tokens import ClientCredentials
from tests.simulation.estate import BOTS, BY_HAND, NODES, PORTALS, SERVERS, client_id_of
from tests.simulation.excuses import Excuses
from tests.simulation.scene import Site

_FILE_SECONDS = 60.0
"""How long a pod may hold what the Secret held before."""


@dataclass(slots=True)
class _Held:
    """What a pod may hold: the content of a Secret, until some time after it was replaced."""

    content: dict[str, str]
    owner: str
    until: float = float("inf")


class Consumers:
    """Everybody who mounts the Secret of a bot, a portal or a node."""

    def __init__(self, site: Site, excuses: Excuses, fail: Callable[[str, str], None]) -> None:
        """Look at those of this site, and tell of each that is refused without an excuse."""
        self._site, self._servers, self._excuses, self._fail = site, site.servers, excuses, fail
        self._held: dict[str, list[_Held]] = {}
        self.opaque_until: dict[str, datetime] = {}
        """When each opaque token expires."""

    def look(self) -> None:
        """See whether they are let in with all that they may hold."""
        for name, holdings in self._held.items():
            if not holdings:
                continue
            current = [one for one in holdings if one.until > self._site.timeline.now]
            holdings[:] = current
            why = next((why for one in current if (why := self._refused(name, one)) is not None), None)
            if not self._excuses.excused(name, well=why is None) and why is not None:
                self._fail("4", f"a consumer of {name}: {why}")

    def changed(self, metadata: Any) -> None:
        """Learn that a Secret is another one; pods have the former for a while."""
        name = f"{metadata['namespace']}/{metadata['name']}"
        if name not in (*BOTS, *PORTALS, *NODES):
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

    def _refused(self, name: str, held: _Held) -> str | None:
        """Return why what a pod holds is refused, None if it is not, or may have expired."""
        if name in NODES:
            return self._key_refused(name, held)
        if not held.content.get("secret") or (name in BOTS and not held.content.get("token")):
            return "its Secret is empty" if held.until == float("inf") else None
        credentials = ClientCredentials(client_id_of(name), Sensitive(held.content["secret"]))
        if self._servers.realm.authenticated(credentials) is None:
            return "its secret is refused"
        return (self._unlisted(held) or self._token_refused(held)) if name in BOTS else None

    def _unlisted(self, held: _Held) -> str | None:
        """Return which server does not take the opaque token that a pod holds, None if all do."""
        now = self._servers.realm.now()
        # What the Secret held before is nobody's: there are no pods, and the operator knows that.
        for server in SERVERS if held.until == float("inf") else ():
            well = held.content.get("list") in self._servers.listed(server)
            if self._excuses.excused(server, well=well) or well:
                continue
            ends_at = self.opaque_until.get(held.content.get("list", ""))
            if ends_at is None or ends_at > now or not self._excuses.may_be_late(held.until):
                return f"its opaque token is not listed by {server}, and ends at {ends_at}"
        return None

    def _token_refused(self, held: _Held) -> str | None:
        realm, token = self._servers.realm, held.content["token"]
        if realm.accepts(Sensitive(token)):
            return None
        claims = realm.tokens.get(token)
        if claims is not None and BY_HAND in claims.realm_roles:
            return None  # a hand gave the bot more while it was minted, which ends when that is seen
        if claims is not None and claims.expires_at <= realm.now():
            return None if self._excuses.may_be_late(held.until) else f"its token expired at {claims.expires_at}"
        return "its token is refused"

    def _key_refused(self, name: str, held: _Held) -> str | None:
        """Return why the SuperLink does not let a SuperNode in that has the key of a pod, None if it does.

        There is one SuperNode of a name: once it came with the next key, nobody has the former.
        """
        if not (key := held.content.get("supernode.key")):
            return "its Secret is empty" if held.until == float("inf") else None
        if held.until < float("inf") and not self._servers.super_link.came_with(name, key):
            return None
        return None if self._servers.super_link.lets_in(key) else "its key is not registered"

    def _owner_in(self, secret: MountedSecret) -> str:
        token = secret.data.get("token")
        return (self._servers.realm.issued_to.get(token.reveal()) or "") if token is not None else ""

    def _look_at_heir(self, name: str, held: _Held) -> None:
        """Check that what is mounted is of the object of that name, not of a former one (11)."""
        uid = self._servers.uid_of(ObjectKey(BOT_CLIENT, *name.split("/")))
        if uid is not None and held.owner and held.owner != self._servers.mark(uid):
            self._fail("11", f"{name} mounts a token of {held.owner}")
