"""Leadership by a lease: of several replicas at most one works, and one that may have lost the lease does nothing.

A replica leads while less than `fence_after_seconds` have passed since it *began* the last renewal that succeeded.
Another one takes the lease only after it has seen the same record for `duration_seconds`, which it cannot have seen
before that renewal began. So between the last thing that a former leader begins and the first of the next lie at least
`duration_seconds - fence_after_seconds`, whatever the wall clocks of the two machines say: no instant in the record is
ever compared. A process that was paused finds itself fenced when it goes on, since the time is asked anew before each
side effect.

Source: kubernetes/client-go `tools/leaderelection/leaderelection.go` (observed records, the empty holder of a release);
unlike it, a renewal that hangs or fails cannot keep a replica leading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fedid.engine.clock import Clock
from fedid.engine.listeners import tell

NOBODY = ""
"""Holder of a lease that was released."""
_RELEASED_SECONDS = 1.0


class NotLeadingError(Exception):
    """A side effect was about to begin in a replica that does not lead, or may not any more."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The lease as it is kept."""

    holder: str
    duration_seconds: float
    """How long others have to see it unchanged before they may take it."""
    version: str
    """Another one after each change, whoever made it."""


class LeaseStore(Protocol):
    """Where the lease is kept. Whatever a method raises counts as no answer, and the outcome as unknown."""

    async def read(self) -> LeaseRecord | None:
        """Return the record, None if there is none."""

    async def write(self, holder: str, duration_seconds: float, over: LeaseRecord | None) -> LeaseRecord | None:
        """Put a record in the place of exactly that one (None: of none); None if somebody was faster."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """All in seconds.

    Raises:
        ValueError: A former leader could still begin something when the next one does.
    """

    duration_seconds: float = 15.0
    """How long others wait for a sign of life."""
    fence_after_seconds: float = 10.0
    """How long after the beginning of its last renewal a leader stops."""
    retry_seconds: float = 2.0
    """Between two renewals, and between two looks of those who wait."""
    request_seconds: float = 2.0
    """How long one reading or writing of the record may take."""

    def __post_init__(self) -> None:
        """Refuse what is not safe."""
        if not 0 < self.request_seconds <= self.fence_after_seconds < self.duration_seconds or self.retry_seconds <= 0:
            message = f"a lease must outlast its fence: {self}"
            raise ValueError(message)


class Elector:
    """One replica's part in it; not thread-safe."""

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        timing: LeaseTiming,
        *,
        clocks: Sequence[Clock],
        on_trouble: Callable[[Exception], None],
    ) -> None:
        """Begin without the lease.

        Args:
            store: Where it is kept.
            identity: Of this replica, not empty. One that holds the lease by this name already, from before a crash,
                has it again at once: two processes must never run under one.
            timing: The same in all replicas.
            clocks: Seconds that never go back, also counted while the machine sleeps where a clock can do that. The
                first one measures how long others were silent; whichever has gone on furthest fences this replica.
            on_trouble: Told why the record could not be read or written, each time.

        Raises:
            ValueError: There is no clock or no identity.
        """
        if not clocks or identity == NOBODY:
            message = "an elector needs an identity and a clock"
            raise ValueError(message)
        self._store, self.identity, self._timing = store, identity, timing
        self._clocks, self._on_trouble = tuple(clocks), on_trouble
        self._held: LeaseRecord | None = None
        self._renewed_at: tuple[float, ...] | None = None
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0

    @property
    def leads(self) -> bool:
        """Whether this replica may begin a side effect now."""
        return self.remaining_seconds > 0

    @property
    def remaining_seconds(self) -> float:
        """How long it may, if nothing is renewed; 0 if it may not."""
        if self._renewed_at is None:
            return 0.0
        passed = max(clock() - at for clock, at in zip(self._clocks, self._renewed_at, strict=True))
        return max(0.0, self._timing.fence_after_seconds - passed)

    def check(self) -> None:
        """Call right before each side effect.

        Raises:
            NotLeadingError: It may not begin.
        """
        if not self.leads:
            message = f"{self.identity} does not hold the lease"
            raise NotLeadingError(message)

    async def acquire(self) -> None:
        """Return once this replica leads."""
        while True:
            found, record = await self._read()
            if found and self._may_take(record) and await self._write(record):
                return
            await asyncio.sleep(self._timing.retry_seconds)

    async def keep(self) -> None:
        """Renew until somebody else has the lease; then return, and lead no more.

        A replica that was cut off, or slept, is fenced meanwhile and goes on if nobody has led since.
        """
        pause = self._timing.retry_seconds
        while True:
            await asyncio.sleep(min(pause, self.remaining_seconds) if self.leads else pause)
            if not await self._renew():
                break
        self._give_up()

    async def release(self) -> None:
        """Give the lease back if this replica leads, so that another one need not wait; leads no more in any case.

        Nothing may be under way any more that has side effects.
        """
        held, led = self._held, self.leads
        self._give_up()
        if led and held is not None:
            try:
                async with asyncio.timeout(self._timing.request_seconds):
                    await self._store.write(NOBODY, _RELEASED_SECONDS, held)
            except Exception as error:  # noqa: BLE001 - told; others wait until the lease is over
                tell(self._on_trouble, error)

    def _give_up(self) -> None:
        self._held = self._renewed_at = self._seen = None

    def _may_take(self, record: LeaseRecord | None) -> bool:
        """Tell whether nobody holds it, or nobody has for as long as it was given out."""
        if record is None or record.holder in {NOBODY, self.identity}:
            return True
        now = self._clocks[0]()
        if self._seen is None or self._seen.version != record.version:
            self._seen, self._seen_at = record, now
            return False
        return now - self._seen_at >= max(record.duration_seconds, self._timing.duration_seconds)

    async def _renew(self) -> bool:
        """Renew once; False if somebody else has the lease. Without an answer the fence comes closer, that is all."""
        if self._held is not None and await self._write(self._held):
            return True
        found, record = await self._read()
        if not found:
            return True
        if record is not None and record.holder != self.identity:
            return False
        # Gone, or changed under us: by a hand, or by a renewal of ours whose answer was lost.
        await self._write(record)
        return True

    async def _read(self) -> tuple[bool, LeaseRecord | None]:
        """Return whether the store answered, and what."""
        try:
            async with asyncio.timeout(self._timing.request_seconds):
                return True, await self._store.read()
        except Exception as error:  # noqa: BLE001 - told, and tried again
            tell(self._on_trouble, error)
            return False, None

    async def _write(self, over: LeaseRecord | None) -> bool:
        began_at = tuple(clock() for clock in self._clocks)
        try:
            async with asyncio.timeout(self._timing.request_seconds):
                written = await self._store.write(self.identity, self._timing.duration_seconds, over)
        except Exception as error:  # noqa: BLE001 - told, and tried again
            tell(self._on_trouble, error)
            return False
        if written is None:
            return False
        self._held, self._renewed_at = written, began_at
        return True
