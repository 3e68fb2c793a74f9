"""Checks what a SuperLink knows of SuperNodes: no key is mounted before it is good (3), none outlives its owner (2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation.estate import NODES
from tests.simulation.excuses import Excuses
from tests.simulation.scene import Site
from tests.simulation.super_link import owner_in

_STARTS_SECONDS = 45.0
"""Within which a SuperNode goes on with the key that its Secret holds."""


class NodeWitness:
    """Looks at SuperNodes, and has their pods start with what they mount."""

    def __init__(self, site: Site, excuses: Excuses, fail: Callable[[str, str], None]) -> None:
        """Look at those of this site."""
        self._site, self._excuses, self._fail = site, excuses, fail
        self._super_link = site.servers.super_link
        self._dead: dict[bytes, str] = {}
        """Why no SuperNode with this key may be let in any more."""

    def look(self) -> None:
        """See that what has ended is refused."""
        for record in self._super_link.records.values():
            if not record.ended and record.public_key in self._dead:
                self._fail("2", f"node {record.node_id} is let in although {self._dead[record.public_key]}")

    def mounted(self, metadata: Any) -> None:
        """Learn that a Secret is another one."""
        name = f"{metadata['namespace']}/{metadata['name']}"
        if name not in NODES:
            return
        if (key := self._key_of(name)) and not self._super_link.lets_in(key) and not self._excuses.excused(name):
            self._fail("3", f"{name} mounts a key that the SuperLink does not know")
        seconds = self._site.random.uniform(1.0, _STARTS_SECONDS)
        self._site.timeline.after(seconds, lambda: self._super_link.come(name, self._key_of(name)))

    def told(self, mark: str, status: Any) -> None:
        """Learn what the status tells as carried out: all that was to end by then has."""
        asked = status.get("revokedNow", "")
        for key in self._super_link.leaked.pop((mark, asked), ()):
            self._dead[key] = f"{asked} is told as carried out"
        self.look()

    def end(self, mark: str, why: str) -> None:
        """Remember every key that was registered for an identity up to now."""
        for name, keys in self._super_link.keys_of.items():
            if owner_in(name) == mark:
                self._dead |= dict.fromkeys(keys, why)
        self.look()

    def _key_of(self, name: str) -> str:
        namespace, _, short = name.partition("/")
        secret = self._site.servers.cluster.secrets.get((namespace, short))
        key = secret.data.get("supernode.key") if secret is not None and secret.owner_uid is not None else None
        return key.reveal() if key is not None else ""
