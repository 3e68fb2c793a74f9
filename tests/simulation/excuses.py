"""What users, hands and misfortune did of late, by which consumers may be without good credentials for a while."""

from __future__ import annotations

from fedid.domain.conditions import condition_of
from fedid.domain.naming import ObjectKey
from tests.simulation.estate import NODES, bot_of, kind_of
from tests.simulation.scene import Site

_SOON_SECONDS = 60.0
"""After what users or hands did, consumers may be without credentials until the bot is Ready again, and so long."""
_CALM_SECONDS = 300.0
"""How long the operator may need to get over an outage, and to learn what was asked meanwhile."""
_LEASES = 2.0
"""For how many times the Lease's length that may take at least: one that crashed has to outwait its own."""
_SWEPT_SECONDS = 1500.0
"""How long a hand's work may go unnoticed where nothing is in the way of a sweep."""


class Excuses:
    """Knows what may be blamed on whom."""

    def __init__(self, site: Site, lifetime: float, lease: float) -> None:
        """Begin with none on this site; tokens live and leases last for so many seconds."""
        self._site, self._lifetime = site, lifetime
        self._calm_seconds = max(_CALM_SECONDS, _LEASES * lease)
        self._disturbed: dict[str, float] = {}
        self._tampered: dict[str, float] = {}
        self._trouble_ends = float("-inf")

    def disturbed(self, name: str) -> None:
        """Take note that a user asked for something by which the consumers of a bot may lose their credentials."""
        for one in (name, *(node for node in NODES if bot_of(node) == name)):
            self._disturbed[one] = max(self._site.timeline.now + _SOON_SECONDS, self._disturbed.get(one, 0.0))

    def tampered(self, name: str) -> None:
        """Take note of a hand's work on a bot, of which the operator may learn by the next sweep only."""
        self.disturbed(name)
        self._tampered[name] = self._site.timeline.now

    def troubled(self, seconds: float = 0.0) -> None:
        """Take note of a misfortune by which renewals may come late."""
        self._trouble_ends = max(self._trouble_ends, self._site.timeline.now + seconds)

    def may_be_late(self, until: float) -> bool:
        """Tell whether what expired may not have been renewed yet in what a pod holds until then (seconds)."""
        return until < float("inf") or self._site.timeline.now < self._trouble_ends + 1.5 * self._lifetime

    def excused(self, name: str, *, well: bool = False) -> bool:
        """Tell whether consumers may be without good credentials now, or a server without its list.

        Args:
            name: Of the bot, portal, node or server.
            well: Whether they have good ones; then what excused them until now is over.
        """
        bodies = self._site.servers.cluster.bodies
        body = bodies.get(ObjectKey(kind_of(name), *name.split("/")))
        if body is None or "deletionTimestamp" in body["metadata"] or "expiresAt" in body["spec"]:
            return True
        if name in NODES and self.excused(bot_of(name)):
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
        if not bodies[ObjectKey("Namespace", "", name.split("/", maxsplit=1)[0])]["metadata"]["labels"]:
            return True
        quiet_at = max(since, self._trouble_ends + self._calm_seconds)
        if name in self._tampered:
            quiet_at = max(since, self._tampered[name] + _SWEPT_SECONDS, self._trouble_ends + _SWEPT_SECONDS)
        if well and done and self._site.timeline.now > quiet_at:
            del self._disturbed[name]
            self._tampered.pop(name, None)
            return False
        return True
