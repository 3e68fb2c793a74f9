"""Opaque tokens that are replaced once they have expired: what takes their place is good from then on, and stays."""

from __future__ import annotations

from datetime import datetime

import pytest

from fedid.domain.naming import ObjectKey
from fedid.domain.resources import BOT_CLIENT
from fedid.errors import BackendRejectedError, BackendUnavailableError
from tests.fakes.failures import Failures
from tests.reconcile.small_operator import NAMESPACE
from tests.reconcile.test_servers import TOKEN, Loop
from tests.reconcile.test_suspension import dies

SHORT = {"tokens": [{**TOKEN, "lifetime": "10m", "overlap": "30s"}]}
LEAST = 50.0
"""Seconds that such a token is good for: one is renewed after a tenth of its period, and overlaps."""


class Late(Loop):
    """The same, with a token that could not be renewed before it expired; nothing is in the way any more."""

    def __init__(self) -> None:
        """Begin as the other."""
        super().__init__()
        self.seen: dict[str, float] = {}
        """What the client presented, and since when."""

    @classmethod
    async def because_of(cls, what: str) -> Late:
        """Return one where the servers could not be told, or where Vault was away."""
        loop = cls()
        await loop.begun()
        loop.cluster.apply(BOT_CLIENT, NAMESPACE, "trainer", SHORT)
        await loop.advance(60)
        while "pending_token" in loop.vault():
            await loop.advance(1)
        loop.watched = False
        if what == "servers":
            denied = BackendRejectedError("a webhook denies it", backend="kubernetes")
            loop.cluster.failures.add("nudge_pod", denied, times=None)
        else:
            loop.store.failures.add("*", BackendUnavailableError("no answer", backend="vault"), times=None)
        former = loop.presented()
        left = datetime.fromisoformat(loop.vault()["expires_at"]) - loop.clock.now()
        await loop.advance(left.total_seconds() - 1)
        assert loop.presented() == former
        loop.store.failures, loop.seen = Failures(), {former: -LEAST}
        return loop

    async def _pass(self, key: ObjectKey) -> None:
        await super()._pass(key)
        if not self.seen:
            return
        now, listed = self.clock.monotonic(), self.taken()
        since = self.seen.setdefault(self.presented(), now)
        assert since < 0 or self.presented() in listed, f"after a pass over {key} the client is refused"
        cut_off = [token for token, since in self.seen.items() if now - since < LEAST and token not in listed]
        assert not cut_off, f"after a pass over {key} pods that have just got it are refused"


@pytest.mark.parametrize("why", ["servers", "vault"])
async def test_wherever_the_replacement_is_cut_off_there_is_one(why: str) -> None:
    """After each single effect: pods that have it keep it, and so does the server."""
    effects, cut = 0, True
    while cut:
        effects += 1
        loop = await Late.because_of(why)
        cut = await dies(loop, effects)
        await loop.advance(30)
        assert len(loop.seen) > 1, effects
        assert [event.reason for event in loop.cluster.events if event.reason == "DriftRepaired"] == []
    assert effects > 4, "it was cut off in a few places only"


@pytest.mark.parametrize("why", ["servers", "vault"])
async def test_a_status_that_cannot_be_written_for_a_while(why: str) -> None:
    """What was promoted before is what the status told servers to take; it is nobody's forgery."""
    loop = await Late.because_of(why)
    away = BackendUnavailableError("no answer", backend="kubernetes")
    loop.cluster.failures.add("patch_status", away, times=None, when=lambda key: key.startswith(BOT_CLIENT))
    await loop.advance(20)
    loop.cluster.failures = Failures()
    await loop.advance(120)
    assert len(loop.seen) > 1
    assert [event.reason for event in loop.cluster.events if event.reason == "DriftRepaired"] == []
