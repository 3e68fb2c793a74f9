"""What befalls replicas, backends and their clocks; each method with two arguments is named by an `Action`."""

from __future__ import annotations

from typing import Any

from tests.simulation.excuses import Excuses
from tests.simulation.network import VAULT
from tests.simulation.scene import Site

_LOSS = 0.3


class Misfortune:
    """Weather, crashes, and machines that stop."""

    def __init__(self, site: Site, excuses: Excuses) -> None:
        """Befall this site, and say until when that excuses what is late."""
        self._site, self._excuses = site, excuses

    def crash(self, replica: str, seconds: Any) -> None:
        """Kill a process; another one starts later."""
        self._excuses.troubled()
        one = self._replica(replica)
        one.kill()
        self._site.timeline.after(seconds, one.start)

    def stop(self, replica: str, _how: Any) -> None:
        """Roll a replica."""
        self._excuses.troubled()
        one = self._replica(replica)
        stopped = one.machine
        one.stop()

        def again() -> None:
            one.start()
            if one.machine is stopped:  # held up, it ends when it goes on
                self._site.timeline.after(30.0, again)

        self._site.timeline.after(30.0, again)

    def pause(self, replica: str, seconds: Any) -> None:
        """Hold a process up."""
        self._excuses.troubled(seconds)
        self._replica(replica).pause(seconds, asleep=False)

    def sleep(self, replica: str, seconds: Any) -> None:
        """Put a machine to sleep."""
        self._excuses.troubled(seconds)
        self._replica(replica).pause(seconds, asleep=True)

    def clock(self, replica: str, offset: Any) -> None:
        """Set a wall clock wrong."""
        self._excuses.troubled()
        self._replica(replica).set_clock(offset)

    def outage(self, backend: str, seconds: Any) -> None:
        """Refuse connections."""
        self._away(backend, seconds, silent=False)

    def silence(self, backend: str, seconds: Any) -> None:
        """Take requests and answer none."""
        self._away(backend, seconds, silent=True)

    def losses(self, backend: str, seconds: Any) -> None:
        """Lose requests and answers."""
        self._excuses.troubled(seconds)
        weather = self._site.network.weather[backend]
        weather.loss_until, weather.loss = self._site.timeline.now + seconds, _LOSS

    def seal(self, _to: str, seconds: Any) -> None:
        """Seal Vault for a while."""
        self._excuses.troubled(seconds)
        self._site.servers.store.sealed = True
        self._site.timeline.after(seconds, self.unseal)

    def unseal(self) -> None:
        """Unseal Vault."""
        self._site.servers.store.sealed = False

    def heal(self) -> None:
        """End every misfortune; every replica runs."""
        self._excuses.troubled()
        for weather in self._site.network.weather.values():
            weather.away_until = weather.loss_until = 0.0
        self.unseal()
        for replica in self._site.replicas:
            replica.resume()
            replica.set_clock(0.0)
            replica.start()
            self._site.timeline.after(120.0, replica.start)
        self._site.note("healed", VAULT)

    def _away(self, backend: str, seconds: float, *, silent: bool) -> None:
        self._excuses.troubled(seconds)
        weather = self._site.network.weather[backend]
        weather.away_until, weather.silent = self._site.timeline.now + seconds, silent

    def _replica(self, name: str) -> Any:
        return next(one for one in self._site.replicas if one.name == name)
