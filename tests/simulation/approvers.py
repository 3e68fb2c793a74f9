"""Who asks for a role that waits for a person's yes, and the person; each method is named by an `Action`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from fedid.domain.approval import identity_in
from fedid.domain.conditions import rfc3339
from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT, IDENTITY_APPROVAL
from tests.simulation.estate import applicant_spec
from tests.simulation.scene import Site

_ASK_HASH = re.compile(r"askHash\W+([0-9a-f]{64})")
"""As the hint of a condition has it, or the status of who was approved before."""


class Approvers:
    """Applicants, and people who approve what they ask for."""

    def __init__(self, site: Site, lifetime: float) -> None:
        """Act on this site; tokens live so many seconds."""
        self._servers, self._lifetime = site.servers, lifetime

    def create_applicant(self, name: str, _how: Any) -> None:
        """Apply a bot that asks for the role, if it is not there."""
        if self._key(name) not in self._servers.cluster.bodies:
            self._servers.cluster.apply(BOT_CLIENT, *name.split("/"), applicant_spec(self._lifetime))

    def delete_applicant(self, name: str, _how: Any) -> None:
        """Delete it; what approves it stays, and means nothing for the next of its name."""
        self._servers.cluster.delete(BOT_CLIENT, *name.split("/"))

    def approve(self, name: str, seconds: Any) -> None:
        """Say yes to what it asks for, as its status tells, for so long (0: for good)."""
        body = self._servers.cluster.bodies.get(self._key(name))
        asked = _ASK_HASH.search(str((body or {}).get("status")))
        if body is None or asked is None:
            return
        uid, (namespace, short) = str(body["metadata"]["uid"]), name.split("/")
        identity = {"kind": BOT_CLIENT, "namespace": namespace, "name": short, "uid": uid}
        spec = {"identity": identity, "askHash": asked[1], "reason": "FL-17"}
        if seconds:
            spec["expiresAt"] = rfc3339(self._servers.realm.now() + timedelta(seconds=seconds))
        self._servers.approved.add(uid)
        self._servers.cluster.apply(IDENTITY_APPROVAL, None, f"yes-{len(self._servers.approved)}-{uid[:8]}", spec)

    def take_back(self, name: str, _how: Any) -> None:
        """Withdraw every approval of it."""
        for key, body in list(self._servers.cluster.bodies.items()):
            if key.kind == IDENTITY_APPROVAL and identity_in(body)[0] == self._key(name):
                self._servers.cluster.delete(IDENTITY_APPROVAL, None, key.name)

    def _key(self, name: str) -> ObjectKey:
        return ObjectKey(BOT_CLIENT, *name.split("/"))
